//! What the logs are told of who made a request: one JSON object, which the adapter hands to Envoy.
//!
//! `issuer`, `user` and, where the client acts as somebody else, `impersonated`; users in the form of
//! `authentication.k8s.io/v1` (`UserInfo`). Nothing of the token itself is in it.
//!
//! A record has a bounded size, whatever a token or `Impersonate-*` headers bring: what has no room is left out, and the user
//! has `truncated: true` then. kube-apiserver's own audit log has the rest.

use std::{borrow::Cow, collections::BTreeMap};

use kube_authn::Identity;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// Bytes of JSON that one user may have: more than a thousand groups whose names are UUIDs.
const USER_BYTES: usize = 48 << 10;
/// Bytes of one name or value.
const VALUE_BYTES: usize = 1024;
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
        let mut room = SizeBudget::new(USER_BYTES);
        let mut info = serializer.serialize_map(None)?;
        info.serialize_entry("username", &room.value(&identity.username))?;
        if !identity.uid.is_empty() {
            info.serialize_entry("uid", &room.value(&identity.uid))?;
        }
        let groups = room.values(&identity.groups);
        if !groups.is_empty() {
            info.serialize_entry("groups", &groups)?;
        }
        let mut extra = BTreeMap::new();
        for (key, values) in &identity.extra {
            let (key, values) = (room.value(key), room.values(values));
            if !values.is_empty() {
                extra.insert(key, values);
            }
        }
        if !extra.is_empty() {
            info.serialize_entry("extra", &extra)?;
        }
        if room.is_short {
            info.serialize_entry("truncated", &true)?;
        }
        info.end()
    }
}

/// Bytes that text may still take in JSON.
pub struct SizeBudget {
    left: usize,
    /// Whether something had no room.
    pub is_short: bool,
}

impl SizeBudget {
    /// So many bytes.
    #[must_use]
    pub fn new(left: usize) -> Self {
        Self { left, is_short: false }
    }

    /// A value, or its beginning.
    pub fn value<'a>(&mut self, value: &'a str) -> Cow<'a, str> {
        self.take(value).unwrap_or_default()
    }

    /// Those of the values that have room, in their order; the beginning of one that is long.
    pub fn values<'a>(&mut self, values: &'a [String]) -> Vec<Cow<'a, str>> {
        values.iter().map_while(|value| self.take(value)).collect()
    }

    fn take<'a>(&mut self, value: &'a str) -> Option<Cow<'a, str>> {
        let mut kept = Cow::Borrowed(value);
        if value.len() > VALUE_BYTES {
            self.is_short = true;
            let end = value.floor_char_boundary(VALUE_BYTES);
            kept = Cow::Owned(format!("{}...TRUNCATED", value.get(..end).unwrap_or_default()));
        }
        let left = self.left.checked_sub(json_bytes(&kept));
        // What follows would have room where this has none, and the log would not tell which is missing.
        self.left = left.unwrap_or_default();
        self.is_short |= left.is_none();
        left.map(|_| kept)
    }
}

/// Bytes of a text in JSON, with its quotes and a comma.
fn json_bytes(text: &str) -> usize {
    text.bytes().fold(3, |sum: usize, byte| {
        sum.saturating_add(match byte {
            b'"' | b'\\' => 2,
            0..=0x1f => 6,
            _ => 1,
        })
    })
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

    /// A log's line must not grow with what a client puts into a token or into `Impersonate-*` headers.
    #[test]
    fn break_in_3_a_record_is_bounded_and_says_so() {
        let few: Vec<_> =
            (0..1000).map(|n| format!("{n:08}-0000-0000-0000-000000000000")).collect();
        let many = vec!["\"\\".repeat(100); 10_000];
        let extra =
            |values: &[String]| (0..9).map(|n| (n.to_string(), values.to_owned())).collect();
        let long = "\u{1}".repeat(60_000);
        for (user, is_short) in [
            (
                Identity { username: "jane".into(), groups: few.clone(), ..Identity::default() },
                false,
            ),
            (
                Identity { username: "jane".into(), groups: many.clone(), ..Identity::default() },
                true,
            ),
            (
                Identity { username: "jane".into(), extra: extra(&many), ..Identity::default() },
                true,
            ),
            (Identity { username: long.clone(), ..Identity::default() }, true),
            (Identity { username: "jane".into(), uid: long.clone(), ..Identity::default() }, true),
            (
                Identity {
                    username: "jane".into(),
                    extra: [(long, few)].into(),
                    ..Identity::default()
                },
                true,
            ),
        ] {
            let text = record("https://i", &user, Some(&user));
            assert!(text.len() < 2 * USER_BYTES + 512, "{}", text.len());
            let read: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["user"]["truncated"], if is_short { json!(true) } else { Value::Null });
            assert!(read["user"]["username"].as_str().unwrap().len() > 3);
        }
    }
}
