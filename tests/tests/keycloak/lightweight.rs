//! Keycloak's lightweight access tokens: JWTs that do not say who the user is. The gateway asks Keycloak (RFC 7662).

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use sandbox::{Credential, wait::until};
use serde_json::json;

use crate::{
    keycloak::{Keycloak, USER},
    plugin::claims,
    story::CLUSTER,
};

const CLIENT: &str = "kubernetes-light";

#[test]
fn lightweight_access_tokens_are_introspected() {
    let keycloak = Keycloak::start("http://localhost:8000");
    let mapper = |name: &str, kind: &str, more: &[(&str, &str)]| {
        let mut config = json!({
            "access.token.claim": "true", "introspection.token.claim": "true",
            "lightweight.claim": "false",
        });
        for (field, value) in more {
            config[*field] = json!(value);
        }
        json!({"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config})
    };
    keycloak.add(&json!({
        "clientId": CLIENT,
        "publicClient": true,
        "directAccessGrantsEnabled": true,
        "attributes": {"client.use.lightweight.access.token.enabled": "true"},
        "protocolMappers": [
            mapper("groups", "oidc-group-membership-mapper",
                &[("claim.name", "groups"), ("full.path", "false")]),
            mapper("cluster", "oidc-audience-mapper", &[("included.client.audience", CLIENT)]),
            mapper("asker", "oidc-audience-mapper", &[("included.client.audience", "gateway")]),
        ],
    }));
    keycloak.add(&json!({"clientId": "gateway", "secret": "ask-me"}));

    let token = keycloak.log_in(CLIENT);
    let inside = claims(&token);
    assert!(
        inside.get("preferred_username").is_none() && inside.get("groups").is_none(),
        "{inside}"
    );

    let folder = tempfile::tempdir().unwrap();
    let basic = folder.path().join("basic");
    fs::write(&basic, STANDARD.encode("gateway:ask-me")).unwrap();
    let issuer = keycloak.issuer();
    let authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": issuer, "audiences": [CLIENT], "certificateAuthority": keycloak.ca()},
            "claimMappings": {
                "username": {"claim": "preferred_username", "prefix": "keycloak:"},
                "groups": {"claim": "groups", "prefix": ""},
                "uid": {"claim": "sub"},
            },
        }],
    });
    let mut configuration = sandbox::realm::configuration();
    configuration["introspection"] = json!([{
        "name": "keycloak", "issuer": issuer, "tokens": "jwt",
        "endpoint": format!("{issuer}/protocol/openid-connect/token/introspect"),
        "credential": {"basicFile": basic},
        "lifetimeSeconds": 2, "negativeLifetimeSeconds": 1,
    }]);
    let gateway = CLUSTER.gateway(authentication).configuration(configuration).start().unwrap();
    let kubectl = gateway.kubectl(Credential::Token(token)).unwrap();
    let who = kubectl.must(["auth", "whoami", "-o", "json"], "").unwrap();
    assert!(who.contains(&format!("\"keycloak:{USER}\"")), "{who}");
    assert!(who.contains("\"system:viewers\""), "{who}");
    // kube-apiserver learns of new bindings a moment after they are made.
    until("the group's role counts", || {
        kubectl.run(["get", "namespaces"]).unwrap().success().then_some(())
    });

    // The groups are those of now, within the lifetime.
    keycloak.leave("system:viewers");
    until("the group is gone", || {
        (!kubectl.run(["get", "namespaces"]).unwrap().success()).then_some(())
    });
    keycloak.join("system:viewers");
    until("the group is back", || {
        kubectl.run(["get", "namespaces"]).unwrap().success().then_some(())
    });
    // So is the session. Until then a worker may remember that the group was gone.
    keycloak.end_sessions();
    until("the session is over", || {
        let said = kubectl.run(["get", "namespaces"]).unwrap().stderr;
        if said.contains("You must be logged in to the server") { Ok(()) } else { Err(said) }
    });
}
