//! A code for a device at Keycloak, whose client must use PKCE, as docs/login.md recommends it.

use sandbox::wait::until;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    keycloak::{Keycloak, PASSWORD, USER},
    plugin::{Plugin, claims},
};

/// Without a challenge Keycloak says "Missing parameter: `code_challenge_method`". Login, refresh, exchange and logout, by a public
/// client and by one with a secret.
#[test]
fn a_device_logs_in_at_keycloak_with_pkce() {
    let keycloak = Keycloak::start("http://localhost:8000");
    let browser = Browser::start();
    keycloak.add(&json!({
        "clientId": "device",
        "publicClient": true,
        "standardFlowEnabled": false,
        "attributes": attributes(&json!({})),
    }));
    keycloak.add(&json!({
        "clientId": "confidential",
        "secret": "s3cret",
        "standardFlowEnabled": false,
        "attributes": attributes(&json!({"standard.token.exchange.enabled": "true"})),
        "protocolMappers": [{
            "name": "cluster", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
            "config": {"included.client.audience": "cluster", "access.token.claim": "true"},
        }],
    }));
    keycloak.add(&json!({"clientId": "cluster", "secret": "of the cluster"}));
    let plugin = Plugin::new(&keycloak.issuer(), keycloak.ca());

    let public: &[&str] = &["--oidc-client-id=device"];
    // Keycloak exchanges access tokens alone.
    let confidential: &[&str] = &[
        "--oidc-client-id=confidential",
        "--oidc-client-secret=s3cret",
        "--oidc-use-access-token",
    ];
    for client in [public, confidential] {
        let device = [client, &["--grant-type=device-code"]].concat();
        let renewing = [&device[..], &["--force-refresh"]].concat();

        // Keycloak refuses a device without the challenge; the plugin is what sends it.
        let without = [&device[..], &["--oidc-pkce-method=no"]].concat();
        let refused = plugin.run("get-token", &without);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("Missing parameter: code_challenge_method"), "{said}");

        let first = plugin.token_of_a_login(&device, "or at ", |address| log_in(&browser, address));
        assert_eq!(claims(&first)["preferred_username"], USER);
        assert_eq!(plugin.token(&device), first, "the stored token serves");

        // The refresh token serves, and the one that comes with each token does.
        let second = plugin.token(&renewing);
        let third = plugin.token(&renewing);
        assert!(first != second && second != third);
        assert_eq!(claims(&third)["sub"], claims(&first)["sub"]);

        // The login is exchanged, and nobody is asked again.
        if client == confidential {
            let exchange = [
                "--oidc-client-id=confidential",
                "--oidc-client-secret=s3cret",
                "--grant-type=token-exchange",
                "--subject-token-type=access-token",
                "--exchange-audience=cluster",
            ];
            let exchanged = claims(&plugin.token(&exchange));
            let found = (&exchanged["aud"], &exchanged["sub"]);
            assert_eq!(found, (&json!("cluster"), &claims(&first)["sub"]));
        }

        assert_eq!(keycloak.sessions(), 1);
        let logout = plugin.run("logout", &device);
        let said = String::from_utf8(logout.stderr).unwrap();
        assert!(said.contains("The refresh token is revoked."), "{said}");
        until("the session ends", || (keycloak.sessions() == 0).then_some(()));
        browser.command("Network.clearBrowserCookies", &json!({}));
    }
}

/// A client's for the device grant, with more.
fn attributes(more: &Value) -> Value {
    let mut attributes = json!({
        "oauth2.device.authorization.grant.enabled": "true",
        "pkce.code.challenge.method": "S256",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        attributes[name] = value.clone();
    }
    attributes
}

/// What a person does at Keycloak's page for a code that stands in the address.
fn log_in(browser: &Browser, address: &str) {
    browser.open(address);
    browser.fill("#username", USER);
    browser.fill("#password", PASSWORD);
    browser.click("#kc-login");
    // A device needs the person's consent, whatever the client.
    browser.click("[name=accept]");
    browser.until_it_reads("Device Login Successful");
}
