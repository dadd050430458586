//! What the logs are told of who made a request: one JSON object, which the adapter hands to Envoy.
//!
//! `issuer`, `user` and, where the client acts as somebody else, `impersonated`; users in the form of
//! `authentication.k8s.io/v1` (`UserInfo`). Nothing of the token itself is in it.

use kube_authn::Identity;
use serde_json::{Map, Value, json};

/// The record of a user, and of whom it acts as.
#[must_use]
pub fn record(issuer: &str, user: &Identity, impersonated: Option<&Identity>) -> String {
    let mut record = Map::new();
    if !issuer.is_empty() {
        record.insert("issuer".to_owned(), json!(issuer));
    }
    record.insert("user".to_owned(), user_info(user));
    if let Some(impersonated) = impersonated {
        record.insert("impersonated".to_owned(), user_info(impersonated));
    }
    Value::Object(record).to_string()
}

fn user_info(identity: &Identity) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), json!(identity.username));
    if !identity.uid.is_empty() {
        info.insert("uid".to_owned(), json!(identity.uid));
    }
    if !identity.groups.is_empty() {
        info.insert("groups".to_owned(), json!(identity.groups));
    }
    if !identity.extra.is_empty() {
        info.insert("extra".to_owned(), json!(identity.extra));
    }
    Value::Object(info)
}

#[cfg(test)]
mod tests {
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
