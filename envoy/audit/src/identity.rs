//! Who made a request: what the filter says of it in Envoy's filter state (`wasm.identity`), in the form of `gateway_core::record`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// A user, as `authentication.k8s.io/v1` writes one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Further attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
    /// Whether the filter left something out that had no room.
    #[serde(skip_serializing)]
    pub truncated: bool,
}

/// Who made a request, and as whom it went on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identities {
    /// The issuer of the token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// The user of the token.
    pub user: User,
    /// Where the user's groups came from, if a group source was asked.
    #[serde(rename = "groupsFrom", skip_serializing_if = "GroupsFrom::is_nothing")]
    pub groups_from: GroupsFrom,
    /// Whom the client asked to be (`kubectl --as`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated: Option<User>,
    /// What was lent to the user. The groups of it stand among the user's, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// The names of the login with which the token was made, if it is a portal's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub origin: String,
}

/// A grant by which groups were lent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// Who agreed to it; nobody had to if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The groups.
    pub groups: Vec<String>,
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)?;
        if !self.by.is_empty() {
            write!(f, " by {}", self.by)?;
        }
        write!(f, ": {}", self.groups.join(", "))
    }
}

/// A group source, and when it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupsFrom {
    /// Its name.
    pub source: String,
    /// Seconds since 1970.
    pub at: u64,
}

impl GroupsFrom {
    /// Whether none was asked.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.source.is_empty()
    }
}

/// The first pair of a record, by which its form is known.
const VERSION: (&str, &str) = ("v", "2");

impl Identities {
    /// Reads a record; none if it is of no known form.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        // The form of filters before: JSON of this very shape.
        if text.starts_with('{') {
            return serde_json::from_str(text).ok();
        }
        let mut pairs = form_urlencoded::parse(text.as_bytes());
        pairs.next().filter(|(name, value)| (&**name, &**value) == VERSION)?;
        let mut read = Self::default();
        for (name, value) in pairs {
            match (name.strip_prefix("as"), &*name) {
                (_, "issuer") => read.issuer = value.into_owned(),
                (_, "origin") => read.origin = value.into_owned(),
                (_, "groups-source") => read.groups_from.source = value.into_owned(),
                (_, "groups-at") => read.groups_from.at = value.parse().unwrap_or_default(),
                (Some(""), _) => read.impersonated().username = value.into_owned(),
                (Some(rest), _) => {
                    if let Some(name) = rest.strip_prefix('-') {
                        read.impersonated().set(name, value.into_owned());
                    }
                }
                (None, "user") => read.user.username = value.into_owned(),
                (None, "grant") => {
                    read.grants.push(Grant { id: value.into_owned(), ..Grant::default() });
                }
                (None, "grant-by") => {
                    if let Some(grant) = read.grants.last_mut() {
                        grant.by = value.into_owned();
                    }
                }
                (None, "lent") => {
                    if let Some(grant) = read.grants.last_mut() {
                        read.user.groups.push(value.as_ref().to_owned());
                        grant.groups.push(value.into_owned());
                    }
                }
                (None, name) => read.user.set(name, value.into_owned()),
            }
        }
        Some(read)
    }

    fn impersonated(&mut self) -> &mut User {
        self.impersonated.get_or_insert_default()
    }

    /// Whether the filter left something out that had no room.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.user.truncated || self.impersonated.as_ref().is_some_and(|user| user.truncated)
    }
}

impl User {
    /// Adds what a pair says. A name that is not known says nothing.
    fn set(&mut self, name: &str, value: String) {
        match name {
            "uid" => self.uid = value,
            "group" => self.groups.push(value),
            "truncated" => self.truncated = true,
            _ => {
                if let Some(key) = name.strip_prefix("extra.") {
                    self.extra.entry(key.to_owned()).or_default().push(value);
                }
            }
        }
    }

    /// The user with the group that kube-apiserver adds to everybody whom it knows.
    #[must_use]
    pub fn with_authenticated(mut self) -> Self {
        let has = |name: &str| self.groups.iter().any(|group| group == name);
        if !self.username.is_empty() && !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        for (text, old) in [
            ("v=2&user=bob", json!({"user": {"username": "bob"}})),
            (
                "v=2&user=bob&groups-source=entra&groups-at=1700000000",
                json!({"user": {"username": "bob"}, "groupsFrom": {"source": "entra", "at": 1_700_000_000}}),
            ),
            (
                "v=2&issuer=https://i/?a=b&user=ja%22ne&uid=1&group=dev&group=a%20b&extra.example.org/k%3D=v%26=&extra.example.org/k%3D=&truncated=true",
                json!({"issuer": "https://i/?a=b", "user": {"username": "ja\"ne", "uid": "1", "groups": ["dev", "a b"],
                    "extra": {"example.org/k=": ["v&=", ""]}, "truncated": true}}),
            ),
            (
                "v=2&user=%C3%A9&as=bob&as-uid=2&as-group=x&as-extra.k=v&as-truncated=true&later=1&as-later=2&assess=3",
                json!({"user": {"username": "é"}, "impersonated":
                    {"username": "bob", "uid": "2", "groups": ["x"], "extra": {"k": ["v"]}, "truncated": true}}),
            ),
        ] {
            let new = Identities::read(text).unwrap();
            assert_eq!(Some(&new), Identities::read(&old.to_string()).as_ref(), "{text}");
        }
        let lent = Identities::read("v=2&issuer=https://i&user=jane&group=dev&subject=1&grant=g1&grant-by=kim&lent=a%20b&lent=c&grant=g2&lent=d").unwrap();
        // What reached kube-apiserver, and why.
        assert_eq!(lent.user.groups, ["dev", "a b", "c", "d"]);
        assert_eq!(
            serde_json::to_value(&lent.grants).unwrap(),
            json!([{"id": "g1", "by": "kim", "groups": ["a b", "c"]}, {"id": "g2", "groups": ["d"]}])
        );
        let made =
            "v=2&issuer=sharedSecret&user=jane&origin=iss=https://i%26sub=a%2526b%26via=p1&login=x";
        let made = Identities::read(made).unwrap();
        assert_eq!(made.origin, "iss=https://i&sub=a%26b&via=p1");
        for none in ["", "{", "user=bob", "v=3&user=bob"] {
            assert_eq!(Identities::read(none), None, "{none}");
        }
    }
}
