//! The realm of the compose project kubernetes-sandbox, and the configuration under which its users meet the cluster.

use oidc_provider::{Endpoint, Issuer, Provider};
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    http::Client,
    kubeconfig::Credential,
};

/// The realm's only client.
pub const CLIENT: &str = "kubernetes-sandbox";

/// Groups beginning with `system:` that tokens of the realm may carry; no other such name passes.
pub const ALLOWED_GROUPS: [&str; 2] = ["system:viewers", "system:masters"];

/// An `AuthenticationConfiguration` for an issuer: names users by `username_claim` behind `<issuer>#`, as kube-apiserver's
/// flags did, and takes groups from `groups` and the uid from `sub`.
#[must_use]
pub fn authentication(issuer: &Issuer, ca: &str, username_claim: &str) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": issuer.url(), "audiences": [CLIENT], "certificateAuthority": ca},
            "claimMappings": {
                "username": {"claim": username_claim, "prefix": format!("{}#", issuer.url())},
                "groups": {"claim": "groups", "prefix": ""},
                "uid": {"claim": "sub"},
            },
        }],
    })
}

/// [`authentication`] for the first issuer of a provider, with users named by `preferred_username`.
#[must_use]
pub fn authentication_of(provider: &Provider) -> Value {
    authentication(&provider.issuer(), provider.ca_pem(), "preferred_username")
}

/// The `GatewayConfiguration` that lets [`ALLOWED_GROUPS`] through.
#[must_use]
pub fn configuration() -> Value {
    json!({
        "apiVersion": "gateway.kube-oidc.dev/v1alpha1",
        "kind": "GatewayConfiguration",
        "allowedReserved": {"groups": ALLOWED_GROUPS},
    })
}

/// What a user gets for a password.
#[derive(Clone)]
pub struct Login {
    /// The ID token.
    pub id_token: String,
    /// The refresh token.
    pub refresh_token: String,
    credential: Credential,
}

impl Login {
    /// Logs a user in at the first issuer of a provider, by the password grant (RFC 6749, section 4.3), as the original
    /// project's script does.
    pub fn by_password(provider: &Provider, user: &str) -> Result<Self> {
        let issuer = provider.issuer();
        let form = [
            ("grant_type", "password"),
            ("client_id", CLIENT),
            ("scope", "openid"),
            ("username", user),
            ("password", &password(user)),
        ];
        let client = Client::tls("", provider.ca_pem(), None)?;
        let url = issuer.endpoint(Endpoint::Token);
        let answer = client.post_form(&url, &form)?;
        let text = |name: &str| {
            let text = answer.get(name).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| Error::Invalid(format!("{url} was answered without {name}")))
        };
        let (id_token, refresh_token) = (text("id_token")?, text("refresh_token")?);
        let credential = Credential::Oidc {
            issuer: issuer.url().to_owned(),
            issuer_ca: provider.ca_pem().to_owned(),
            client_id: CLIENT.to_owned(),
            id_token: id_token.clone(),
            refresh_token: refresh_token.clone(),
        };
        Ok(Self { id_token, refresh_token, credential })
    }

    /// For a kubeconfig with kubectl's built-in provider, which refreshes the token.
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.credential.clone()
    }
}

/// The password of a user of the realm.
#[must_use]
pub fn password(user: &str) -> String {
    format!("{user}-password")
}
