//! Issuers as known providers behave, ready to be started.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::{AccessTokenFormat, ClientConfig, IssuerConfig, RefreshTokens, User},
    keys::Algorithm,
};

/// A ready-made issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The Keycloak realm of the kubernetes-sandbox compose project: `k8s-user1` of the group `system:viewers`.
    KubernetesSandbox,
    /// As Kanidm has it: ES256, PKCE mandatory, groups as `name@host`.
    Kanidm,
    /// As Google has it: no groups, `hd`, refresh tokens for `access_type=offline` only.
    Google,
}

impl Preset {
    /// The issuer of this preset.
    #[must_use]
    pub fn issuer(self) -> IssuerConfig {
        match self {
            Self::KubernetesSandbox => kubernetes_sandbox(),
            Self::Kanidm => kanidm(),
            Self::Google => google(),
        }
    }
}

/// Realm and client `kubernetes-sandbox`. Each password is the user's name with `-password`. `k8s-user1` may view the
/// cluster by the group `system:viewers`, `k8s-user2` has nothing but an e-mail address, `k8s-user3` is in the group
/// `namespace-admin`.
fn kubernetes_sandbox() -> IssuerConfig {
    let mut client = ClientConfig::public("kubernetes-sandbox");
    // Keycloak's default client scopes, with the groups mapper of that realm.
    client.default_scopes = ["profile", "email", "groups"].map(str::to_owned).to_vec();
    let user = |name: &str, sub: &str| {
        User::new(name, format!("{name}-password")).subject(sub).email(format!("{name}@example"))
    };
    IssuerConfig::new("kubernetes-sandbox", "/auth/realms/kubernetes-sandbox")
        .client(client)
        .user(user("k8s-user1", "1d1c9f2e-6f0c-4c57-9a86-5b4c1f3a7d01").groups(["system:viewers"]))
        .user(user("k8s-user2", "2e8b41d7-03b5-4f5e-8c13-9d2fe6a0b402"))
        .user(user("k8s-user3", "3fa6c05b-9e1d-4b64-b7a2-74c8d1e95f03").groups(["namespace-admin"]))
}

/// Client `kubernetes`, user `demo_user` (password `demo_user-password`). Like there, the issuer's path holds the
/// client's name, claims come by scope only, and user and group names are SPNs.
fn kanidm() -> IssuerConfig {
    let mut client = ClientConfig::public("kubernetes");
    client.require_pkce = true;
    client.rotate_refresh_tokens = true;
    let user = User::new("demo_user", "demo_user-password")
        .subject("4b7e93c8-52af-4d0e-a1c6-0f8d2b6e7a04")
        .full_name("Demo User")
        .email("demo_user@idm.example.com")
        .groups(["k8s_users@idm.example.com", "k8s_admins@idm.example.com"])
        .claim("preferred_username", "demo_user@idm.example.com");
    let mut issuer = IssuerConfig::new("kanidm", "/oauth2/openid/kubernetes")
        .algorithms([Algorithm::Es256])
        .client(client)
        .user(user);
    issuer.token_lifetime_seconds = 900;
    issuer.nbf = true;
    issuer.jti = false;
    issuer
}

/// Client `kubernetes.apps.example` (secret `google-secret`: Google gives one to desktop programs too), user
/// `jane@example.com` (password `jane-password`).
fn google() -> IssuerConfig {
    let mut client = ClientConfig::confidential("kubernetes.apps.example", "google-secret");
    client.refresh_tokens = RefreshTokens::AccessTypeOffline;
    client.access_tokens = AccessTokenFormat::Opaque;
    let user = User::new("jane", "jane-password")
        .subject("110169484474386276334")
        .full_name("Jane Doe")
        .email("jane@example.com")
        .claim("hd", "example.com")
        .claim("preferred_username", Value::Null);
    let mut issuer = IssuerConfig::new("google", "").client(client).user(user);
    issuer.token_lifetime_seconds = 3600;
    issuer.jti = false;
    issuer.scopes = ["openid", "profile", "email"].map(str::to_owned).to_vec();
    issuer
}
