//! The portal's plugin configuration. It holds no secret: Envoy shows it to whoever reads its configuration.

use std::{net::IpAddr, time::Duration};

use gateway_core::config::Reserved;
use go_compat::netip::Prefix;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The document, as `kube-oidc-gateway portal` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// `aud` of the tokens.
    pub audience: String,
    /// The header that names the user, in lower case.
    pub user_header: String,
    /// The header that names the user's groups, in lower case.
    pub group_header: String,
    /// What stands between two groups.
    pub group_header_delimiter: String,
    /// The longest lifetime that can be asked for.
    pub max_lifetime_seconds: u64,
    /// Tokens that one user gets in a second.
    pub tokens_per_second: u32,
    /// Whose headers are believed.
    pub trust: TrustedPeers,
    /// `iss` of ES256 tokens: the URL under which this portal is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Clusters for kubeconfigs; see [`Template`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// The plugin that users may have in their kubeconfigs in place of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Plugin>,
    /// How ID tokens are checked; absent, they are not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identify: Option<Identify>,
    /// The Envoy cluster behind which the program answers that holds the grants; absent, nothing is lent here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevation: Option<String>,
    /// The Envoy cluster behind which the program answers that writes down which sessions have ended; absent, a logout ends no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// Origins of pages that may post, beside the one that is asked.
    #[serde(default)]
    pub origins: Vec<String>,
    /// The names in requests that are answered, beside addresses and this machine's own name; absent, every name is, for
    /// then TLS proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// Names that the guard lets pass.
    #[serde(default)]
    pub allow_reserved_users: Vec<String>,
    /// Groups that the guard lets pass.
    #[serde(default)]
    pub allow_reserved_groups: Vec<String>,
}

/// Whose headers are believed. Nobody's, unless one of these says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedPeers {
    /// A peer whose certificate Envoy has checked.
    pub client_certificate: bool,
    /// Peers with an address in one of these networks.
    pub networks: Vec<Network>,
    /// Anybody: kubehook's own behaviour.
    pub anybody: bool,
}

/// An address with the length of the prefix that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(Prefix);

/// The clusters of a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// Name and cluster, as they stand in the file.
    pub clusters: Vec<(String, Value)>,
    /// The template's own.
    #[serde(default)]
    pub current_context: String,
}

/// What kubectl-oidc is told in a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plugin {
    /// The issuer's URL.
    pub issuer: String,
    /// The plugin's client.
    pub client_id: String,
    /// What the plugin asks for, beside `openid`, for which it always asks.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The issuer's CA bundle (PEM, base64), if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
}

/// How ID tokens are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identify {
    /// The Envoy cluster behind which the gateway's filter answers.
    pub cluster: String,
    /// The cookie in which the browser's login keeps its ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Where the browser's user ends the login at the issuer itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logout: Option<String>,
    /// Lets a token live longer than the login that it was made with.
    #[serde(default)]
    pub outlive_login: bool,
}

/// Why the portal refuses its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not JSON, or not of the document's shape.
    #[error("plugin configuration: {0}")]
    Shape(#[from] serde_json::Error),
    /// A header's name that cannot be one, or that the portal uses otherwise.
    #[error("{0}: not the name of a header that can say who the user is")]
    Header(&'static str),
    /// No token could be made.
    #[error("maxLifetimeSeconds: must be from 1 to 3155760000")]
    Lifetime,
    /// Without one nobody gets a token.
    #[error("tokensPerSecond: must be more than 0")]
    Rate,
    /// Without an audience every token of the secret's other uses would do.
    #[error("audience: must not be empty")]
    Audience,
    /// An issuer and a key that others can check go together.
    #[error("issuer: is needed with an ES256 key, and only then")]
    Issuer,
}

/// Bytes of a header's name.
const MOST_NAME: usize = 65_535;

impl Settings {
    /// Reads and checks the document.
    pub fn parse(document: &[u8]) -> Result<Self, SettingsError> {
        let settings: Self = serde_json::from_slice(document)?;
        settings.check()?;
        Ok(settings)
    }

    /// For how long a token may live on when the login with which it was made has ended.
    #[must_use]
    pub fn outliving(&self) -> Duration {
        let outlives = self.identify.as_ref().is_some_and(|it| it.outlive_login);
        Duration::from_secs(if outlives { self.max_lifetime_seconds } else { 0 })
    }

    /// Checks settings that were made of something else than a document.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (field, name) in
            [("userHeader", &self.user_header), ("groupHeader", &self.group_header)]
        {
            let used = ["authorization", "cookie", "host", "origin", "content-type"];
            if !is_header_name(name) || used.contains(&name.as_str()) {
                return Err(SettingsError::Header(field));
            }
        }
        if !(1..=3_155_760_000).contains(&self.max_lifetime_seconds) {
            return Err(SettingsError::Lifetime);
        }
        if self.tokens_per_second == 0 {
            return Err(SettingsError::Rate);
        }
        if self.audience.is_empty() {
            return Err(SettingsError::Audience);
        }
        Ok(())
    }

    /// Whether a request for this host may be answered.
    ///
    /// A name that an attacker's DNS points here (rebinding) makes the attacker's page one of ours to the browser, unless TLS
    /// tells them apart. An address cannot be pointed elsewhere, and probes use the pod's own; `localhost` is every machine's.
    #[must_use]
    pub fn answers_for(&self, host: &str) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let address =
            host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Names that the guard lets pass.
    #[must_use]
    pub fn reserved(&self) -> Reserved {
        Reserved {
            users: self.allow_reserved_users.clone(),
            groups: self.allow_reserved_groups.clone(),
        }
    }
}

impl Network {
    /// Whether the address lies in it. An IPv4 address mapped to IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address.to_canonical())
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefix = Prefix::parse_or_address(text);
        prefix.map(Self).map_err(|_| format!("{text:?} is not an address or ADDRESS/BITS"))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// Whether it can be a header's name, in lower case (RFC 9110, section 5.6.2).
fn is_header_name(name: &str) -> bool {
    let belongs =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9') || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(belongs)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_of_headers() {
        for (name, want) in [
            ("x-remote-user", true),
            ("x!#$%&'*+-.^_`|~9", true),
            ("", false),
            ("X-Remote-User", false),
            ("x remote", false),
            ("x\"remote", false),
            ("x:remote", false),
            ("x\u{fc}", false),
        ] {
            assert_eq!(is_header_name(name), want, "{name:?}");
        }
        assert!(is_header_name(&"a".repeat(MOST_NAME)));
        assert!(!is_header_name(&"a".repeat(MOST_NAME + 1)));
    }

    #[test]
    fn networks() {
        for (network, address, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), want, "{network:?} {address}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "a/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
