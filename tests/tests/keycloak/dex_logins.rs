//! The plugin at Dex: every way that Dex has, with a person at its own pages.

use std::fs;

use oidc_provider::{ClientConfig, Config, IssuerConfig, Provider, User};
use sandbox::Port;
use serde_json::json;

use crate::{
    browser::Browser,
    dex::{Dex, PASSWORD, USER},
    plugin::{Plugin, claims},
};

/// A refresh token, and a name to see.
const SCOPES: &str = "--oidc-extra-scope=offline_access,email";

#[test]
fn a_browser_logs_in_at_dex() {
    let redirect = Port::reserve().unwrap();
    let uri = format!("http://localhost:{}", redirect.number());
    let clients = json!([
        {"id": "public", "name": "public", "public": true, "redirectURIs": [uri]},
        {"id": "secretive", "name": "secretive", "secret": "s3cret", "redirectURIs": [uri]},
    ]);
    let dex = Dex::start(&clients, &json!([]));
    let (plugin, browser) = (Plugin::new(dex.issuer(), dex.ca()), Browser::start());
    let listen = format!("--listen-address={}", redirect.address());

    let public: &[&str] = &["--oidc-client-id=public"];
    let secretive: &[&str] = &["--oidc-client-id=secretive", "--oidc-client-secret=s3cret"];
    for client in [public, secretive] {
        let ways = [SCOPES, &listen, "--grant-type=authcode", "--skip-open-browser"];
        let login = [client, &ways].concat();
        let at_the_browser = |address: &str| {
            browser.open(address);
            fill_in(&browser);
            browser.until_it_reads("Signed in");
        };
        let first = plugin.token_of_a_login(&login, "Log in at ", at_the_browser);
        assert_eq!(claims(&first)["email"], USER);
        keeps_and_renews(&plugin, &login, &first);

        // Dex has neither a revocation nor an end-session page, and the person is told so.
        let logout = plugin.run("logout", &login);
        let said = String::from_utf8(logout.stderr).unwrap();
        assert!(logout.status.success() && said.contains("is forgotten."), "{said}");
        assert!(said.contains("The issuer offers no revocation"), "{said}");
        assert!(!said.contains("To end the session"), "{said}");
        let again = plugin.token_of_a_login(&login, "Log in at ", at_the_browser);
        assert_ne!(again, first);
    }
}

/// Dex reads `client_id` from the body alone, where the standard has it (RFC 8628, section 3.1), whatever the header says.
#[test]
fn a_device_logs_in_at_dex_with_a_secret() {
    // As docs/login.md has it.
    let redirects = json!(["http://localhost:8000", "http://localhost:18000", "/device/callback"]);
    let clients = json!([
        {"id": "public", "name": "public", "public": true, "redirectURIs": redirects},
        {"id": "secretive", "name": "secretive", "secret": "s3cret", "redirectURIs": redirects},
    ]);
    let dex = Dex::start(&clients, &json!([]));
    let (plugin, browser) = (Plugin::new(dex.issuer(), dex.ca()), Browser::start());

    let public: &[&str] = &["--oidc-client-id=public"];
    let secretive: &[&str] = &["--oidc-client-id=secretive", "--oidc-client-secret=s3cret"];
    for client in [public, secretive] {
        let login = [client, &[SCOPES, "--grant-type=device-code"]].concat();
        let first = plugin.token_of_a_login(&login, "or at ", |address| {
            browser.open(address);
            // The code is filled in already.
            browser.click("#submit-login");
            fill_in(&browser);
            browser.until_it_reads("Login Successful");
        });
        assert_eq!(claims(&first)["email"], USER);
        keeps_and_renews(&plugin, &login, &first);
    }
}

/// Of a password, and of a token of an issuer that Dex knows: its `connector_id` is a parameter of the request.
#[test]
fn tokens_without_a_page_at_dex() {
    let mut issuer = IssuerConfig::new("main", "/realms/main");
    issuer = issuer.client(ClientConfig::confidential("dex", "d3x"));
    let provider =
        Provider::start(Config::of(issuer.user(User::new("bob", "secret").email("bob@example"))))
            .unwrap();
    let upstream = provider.issuer();

    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("upstream.pem");
    fs::write(&ca, provider.ca_pem()).unwrap();
    let clients = json!([{"id": "kube", "name": "kube", "secret": "s3cret"}]);
    let connectors = json!([{
        "type": "oidc", "id": "upstream", "name": "upstream",
        "config": {
            "issuer": upstream.url(), "clientID": "dex", "clientSecret": "d3x", "rootCAs": [ca],
            "redirectURI": "https://127.0.0.1:1/callback", "insecureSkipEmailVerified": true,
            "userNameKey": "email",
        },
    }]);
    let dex = Dex::start(&clients, &connectors);
    let plugin = Plugin::new(dex.issuer(), dex.ca());
    let kube = ["--oidc-client-id=kube", "--oidc-client-secret=s3cret", SCOPES];

    let username = format!("--username={USER}");
    let password = format!("--password={PASSWORD}");
    let login = [&kube[..], &[&username, &password]].concat();
    let first = plugin.token(&login);
    assert_eq!(claims(&first)["email"], USER);
    keeps_and_renews(&plugin, &login, &first);

    let upstreams = Plugin::new(upstream.url(), provider.ca_pem());
    let subject = upstreams.token(&[
        "--oidc-client-id=dex",
        "--oidc-client-secret=d3x",
        "--oidc-extra-scope=email",
        "--username=bob",
        "--password=secret",
    ]);
    fs::write(plugin.home().join("subject"), subject).unwrap();
    let exchange = [
        "--grant-type=token-exchange",
        "--subject-token-file=subject",
        "--subject-token-type=id-token",
        "--requested-token-type=id-token",
        "--oidc-auth-request-extra-params=connector_id=upstream",
    ];
    let exchanged = claims(&plugin.token(&[&kube[..], &exchange].concat()));
    let found = (&exchanged["iss"], &exchanged["aud"], &exchanged["email"]);
    assert_eq!(found, (&json!(dex.issuer()), &json!("kube"), &json!("bob@example")));
}

/// The stored token serves, then the refresh token and the one that comes with each token; nobody is asked.
#[track_caller]
fn keeps_and_renews(plugin: &Plugin, login: &[&str], first: &str) {
    assert_eq!(plugin.token(login), first);
    let renewing = [login, &["--force-refresh"]].concat();
    let second = plugin.token(&renewing);
    let third = plugin.token(&renewing);
    assert!(first != second && second != third);
    assert_eq!(claims(&third)["sub"], claims(first)["sub"]);
}

/// Dex's form for its own users.
fn fill_in(browser: &Browser) {
    browser.fill("#login", USER);
    browser.fill("#password", PASSWORD);
    browser.click("#submit-login");
}
