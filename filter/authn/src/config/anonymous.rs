//! `anonymous`: requests without credentials. Source: k8s.io/apiserver `pkg/authentication/request/anonymous`.

use super::raw::AnonymousAuthConfig;

/// Who may come without credentials. Absent from the file it is off (kube-apiserver: its flag's default, on).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anonymous {
    enabled: bool,
    paths: Vec<String>,
}

impl Anonymous {
    pub(super) fn new(config: Option<&AnonymousAuthConfig>) -> Self {
        let Some(config) = config else { return Self::default() };
        let paths = config.conditions.iter().map(|condition| condition.path.clone()).collect();
        Self { enabled: config.enabled, paths }
    }

    /// Whether anybody may come without credentials at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The paths it is limited to; none means no limit.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Whether a request for `target` (as it was sent: `:path`, with its query) may come without credentials.
    ///
    /// The decoded path must equal a configured one; there are no prefixes and no patterns. A path that cannot be decoded
    /// equals none.
    #[must_use]
    pub fn allows(&self, target: &[u8]) -> bool {
        self.enabled
            && (self.paths.is_empty()
                || decoded_path(target).is_some_and(|path| {
                    self.paths.iter().any(|allowed| allowed.as_bytes() == path)
                }))
    }
}

/// The path of a request target with its percent-escapes resolved once, as Go's HTTP server has it.
fn decoded_path(target: &[u8]) -> Option<Vec<u8>> {
    let path = target.split(|&byte| byte == b'?').next()?;
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            decoded.push(u8::try_from(value).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::AnonymousAuthCondition;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn requests() {
        let condition = |path: &str| AnonymousAuthCondition { path: path.to_owned() };
        let config = |enabled, conditions| Some(AnonymousAuthConfig { enabled, conditions });
        let everywhere = config(true, vec![]);
        let health = config(true, vec![condition("/healthz"), condition("/a b"), condition("")]);
        for (config, target, want) in [
            (None, "/healthz", false), // absent is off
            (config(false, vec![]), "/healthz", false),
            (everywhere.clone(), "/any", true),
            (everywhere, "/%zz", true),
            (health.clone(), "/healthz", true),
            (health.clone(), "/healthz?verbose", true),
            (health.clone(), "/health%7A", true),
            (health.clone(), "/a%20b", true),
            (health.clone(), "?x", true),
            (health.clone(), "/healthz/", false), // no prefix, no pattern
            (health.clone(), "/healthz/../api", false),
            (health.clone(), "/HEALTHZ", false),
            (health.clone(), "/health%257A", false), // once, not twice
            (health.clone(), "/healthz%", false),
            (health, "/healthz%2", false),
        ] {
            assert_eq!(Anonymous::new(config.as_ref()).allows(target.as_bytes()), want, "{target}");
        }
    }
}
