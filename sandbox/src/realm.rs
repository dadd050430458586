//! The realm of the compose project kubernetes-sandbox, and the configuration under which its users meet the cluster.

use oidc_provider::{Issuer, Provider};
use serde_json::{Value, json};

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
