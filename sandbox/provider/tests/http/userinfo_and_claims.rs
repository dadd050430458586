//! Userinfo, and the distributed claims that kube-apiserver fetches groups from.

use oidc_provider::Endpoint;
use serde_json::json;

use crate::client::{claims, header, log_in, start};

#[test]
fn userinfo_says_what_the_scope_allows() {
    let (_provider, issuer, http) = start();
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        http.get_with(&issuer.endpoint(Endpoint::Userinfo), ("Authorization", &bearer))
    };
    let tokens = log_in(&http, &issuer, "openid email");
    let token = tokens["access_token"].as_str().unwrap();
    let want = json!({"sub": "a-1", "email": "alice@example.com", "email_verified": true});
    assert_eq!(ask(token).json(), want);

    let no_token = http.get(&issuer.endpoint(Endpoint::Userinfo));
    assert_eq!((no_token.status, no_token.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(ask("guess").refusal(), (401, "invalid_token".to_owned()));
    let without_openid = log_in(&http, &issuer, "email");
    assert_eq!(ask(without_openid["access_token"].as_str().unwrap()).status, 401);
    issuer.set_clock_offset(300);
    assert_eq!(ask(token).status, 401, "expired");
}

#[test]
fn distributed_groups_are_a_signed_token() {
    let (_provider, issuer, http) = start();
    let source = issuer.claims_source("alice", "kubernetes");
    let token = issuer
        .token("alice", "kubernetes")
        .without("groups")
        .claim("_claim_names", json!({"groups": "src1"}))
        .claim("_claim_sources", json!({"src1": source}))
        .mint();
    let source = claims(&token)["_claim_sources"]["src1"].clone();
    let endpoint = source["endpoint"].as_str().unwrap();
    let bearer = format!("Bearer {}", source["access_token"].as_str().unwrap());
    let answer = http.get_with(endpoint, ("Authorization", &bearer));
    assert_eq!(answer.header("content-type"), Some("application/jwt"));
    let signed = answer.text();
    let body = claims(&signed);
    assert_eq!(body["iss"], issuer.url());
    assert_eq!(body["aud"], "kubernetes");
    assert_eq!(body["groups"], json!(["developers", "testers"]));
    let keys = issuer.jwks();
    assert_eq!(header(&signed)["kid"], keys["keys"][0]["kid"]);

    assert_eq!(http.get(endpoint).status, 401);
    assert_eq!(http.get_with(endpoint, ("Authorization", "Bearer x")).status, 401);
    assert_eq!(issuer.requests(Endpoint::Claims), 3);
}
