//! Client credentials, and the ways in which a client proves itself.

use base64::{Engine, engine::general_purpose::STANDARD};
use oidc_provider::{ClientAuthentication, ClientConfig, Endpoint};

use crate::client::{claims, issuer, start_with};

#[test]
fn a_client_proves_itself_in_every_way() {
    let mut post_only = ClientConfig::confidential("post", "a:b&c d");
    post_only.authentication = vec![ClientAuthentication::ClientSecretPost];
    let mut basic_only = ClientConfig::confidential("basic", "a:b&c d");
    basic_only.authentication = vec![ClientAuthentication::ClientSecretBasic];
    let (_provider, issuer, http) = start_with(issuer().client(post_only).client(basic_only));
    let token = issuer.endpoint(Endpoint::Token);
    let grant = ("grant_type", "client_credentials");
    let refused = (401, "invalid_client".to_owned());

    let by_post =
        |id, secret| http.post(&token, &[grant, ("client_id", id), ("client_secret", secret)]);
    assert_eq!(by_post("post", "a:b&c d").status, 200);
    assert_eq!(by_post("post", "wrong").refusal(), refused);
    assert_eq!(by_post("basic", "a:b&c d").refusal(), refused);

    let by_basic = |pair: &str, form: &[(&str, &str)]| {
        let value = format!("Basic {}", STANDARD.encode(pair));
        http.post_with(&token, ("Authorization", &value), form)
    };
    // Both halves are form-encoded first (RFC 6749, 2.3.1).
    assert_eq!(by_basic("basic:a%3Ab%26c+d", &[grant]).status, 200);
    let answer = by_basic("basic:wrong", &[grant]);
    assert_eq!(answer.refusal(), refused);
    assert_eq!(answer.header("www-authenticate"), Some("Basic"));
    assert_eq!(by_basic("post:a%3Ab%26c+d", &[grant]).refusal(), refused);
    let invalid = (400, "invalid_request".to_owned());
    let twice = [grant, ("client_secret", "a:b&c d")];
    assert_eq!(by_basic("basic:a%3Ab%26c+d", &twice).refusal(), invalid);
    let two_names = [grant, ("client_id", "post")];
    assert_eq!(by_basic("basic:a%3Ab%26c+d", &two_names).refusal(), invalid);
}

#[test]
fn the_client_is_the_subject_and_gets_no_refresh_token() {
    let (_provider, issuer, http) = start_with(issuer());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "web"),
        ("client_secret", "s3cret"),
        ("scope", "openid groups"),
    ];
    let tokens = http.post(&issuer.endpoint(Endpoint::Token), &form).json();
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["sub"], "web");
    assert!(tokens.get("refresh_token").is_none());
    let public = [("grant_type", "client_credentials"), ("client_id", "cli")];
    let answer = http.post(&issuer.endpoint(Endpoint::Token), &public);
    assert_eq!(answer.refusal(), (400, "unauthorized_client".to_owned()));
}
