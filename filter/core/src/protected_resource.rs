//! What strangers are told, so that they find where to log in: OAuth 2.0 Protected Resource Metadata (RFC 9728).
//!
//! The filter lets a request for the document through under a mark of its own, and for this mark there is a route that answers and
//! leads nowhere ([decision 25](../../../docs/decisions/0025-what-strangers-are-told.md)). A 401 names the document.

use kube_authn::config::raw;
use serde_json::{Map, Value, json};

use crate::config::{GatewayConfiguration, ProtectedResource};

/// Where the document is (RFC 9728, section 3), for a resource without a path.
pub const PATH: &str = "/.well-known/oauth-protected-resource";
/// The mark of a request for it: filter state `wasm.mode`.
pub const MODE: &str = "metadata";

/// The scope without which there is no ID token (OpenID Connect Core 1.0, section 3.1.2.1).
const OPENID: &str = "openid";

/// A client of an issuer that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "protectedResource.clients[{index}].issuer: Invalid value: {issuer:?}: must be an issuer.url of the AuthenticationConfiguration"
)]
pub struct UnknownIssuer {
    index: usize,
    issuer: String,
}

/// Whether a request's target is the document, with whatever query.
#[must_use]
pub fn is_asked(target: &[u8]) -> bool {
    let rest = target.strip_prefix(PATH.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"?"))
}

/// A 401's `WWW-Authenticate` (RFC 9728, section 5.1), if there is a document.
#[must_use]
pub fn challenge(told: &ProtectedResource) -> Option<String> {
    let url = &told.url;
    (!url.is_empty()).then(|| format!("Bearer resource_metadata=\"{url}{PATH}\""))
}

/// The document, if there is one.
///
/// # Errors
/// If it were to name a client of an issuer whose tokens nobody takes.
pub fn document(
    gateway: &GatewayConfiguration,
    authentication: &raw::AuthenticationConfiguration,
) -> Result<Option<Value>, UnknownIssuer> {
    let told = &gateway.protected_resource;
    let known = |issuer: &str| authentication.jwt.iter().any(|jwt| jwt.issuer.url == issuer);
    let unknown = told.clients.iter().enumerate().find(|(_, client)| !known(&client.issuer));
    if let Some((index, client)) = unknown {
        return Err(UnknownIssuer { index, issuer: client.issuer.clone() });
    }
    if told.url.is_empty() {
        return Ok(None);
    }
    let mut scopes = vec![OPENID];
    let mut clients = Vec::new();
    for raw::Issuer { url, audiences, .. } in authentication.jwt.iter().map(|jwt| &jwt.issuer) {
        let named = told.clients.iter().find(|client| client.issuer == *url);
        let more = named.map(|client| client.scopes.as_slice()).unwrap_or_default();
        let of_client = with_openid(more);
        scopes.extend(of_client.iter().filter(|scope| !scopes.contains(scope)).collect::<Vec<_>>());
        // The audience of an ID token is the client that it is for (OpenID Connect Core 1.0, section 2).
        let id = match (named, audiences.as_slice()) {
            (Some(client), _) => &client.client_id,
            (None, [only]) => only,
            (None, _) => continue,
        };
        clients.push(json!({"issuer": url, "client_id": id, "scopes": of_client}));
    }
    let issuers: Vec<_> = authentication.jwt.iter().map(|jwt| &jwt.issuer.url).collect();
    let name = Some(&told.cluster_name).filter(|name| !name.is_empty());
    let mut kubernetes = Map::new();
    kubernetes.extend(name.map(|name| ("cluster".to_owned(), json!(name))));
    kubernetes.insert("clients".to_owned(), Value::Array(clients));
    let mut document = Map::new();
    document.extend(name.map(|name| ("resource_name".to_owned(), json!(name))));
    document.extend(
        [
            ("resource", json!(told.url)),
            ("authorization_servers", json!(issuers)),
            ("scopes_supported", json!(scopes)),
            ("bearer_methods_supported", json!(["header"])),
            ("kubernetes", Value::Object(kubernetes)),
        ]
        .map(|(field, value)| (field.to_owned(), value)),
    );
    Ok(Some(Value::Object(document)))
}

fn with_openid(scopes: &[String]) -> Vec<&str> {
    let mut all = vec![OPENID];
    for scope in scopes {
        if !all.contains(&scope.as_str()) {
            all.push(scope);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use kube_authn::config::{LoadOptions, load};

    use super::*;
    use crate::config::{API_VERSION, KIND};

    fn told(told: &Value) -> Result<Option<Value>, String> {
        let jwt = |url: &str, audiences: &[&str]| {
            let issuer =
                json!({"url": url, "audiences": audiences, "audienceMatchPolicy": "MatchAny"});
            let username = json!({"claim": "sub", "prefix": ""});
            json!({"issuer": issuer, "claimMappings": {"username": username}})
        };
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [jwt("https://a.example/r", &["kubernetes"]), jwt("https://b.example", &["x", "y"])],
        });
        let authentication = load(authentication.to_string().as_bytes(), &LoadOptions::default());
        let gateway = json!({"apiVersion": API_VERSION, "kind": KIND, "protectedResource": told});
        let gateway = GatewayConfiguration::from_value(gateway).unwrap();
        document(&gateway, authentication.unwrap().raw()).map_err(|error| error.to_string())
    }

    #[test]
    fn issuers_and_their_clients_are_told() {
        assert_eq!(told(&json!({})), Ok(None));
        let url = "https://gateway.example";
        let a = json!({"issuer": "https://a.example/r", "client_id": "kubernetes", "scopes": ["openid"]});
        assert_eq!(
            told(&json!({"url": url})),
            Ok(Some(json!({
                "resource": url,
                "authorization_servers": ["https://a.example/r", "https://b.example"],
                "scopes_supported": ["openid"],
                "bearer_methods_supported": ["header"],
                // Which of two audiences is a client of b nobody knows.
                "kubernetes": {"clients": [a]},
            })))
        );
        let clients = json!([
            {"issuer": "https://b.example", "clientID": "y", "scopes": ["groups", "openid"]},
            {"issuer": "https://a.example/r", "clientID": "a", "scopes": ["email", "groups"]},
        ]);
        let document =
            told(&json!({"url": url, "clusterName": "prod", "clients": clients})).unwrap().unwrap();
        assert_eq!(document["resource_name"], "prod");
        assert_eq!(document["scopes_supported"], json!(["openid", "email", "groups"]));
        assert_eq!(
            document["kubernetes"],
            json!({"cluster": "prod", "clients": [
                {"issuer": "https://a.example/r", "client_id": "a", "scopes": ["openid", "email", "groups"]},
                {"issuer": "https://b.example", "client_id": "y", "scopes": ["openid", "groups"]},
            ]})
        );
        let clients = json!([{"issuer": "https://a.example", "clientID": "a"}]);
        let error = told(&json!({"url": url, "clients": clients})).unwrap_err();
        assert!(
            error.contains("clients[0].issuer: Invalid value: \"https://a.example\""),
            "{error}"
        );
    }

    #[test]
    fn the_document_has_one_spelling() {
        for (target, want) in [
            ("/.well-known/oauth-protected-resource", true),
            ("/.well-known/oauth-protected-resource?a=b", true),
            ("/.well-known/oauth-protected-resource?", true),
            ("/.well-known/oauth-protected-resource/", false),
            ("/.well-known/oauth-protected-resource/api", false),
            ("/.well-known/oauth-protected-resources", false),
            ("//.well-known/oauth-protected-resource", false),
            ("/%2ewell-known/oauth-protected-resource", false),
            ("/.well-known/oauth-protected-resource#", false),
            ("/.well-known/oauth-protected-resource;a", false),
            ("/.Well-Known/oauth-protected-resource", false),
            ("/api?/.well-known/oauth-protected-resource", false),
            ("", false),
        ] {
            assert_eq!(is_asked(target.as_bytes()), want, "{target}");
        }
    }
}
