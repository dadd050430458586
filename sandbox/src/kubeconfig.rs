//! kubeconfig files: one cluster, one user. JSON, which is YAML too.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{error::Result, files};

/// How the user of a kubeconfig proves who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Not at all.
    None,
    /// A bearer token.
    Token(String),
    /// A client certificate and its key, PEM.
    Certificate {
        /// The certificate.
        certificate: String,
        /// Its key.
        key: String,
    },
    /// kubectl's built-in OpenID Connect provider, which refreshes the token by itself.
    Oidc {
        /// The issuer's URL.
        issuer: String,
        /// The bundle that signs the issuer's certificate, PEM.
        issuer_ca: String,
        /// The client's identifier.
        client_id: String,
        /// The ID token.
        id_token: String,
        /// The refresh token.
        refresh_token: String,
    },
    /// A credential plugin: the user's `exec` section.
    Exec(Value),
}

/// A kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// The server's URL.
    pub server: String,
    /// The bundle that signs the server's certificate, PEM.
    pub ca: String,
    /// Who uses it.
    pub credential: Credential,
}

impl Kubeconfig {
    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let user = match &self.credential {
            Credential::None => json!({}),
            Credential::Token(token) => json!({"token": token}),
            Credential::Certificate { certificate, key } => json!({
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key),
            }),
            Credential::Exec(section) => json!({"exec": section}),
            Credential::Oidc { issuer, issuer_ca, client_id, id_token, refresh_token } => json!({
                "auth-provider": {"name": "oidc", "config": {
                    "idp-issuer-url": issuer,
                    "idp-certificate-authority-data": STANDARD.encode(issuer_ca),
                    "client-id": client_id,
                    "id-token": id_token,
                    "refresh-token": refresh_token,
                }},
            }),
        };
        let name = "sandbox";
        let text: Value = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [{"name": name, "cluster": {
                "server": self.server,
                "certificate-authority-data": STANDARD.encode(&self.ca),
            }}],
            "users": [{"name": name, "user": user}],
        });
        format!("{text:#}\n")
    }

    /// Writes it, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write_private(path, self.text().as_bytes())
    }
}
