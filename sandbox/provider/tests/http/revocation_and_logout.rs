//! Revocation (RFC 7009), introspection (RFC 7662) and logout.

use oidc_provider::{AccessTokenFormat, ClientConfig, Endpoint};
use serde_json::json;

use crate::client::{claims, issuer, log_in, start, start_with};

#[test]
fn a_revoked_refresh_token_takes_its_login_along() {
    let (_provider, issuer, http) = start();
    let tokens = log_in(&http, &issuer, "openid");
    let text = |name: &str| tokens[name].as_str().unwrap();
    let revoke = |token, client: &[(&str, &str)]| {
        let form = [&[("token", token)], client].concat();
        http.post(&issuer.endpoint(Endpoint::Revocation), &form)
    };
    let cli = [("client_id", "cli")];
    let web = [("client_id", "web"), ("client_secret", "s3cret")];
    let userinfo = |token: &str| {
        let bearer = format!("Bearer {token}");
        http.get_with(&issuer.endpoint(Endpoint::Userinfo), ("Authorization", &bearer)).status
    };
    let refresh = || {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", "cli"),
            ("refresh_token", text("refresh_token")),
        ];
        http.post(&issuer.endpoint(Endpoint::Token), &form)
    };

    assert_eq!(revoke("unknown", &cli).status, 200, "RFC 7009, 2.2");
    assert_eq!(revoke(text("access_token"), &web).refusal().1, "unauthorized_client");
    assert_eq!(revoke(text("access_token"), &[("client_id", "web")]).status, 401);
    assert_eq!(revoke("", &cli).refusal().1, "invalid_request");
    assert_eq!(userinfo(text("access_token")), 200);

    assert_eq!(revoke(text("access_token"), &cli).status, 200);
    assert_eq!(userinfo(text("access_token")), 401);
    let newer = refresh().json();
    let newer = newer["access_token"].as_str().unwrap();
    assert_eq!(userinfo(newer), 200);

    assert_eq!(revoke(text("refresh_token"), &cli).status, 200);
    assert_eq!(refresh().refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(userinfo(newer), 401);
}

#[test]
fn a_client_with_a_secret_learns_what_a_token_stands_for() {
    let opaque = ClientConfig {
        access_tokens: AccessTokenFormat::Opaque,
        access_token_prefix: "cli_".to_owned(),
        ..ClientConfig::public("cli")
    };
    let (_provider, issuer, http) = start_with(issuer());
    issuer.put_client(opaque);
    let tokens = log_in(&http, &issuer, "openid profile groups");
    let text = |name: &str| tokens[name].as_str().unwrap();
    let ask = |token, client: &[(&str, &str)]| {
        let form = [&[("token", token)], client].concat();
        http.post(&issuer.endpoint(Endpoint::Introspection), &form)
    };
    let web = [("client_id", "web"), ("client_secret", "s3cret")];
    assert!(text("access_token").starts_with("cli_"));
    assert_eq!(ask(text("access_token"), &[("client_id", "cli")]).status, 401);
    assert_eq!(ask("", &web).refusal().1, "invalid_request");
    assert_eq!(ask("unknown", &web).json(), json!({"active": false}));
    let answer = ask(text("access_token"), &web).json();
    for (claim, want) in [
        ("active", json!(true)),
        ("iss", json!(issuer.url())),
        ("aud", json!("cli")),
        ("sub", json!("a-1")),
        ("username", json!("alice")),
        ("groups", json!(["developers", "testers"])),
        ("token_type", json!("Bearer")),
    ] {
        assert_eq!(answer[claim], want, "{claim}");
    }
    assert_eq!(answer, ask(text("access_token"), &web).json());
    assert_eq!(ask(text("refresh_token"), &web).json()["token_type"], "Refresh");
    issuer.end_logins("alice");
    assert_eq!(ask(text("access_token"), &web).json(), json!({"active": false}));

    let access_tokens = AccessTokenFormat::Lightweight;
    issuer.put_client(ClientConfig { access_tokens, ..ClientConfig::public("cli") });
    let light = log_in(&http, &issuer, "openid profile");
    let light = light["access_token"].as_str().unwrap();
    assert_eq!((&claims(light)["iss"], claims(light).get("sub")), (&json!(issuer.url()), None));
    assert_eq!(ask(light, &web).json()["username"], "alice");
}

#[test]
fn logout_ends_the_login_and_goes_back_where_the_client_may() {
    let (_provider, issuer, http) = start();
    let tokens = log_in(&http, &issuer, "openid");
    let hint = tokens["id_token"].as_str().unwrap();
    let url = |query: &str| format!("{}?{query}", issuer.endpoint(Endpoint::EndSession));
    let refusals = [
        url("id_token_hint=not.a.token"),
        url(&format!("id_token_hint={hint}&client_id=web")),
        url(&format!("id_token_hint={hint}&post_logout_redirect_uri=https://evil.example/")),
        url("post_logout_redirect_uri=http://127.0.0.1:1/"),
    ];
    for url in refusals {
        assert_eq!(http.get(&url).status, 400, "{url}");
    }
    // The hint may have expired.
    issuer.set_clock_offset(1000);
    let back = "post_logout_redirect_uri=http://127.0.0.1:1/bye&state=x";
    let answer = http.get(&url(&format!("id_token_hint={hint}&{back}")));
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), Some("http://127.0.0.1:1/bye?state=x"));
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    let answer = http.post(&issuer.endpoint(Endpoint::Token), &form);
    assert_eq!(answer.refusal(), (400, "invalid_grant".to_owned()));
}
