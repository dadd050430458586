//! What the logs are told of who made a request: one JSON object, which the adapter hands to Envoy.
//!
//! `issuer`, `user` and, where the client acts as somebody else, `impersonated`; users in the form of
//! `authentication.k8s.io/v1` (`UserInfo`). Nothing of the token itself is in it.

use kube_authn::Identity;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// As long as most records are.
const USUAL_BYTES: usize = 512;

/// The record of a user, and of whom it acts as.
#[must_use]
pub fn record(issuer: &str, user: &Identity, impersonated: Option<&Identity>) -> String {
    let record = Record { issuer, user: UserInfo(user), impersonated: impersonated.map(UserInfo) };
    // Strings and maps with text as keys: nothing in it can fail.
    let mut text = Vec::with_capacity(USUAL_BYTES);
    let written = serde_json::to_writer(&mut text, &record);
    written.ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
}

#[derive(Serialize)]
struct Record<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    issuer: &'a str,
    user: UserInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated: Option<UserInfo<'a>>,
}

struct UserInfo<'a>(&'a Identity);

impl Serialize for UserInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(identity) = self;
        let mut info = serializer.serialize_map(None)?;
        info.serialize_entry("username", &identity.username)?;
        if !identity.uid.is_empty() {
            info.serialize_entry("uid", &identity.uid)?;
        }
        if !identity.groups.is_empty() {
            info.serialize_entry("groups", &identity.groups)?;
        }
        if !identity.extra.is_empty() {
            info.serialize_entry("extra", &identity.extra)?;
        }
        info.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_absent_is_left_out() {
        let jane = Identity {
            username: "ja\"ne".into(),
            uid: "1".into(),
            groups: vec!["dev".into()],
            extra: [("example.org/k".to_owned(), vec!["v".to_owned()])].into(),
        };
        let bob = Identity { username: "bob".into(), ..Identity::default() };
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(
            read(record("https://i", &jane, Some(&bob))),
            json!({
                "issuer": "https://i",
                "user": {"username": "ja\"ne", "uid": "1", "groups": ["dev"], "extra": {"example.org/k": ["v"]}},
                "impersonated": {"username": "bob"},
            })
        );
        assert_eq!(record("", &bob, None), r#"{"user":{"username":"bob"}}"#);
    }
}
