//! Refresh tokens: used, rotated, replayed, revoked, and who gets one at all.

use oidc_provider::{ClientConfig, Endpoint, Issuer, Preset, RefreshTokens};
use serde_json::Value;

use crate::client::{Answer, Http, claims, issuer, log_in, start_with};

fn refresh(http: &Http, issuer: &Issuer, client: &str, token: &Value, scope: &str) -> Answer {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", client),
        ("refresh_token", token.as_str().unwrap()),
        ("scope", scope),
    ];
    http.post(&issuer.endpoint(Endpoint::Token), &form)
}

fn invalid() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

#[test]
fn a_refresh_token_gives_new_tokens_of_the_same_login() {
    let (_provider, issuer, http) = start_with(issuer());
    let first = log_in(&http, &issuer, "openid groups");
    issuer.add_group("alice", "late").unwrap();
    issuer.set_clock_offset(100);
    let answer = refresh(&http, &issuer, "cli", &first["refresh_token"], "").json();
    assert!(answer.get("refresh_token").is_none(), "without rotation the old one stays");
    let (old, new) =
        (claims(first["id_token"].as_str().unwrap()), claims(answer["id_token"].as_str().unwrap()));
    assert_eq!(new["sub"], old["sub"]);
    assert_eq!(new["auth_time"], old["auth_time"]);
    assert!(new["iat"].as_i64() >= old["iat"].as_i64().map(|iat| iat + 100));
    assert_eq!(new["groups"][2], "late");

    let fewer = refresh(&http, &issuer, "cli", &first["refresh_token"], "openid").json();
    assert!(claims(fewer["id_token"].as_str().unwrap()).get("groups").is_none());
    let more = refresh(&http, &issuer, "cli", &first["refresh_token"], "openid email");
    assert_eq!(more.refusal(), (400, "invalid_scope".to_owned()));
    let all = refresh(&http, &issuer, "cli", &first["refresh_token"], "").json();
    assert!(claims(all["id_token"].as_str().unwrap()).get("groups").is_some());
}

#[test]
fn tests_get_tokens_without_a_login() {
    let (_provider, issuer, http) = start_with(issuer());
    let tokens = issuer.log_in("alice", "cli", "openid groups").unwrap();
    assert_eq!(claims(&tokens.id_token.unwrap())["sub"], "a-1");
    let token = Value::from(tokens.refresh_token.unwrap());
    assert_eq!(refresh(&http, &issuer, "cli", &token, "").status, 200);
    assert!(issuer.log_in("nobody", "cli", "openid").is_err());
    let mut with_groups = ClientConfig::public("with-groups");
    with_groups.default_scopes = vec!["groups".to_owned()];
    issuer.put_client(with_groups);
    let tokens = issuer.log_in("alice", "with-groups", "openid").unwrap();
    assert!(claims(&tokens.id_token.unwrap())["groups"].is_array());
    assert!(issuer.log_in("alice", "no-client", "openid").unwrap().refresh_token.is_none());
}

#[test]
fn refresh_tokens_end() {
    let (_provider, issuer, http) = start_with(issuer().client(ClientConfig::public("other")));
    let token = || log_in(&http, &issuer, "openid")["refresh_token"].clone();
    let stolen = token();
    assert_eq!(refresh(&http, &issuer, "other", &stolen, "").refusal(), invalid());
    assert_eq!(refresh(&http, &issuer, "cli", &"guess".into(), "").refusal(), invalid());
    let ended = token();
    issuer.end_logins("alice");
    assert_eq!(refresh(&http, &issuer, "cli", &ended, "").refusal(), invalid());
    let expired = token();
    issuer.set_clock_offset(1800);
    assert_eq!(refresh(&http, &issuer, "cli", &expired, "").refusal(), invalid());
    let of_nobody = token();
    issuer.remove_user("alice");
    assert_eq!(refresh(&http, &issuer, "cli", &of_nobody, "").refusal(), invalid());
}

#[test]
fn rotation_and_reuse() {
    let mut config = issuer();
    config.clients[0].rotate_refresh_tokens = true;
    let (_provider, issuer, http) = start_with(config);
    let first = log_in(&http, &issuer, "openid groups")["refresh_token"].clone();
    // Fewer scopes once do not narrow the login.
    let second = refresh(&http, &issuer, "cli", &first, "openid").json()["refresh_token"].clone();
    assert_ne!(first, second);
    let third = refresh(&http, &issuer, "cli", &second, "openid groups");
    assert_eq!(third.status, 200, "{}", third.text());
    let third = third.json()["refresh_token"].clone();
    assert_eq!(refresh(&http, &issuer, "cli", &first, "").refusal(), invalid(), "replaced");
    assert_eq!(refresh(&http, &issuer, "cli", &third, "").refusal(), invalid(), "login ended");
}

#[test]
fn offline_access_is_a_scope() {
    let mut config = issuer();
    config.clients[0].refresh_tokens = RefreshTokens::OfflineAccessScope;
    let (_provider, issuer, http) = start_with(config);
    assert!(log_in(&http, &issuer, "openid").get("refresh_token").is_none());
    let tokens = log_in(&http, &issuer, "openid offline_access");
    assert_eq!(refresh(&http, &issuer, "cli", &tokens["refresh_token"], "").status, 200);
}

/// Google gives a refresh token for `access_type=offline` only, and knows no scope for it.
#[test]
fn google_wants_access_type_offline() {
    let (_provider, issuer, http) = start_with(Preset::Google.issuer());
    let client = [("client_id", "kubernetes.apps.example"), ("client_secret", "google-secret")];
    let tokens = |extra: &str| {
        let redirect = "http://127.0.0.1:1/";
        let url = format!(
            "{}?client_id={}&response_type=code&redirect_uri={redirect}&scope=openid+email{extra}",
            issuer.endpoint(Endpoint::Authorization),
            client[0].1,
        );
        let form = [("username", "jane@example.com"), ("password", "jane-password")];
        let answer = http.post(&url, &form);
        let back = url::Url::parse(answer.header("location").unwrap()).unwrap();
        let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect),
            client[0],
            client[1],
        ];
        http.post(&issuer.endpoint(Endpoint::Token), &form).json()
    };
    let online = tokens("");
    assert!(online.get("refresh_token").is_none());
    assert!(!online["access_token"].as_str().unwrap().contains('.'), "opaque");
    let id = claims(online["id_token"].as_str().unwrap());
    assert_eq!(id["hd"], "example.com");
    assert_eq!(id["email_verified"], true);
    for absent in ["groups", "preferred_username", "name"] {
        assert!(id.get(absent).is_none(), "{absent}");
    }
    assert!(claims(&issuer.token("jane", "x").mint()).get("groups").is_none());
    assert!(tokens("&access_type=offline")["refresh_token"].is_string());
    let unknown = [
        ("grant_type", "password"),
        ("username", "jane"),
        ("password", "jane-password"),
        ("scope", "openid offline_access"),
        client[0],
        client[1],
    ];
    let answer = http.post(&issuer.endpoint(Endpoint::Token), &unknown);
    assert_eq!(answer.refusal(), (400, "invalid_scope".to_owned()));
}
