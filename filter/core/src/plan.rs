//! The headers that carry an identity upstream.
//!
//! Source of the form: Kubernetes, "User impersonation", and client-go's `transport.impersonatingRoundTripper`.

use std::borrow::Cow;

use kube_authn::Identity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{access::Named, config::Limits, refusal::Refusal};

/// `Impersonate-User`.
pub const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// The key of the extra that names the client's address, as kube-oidc-proxy has it.
pub const CLIENT_IP: &str = "remote-client-ip";

/// Every byte but those of an HTTP token (RFC 9110, section 5.6.2), and `%` itself: client-go's `shouldEscape`.
const EXTRA_KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The headers of one identity, ready to be written: one `Impersonate-User`, one header for each further value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPlan {
    headers: Vec<(Cow<'static, str>, String)>,
}

impl HeaderPlan {
    /// Plans the headers of an identity that has passed the guard.
    pub fn new(identity: &Identity, limits: &Limits, issuer: &str) -> Result<Self, Refusal> {
        let too_large = |what, limit, value| {
            Err(Refusal::IdentityTooLarge { issuer: issuer.to_owned(), what, limit, value })
        };
        if identity.groups.len() > limits.groups as usize {
            return too_large("groups", "limits.groups", limits.groups);
        }
        let mut headers = Vec::with_capacity(identity.groups.len().saturating_add(4));
        headers.push((Cow::Borrowed(USER), identity.username.clone()));
        headers.extend(identity.groups.iter().map(|group| (GROUP.into(), group.clone())));
        if !identity.uid.is_empty() {
            headers.push((UID.into(), identity.uid.clone()));
        }
        for (key, values) in &identity.extra {
            let name: Cow<'static, str> = extra_name(key).into();
            headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
        }
        let bytes = headers.iter().fold(0_usize, |sum, (name, value)| {
            sum.saturating_add(name.len()).saturating_add(value.len())
        });
        if bytes > limits.header_bytes as usize {
            return too_large("impersonation headers", "limits.headerBytes", limits.header_bytes);
        }
        Ok(Self { headers })
    }

    /// Names, in lower case, and values in the order to write them.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.headers.first().map_or("", |(_, user)| user)
    }

    /// The groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.headers().filter(|(name, _)| *name == GROUP).map(|(_, group)| group)
    }

    /// The uid, if there is one.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.headers().find(|(name, _)| *name == UID).map(|(_, uid)| uid)
    }

    /// Bytes of memory that the plan holds, roughly.
    #[must_use]
    pub fn size(&self) -> usize {
        self.headers.iter().fold(0, |sum, (name, value)| {
            sum.saturating_add(name.len()).saturating_add(value.len()).saturating_add(64)
        })
    }
}

impl Named for HeaderPlan {
    fn user(&self) -> &str {
        self.user()
    }

    fn groups(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.groups())
    }
}

/// The extra [`CLIENT_IP`].
#[must_use]
pub fn client_ip(address: &str) -> (String, String) {
    (format!("{EXTRA}{CLIENT_IP}"), address.to_owned())
}

/// kube-apiserver lower-cases the header's name before it decodes it, so that keys are lower case here already.
fn extra_name(key: &str) -> String {
    let key = key.to_lowercase();
    let mut name = String::with_capacity(EXTRA.len().saturating_add(key.len()).saturating_add(2));
    name.push_str(EXTRA);
    name.extend(utf8_percent_encode(&key, EXTRA_KEY));
    name.make_ascii_lowercase();
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            username: "jane".into(),
            uid: "1234".into(),
            groups: vec!["dev".into(), "a,b".into()],
            extra: [
                ("example.org/foo".to_owned(), vec!["1".to_owned(), "2".to_owned()]),
                ("plain".to_owned(), vec![String::new()]),
            ]
            .into(),
        }
    }

    #[test]
    fn one_header_for_each_value() {
        let plan = HeaderPlan::new(&identity(), &Limits::default(), "").unwrap();
        let headers: Vec<_> = plan.headers().collect();
        assert_eq!(
            headers,
            [
                ("impersonate-user", "jane"),
                ("impersonate-group", "dev"),
                ("impersonate-group", "a,b"),
                ("impersonate-uid", "1234"),
                ("impersonate-extra-example.org%2ffoo", "1"),
                ("impersonate-extra-example.org%2ffoo", "2"),
                ("impersonate-extra-plain", ""),
            ]
        );
        assert_eq!(plan.user(), "jane");
    }

    /// kubernetes/kubernetes#65799: keys hold bytes that header names cannot.
    #[test]
    fn extra_keys_survive_as_header_names() {
        for (key, want) in [
            ("example.org/a", "example.org%2fa"),
            ("example.org/a%b", "example.org%2fa%25b"),
            ("example.org/a:b(c)", "example.org%2fa%3ab%28c%29"),
            ("example.org/~!$&'*+._-", "example.org%2f~!$&'*+._-"),
            ("Example.org/é", "example.org%2f%c3%a9"),
        ] {
            assert_eq!(extra_name(key), format!("{EXTRA}{want}"));
        }
    }

    #[test]
    fn an_identity_too_large_for_a_request_is_refused_whole() {
        let limits = Limits { groups: 1, ..Limits::default() };
        let error = HeaderPlan::new(&identity(), &limits, "").unwrap_err();
        assert_eq!(error.reply().code, 431);
        let limits = Limits { header_bytes: 10, ..Limits::default() };
        let error = HeaderPlan::new(&identity(), &limits, "").unwrap_err();
        assert!(error.to_string().contains("limits.headerBytes"), "{error}");
    }
}
