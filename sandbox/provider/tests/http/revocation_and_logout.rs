//! Revocation (RFC 7009) and logout.

use oidc_provider::Endpoint;

use crate::client::{log_in, start};

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
