//! Who made a request: what the filter says of it in Envoy's filter state (`wasm.identity`).

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
    /// Whom the client asked to be (`kubectl --as`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated: Option<User>,
}

impl Identities {
    /// Whether the filter left something out that had no room.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.user.truncated || self.impersonated.as_ref().is_some_and(|user| user.truncated)
    }
}

impl User {
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
