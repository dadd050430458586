//! A user and what tokens say of him.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Somebody who can log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The login name; `preferred_username` in tokens.
    pub name: String,
    /// The password.
    pub password: String,
    /// `sub` in tokens. Absent: the login name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// `email` in tokens; also accepted in the place of the login name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `email_verified` in tokens, if there is an `email`.
    #[serde(default = "yes")]
    pub email_verified: bool,
    /// `name` in tokens. Absent: the login name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// `groups` in tokens.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Claims that are in every ID token whatever the scope; they win over all above. Null leaves a claim out.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

fn yes() -> bool {
    true
}

impl User {
    /// A user without groups and e-mail address.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            sub: None,
            email: None,
            email_verified: true,
            full_name: None,
            groups: Vec::new(),
            claims: Map::new(),
        }
    }

    /// Sets `sub`.
    #[must_use]
    pub fn subject(mut self, sub: impl Into<String>) -> Self {
        self.sub = Some(sub.into());
        self
    }

    /// Sets a verified e-mail address.
    #[must_use]
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// Sets the name that people call the user by.
    #[must_use]
    pub fn full_name(mut self, name: impl Into<String>) -> Self {
        self.full_name = Some(name.into());
        self
    }

    /// Sets the groups.
    #[must_use]
    pub fn groups<G: Into<String>>(mut self, groups: impl IntoIterator<Item = G>) -> Self {
        self.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a claim.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// The value of `sub`.
    pub(crate) fn sub_claim(&self) -> &str {
        self.sub.as_deref().unwrap_or(&self.name)
    }

    /// Whether a person who types `login` means this user.
    pub(crate) fn answers_to(&self, login: &str) -> bool {
        self.name == login || self.email.as_deref() == Some(login)
    }
}
