//! Machines at Keycloak: a key in place of a secret, and a token in exchange for another.

use std::{fs, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    keycloak::{Keycloak, PASSWORD, USER},
    plugin::{Plugin, claims},
};

const NO_STORE: &str = "--token-store=none";

/// A key of the client's own, and its public half as Keycloak takes it.
fn key(folder: &Path) -> Value {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output();
        let output = output.expect("openssl: make test-keycloak installs it");
        assert!(output.status.success(), "{arguments:?}");
        output.stdout
    };
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"]);
    let der = openssl(&["pkey", "-in", "key.pem", "-pubout", "-outform", "DER"]);
    let (x, y) = der[der.len() - 64..].split_at(32);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1", "x": encode(x), "y": encode(y)})
}

#[test]
fn machines_log_in_at_keycloak_without_secrets() {
    let keycloak = Keycloak::start("http://localhost:8000");
    let machine = Plugin::new(&keycloak.issuer(), keycloak.ca());
    let jwks = json!({"keys": [key(machine.home())]}).to_string();
    keycloak.add(&json!({
        "clientId": "robot",
        "clientAuthenticatorType": "client-jwt",
        "serviceAccountsEnabled": true,
        "directAccessGrantsEnabled": true,
        "attributes": {
            "use.jwks.string": "true", "jwks.string": jwks,
            "token.endpoint.auth.signing.alg": "ES256",
            "standard.token.exchange.enabled": "true",
        },
        "protocolMappers": [{
            "name": "cluster", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
            "config": {"included.client.audience": "cluster", "access.token.claim": "true"},
        }],
    }));
    keycloak.add(&json!({"clientId": "cluster", "secret": "s3cret"}));

    // private_key_jwt, for the issuer and for the token endpoint.
    let robot = [
        NO_STORE,
        "--oidc-client-id=robot",
        "--client-assertion-key-file=key.pem",
        "--client-assertion-key-id=k1",
    ];
    let own = machine.token(&[&robot[..], &["--grant-type=client-credentials"]].concat());
    assert_eq!(claims(&own)["azp"], "robot");
    // The same key proves the client with any grant.
    let user = format!("--username={USER}");
    let password = format!("--password={PASSWORD}");
    let login = ["--grant-type=password", &user, &password];
    let person = machine.token(&[&robot[..], &login].concat());
    assert_eq!(claims(&person)["preferred_username"], USER);

    // An exchange, which Keycloak does for access tokens.
    let access = machine.token(&[&robot[..], &login, &["--oidc-use-access-token"]].concat());
    fs::write(machine.home().join("subject"), &access).unwrap();
    let exchange = [
        "--grant-type=token-exchange",
        "--subject-token-file=subject",
        "--subject-token-type=access-token",
        "--exchange-audience=cluster",
    ];
    let exchanged = machine.token(&[&robot[..], &exchange].concat());
    let exchanged = claims(&exchanged);
    assert_eq!(
        (&exchanged["aud"], &exchanged["sub"]),
        (&json!("cluster"), &claims(&access)["sub"])
    );

    // Another key is refused, in words.
    key(machine.home());
    let refused =
        machine.run("get-token", &[&robot[..], &["--grant-type=client-credentials"]].concat());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("the issuer refused"), "{said}");
}
