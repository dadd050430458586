//! The password grant, and with it what every token answer holds.

use oidc_provider::{ClientConfig, Endpoint};

use crate::client::{claims, issuer, log_in, start, start_with};

#[test]
fn tokens_of_a_user() {
    let (_provider, issuer, http) = start();
    let tokens = log_in(&http, &issuer, "openid profile email groups");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 300);
    let id = claims(tokens["id_token"].as_str().unwrap());
    for (name, want) in [
        ("iss", issuer.url().into()),
        ("sub", "a-1".into()),
        ("aud", "cli".into()),
        ("azp", "cli".into()),
        ("preferred_username", "alice".into()),
        ("email", "alice@example.com".into()),
        ("email_verified", true.into()),
        ("groups", serde_json::json!(["developers", "testers"])),
    ] {
        assert_eq!(id[name], want, "{name}");
    }
    assert_eq!(id["exp"].as_i64().unwrap() - id["iat"].as_i64().unwrap(), 300);
    assert!(id["jti"].is_string());
    assert!(id["at_hash"].is_string());
    assert!(id.get("nbf").is_none());
}

#[test]
fn openid_is_needed_for_an_id_token() {
    let (_provider, issuer, http) = start();
    let tokens = log_in(&http, &issuer, "profile");
    assert!(tokens.get("id_token").is_none());
    assert!(tokens["access_token"].is_string());
}

#[test]
fn groups_change_with_the_next_token() {
    let (_provider, issuer, http) = start();
    issuer.add_group("alice", "system:masters").unwrap();
    let groups = || {
        let tokens = log_in(&http, &issuer, "openid groups");
        claims(tokens["id_token"].as_str().unwrap())["groups"].clone()
    };
    assert_eq!(groups(), serde_json::json!(["developers", "testers", "system:masters"]));
    issuer.remove_group("alice", "developers").unwrap();
    assert_eq!(groups(), serde_json::json!(["testers", "system:masters"]));
    assert!(issuer.add_group("nobody", "x").is_err());
}

#[test]
fn refusals() {
    let mut no_password = ClientConfig::public("browser");
    no_password.grant_types.retain(|grant| *grant != oidc_provider::GrantType::Password);
    let (_provider, issuer, http) = start_with(issuer().client(no_password));
    let good = [
        ("grant_type", "password"),
        ("client_id", "cli"),
        ("username", "alice"),
        ("password", "wonderland"),
    ];
    let token = issuer.endpoint(Endpoint::Token);
    assert_eq!(http.post(&token, &good).status, 200);
    for (name, value, want) in [
        ("password", "wrong", (400, "invalid_grant")),
        ("username", "nobody", (400, "invalid_grant")),
        ("password", "", (400, "invalid_request")),
        ("client_id", "nobody", (401, "invalid_client")),
        ("client_id", "web", (401, "invalid_client")),
        ("client_id", "", (400, "invalid_request")),
        ("client_id", "browser", (400, "unauthorized_client")),
        ("grant_type", "magic", (400, "unsupported_grant_type")),
        ("grant_type", "", (400, "invalid_request")),
    ] {
        let form = good.map(|(known, v)| if known == name { (name, value) } else { (known, v) });
        let answer = http.post(&token, &form);
        assert_eq!(answer.refusal(), (want.0, want.1.to_owned()), "{name}={value}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let odd = [good.as_slice(), &[("scope", "openid magic")]].concat();
    assert_eq!(http.post(&token, &odd).refusal(), (400, "invalid_scope".to_owned()));
    let twice = [good.as_slice(), &[("scope", "a"), ("scope", "b")]].concat();
    assert_eq!(http.post(&token, &twice).refusal(), (400, "invalid_request".to_owned()));
}
