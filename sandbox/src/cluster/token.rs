//! Tokens of ServiceAccounts.

use serde_json::json;

use crate::{
    error::{Error, Result},
    http::Client,
};

/// Makes tokens of one ServiceAccount.
pub(crate) struct TokenSource {
    admin: Client,
    path: String,
}

impl TokenSource {
    pub fn new(admin: Client, namespace: &str, name: &str) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        Self { admin, path }
    }

    /// A token for the API server itself, which lives `seconds`, 600 at least.
    pub fn token(&self, seconds: u32) -> Result<String> {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        });
        let answer = self.admin.post_json(&self.path, &request)?;
        let token = answer.pointer("/status/token").and_then(|token| token.as_str());
        let missing = || Error::Invalid(format!("{} was answered without a token", self.path));
        token.map(str::to_owned).ok_or_else(missing)
    }
}
