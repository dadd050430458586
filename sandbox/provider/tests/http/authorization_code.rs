//! Authorization code with PKCE, as a browser and a command-line program go through it.

use oidc_provider::{ClientConfig, Endpoint, Issuer};
use serde_json::Value;
use url::Url;

use crate::client::{Answer, Http, claims, issuer, start, start_with};

const REDIRECT: &str = "http://127.0.0.1:41234/callback";
/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const REQUEST: [(&str, &str); 8] = [
    ("client_id", "cli"),
    ("response_type", "code"),
    ("redirect_uri", REDIRECT),
    ("scope", "openid profile"),
    ("state", "st&te"),
    ("nonce", "n-1"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

/// The request's URL with some parameters changed; an empty value leaves one out.
fn request(issuer: &Issuer, changes: &[(&str, &str)]) -> String {
    let mut url = Url::parse(&issuer.endpoint(Endpoint::Authorization)).unwrap();
    let known = REQUEST.iter().filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    for (name, value) in known.chain(changes).filter(|(_, value)| !value.is_empty()) {
        url.query_pairs_mut().append_pair(name, value);
    }
    url.into()
}

/// Where an answer sends the browser, as the parameters it brings along.
fn sent_back(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let url = Url::parse(answer.header("location").unwrap()).unwrap();
    assert!(url.as_str().starts_with(REDIRECT), "{url}");
    url.query_pairs().into_owned().collect()
}

fn parameter(answer: &Answer, name: &str) -> Option<String> {
    sent_back(answer).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn log_in_at(http: &Http, url: &str) -> Answer {
    http.post(url, &[("username", "alice"), ("password", "wonderland"), ("login", "1")])
}

fn redeem(http: &Http, issuer: &Issuer, code: &str, changes: &[(&str, &str)]) -> Answer {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "cli"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let known =
        form.into_iter().filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    let form: Vec<_> =
        known.chain(changes.iter().copied()).filter(|(_, value)| !value.is_empty()).collect();
    http.post(&issuer.endpoint(Endpoint::Token), &form)
}

#[test]
fn a_login_from_the_page_to_the_tokens() {
    let (_provider, issuer, http) = start();
    let url = request(&issuer, &[]);
    let page = http.get(&url);
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("name=\"password\""), "{}", page.text());

    let answer = log_in_at(&http, &url);
    assert_eq!(parameter(&answer, "state").as_deref(), Some("st&te"));
    assert_eq!(parameter(&answer, "iss").as_deref(), Some(issuer.url()));
    let code = parameter(&answer, "code").unwrap();

    let tokens: Value = redeem(&http, &issuer, &code, &[]).json();
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id["nonce"], "n-1");
    assert_eq!(id["preferred_username"], "alice");
    assert!(id["auth_time"].is_i64());
    assert!(id.get("groups").is_none(), "that scope was not asked for");

    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    let refreshed = http.post(&issuer.endpoint(Endpoint::Token), &form).json();
    let id = claims(refreshed["id_token"].as_str().unwrap());
    assert!(id.get("nonce").is_none(), "it belongs to the first ID token");
}

#[test]
fn the_login_page_asks_again_and_lets_one_cancel() {
    let (_provider, issuer, http) = start();
    let url = request(&issuer, &[]);
    let answer = http.post(&url, &[("username", "alice"), ("password", "wrong")]);
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("Wrong user name or password"));
    let answer = http.post(&url, &[("cancel", "1"), ("username", ""), ("password", "")]);
    assert_eq!(parameter(&answer, "error").as_deref(), Some("access_denied"));
    let by_email =
        http.post(&url, &[("username", "alice@example.com"), ("password", "wonderland")]);
    assert!(parameter(&by_email, "code").is_some());
}

#[test]
fn without_a_way_back_the_person_is_told() {
    let (_provider, issuer, http) = start();
    for (changes, want) in [
        ([("client_id", "")], "No client_id"),
        ([("client_id", "nobody")], "There is no client"),
        ([("redirect_uri", "")], "No redirect_uri"),
        ([("redirect_uri", "https://evil.example/callback")], "is not registered"),
        ([("redirect_uri", "http://127.0.0.1.evil.example/callback")], "is not registered"),
    ] {
        let answer = http.get(&request(&issuer, &changes));
        assert_eq!(answer.status, 400, "{changes:?}");
        assert!(answer.text().contains(want), "{changes:?}: {}", answer.text());
        assert!(answer.header("location").is_none(), "{changes:?}");
    }
    let twice = request(&issuer, &[]) + "&client_id=cli";
    assert!(http.get(&twice).text().contains("stands there twice"));
}

#[test]
fn bad_requests_go_back_to_the_client() {
    let mut strict = ClientConfig::public("strict");
    strict.require_pkce = true;
    let mut no_codes = ClientConfig::public("no-codes");
    no_codes.grant_types.clear();
    let (_provider, issuer, http) = start_with(issuer().client(strict).client(no_codes));
    for (changes, want) in [
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "")], "invalid_request"),
        (vec![("scope", "openid magic")], "invalid_scope"),
        (vec![("code_challenge", "short")], "invalid_request"),
        (vec![("code_challenge_method", "S1")], "invalid_request"),
        (vec![("max_age", "soon")], "invalid_request"),
        (vec![("prompt", "none")], "login_required"),
        (vec![("prompt", "none login")], "invalid_request"),
        (vec![("response_mode", "form_post")], "invalid_request"),
        (vec![("client_id", "no-codes")], "unauthorized_client"),
        (
            vec![("client_id", "strict"), ("code_challenge", ""), ("code_challenge_method", "")],
            "invalid_request",
        ),
        (vec![("client_id", "strict"), ("code_challenge_method", "plain")], "invalid_request"),
    ] {
        let answer = http.get(&request(&issuer, &changes));
        assert_eq!(parameter(&answer, "error").as_deref(), Some(want), "{changes:?}");
        assert_eq!(parameter(&answer, "state").as_deref(), Some("st&te"), "{changes:?}");
        assert!(parameter(&answer, "code").is_none());
    }
    assert_eq!(http.get(&request(&issuer, &[("client_id", "strict")])).status, 200);
}

#[test]
fn a_code_is_good_once_for_its_own_client_and_verifier() {
    let (_provider, issuer, http) = start();
    let code = || parameter(&log_in_at(&http, &request(&issuer, &[])), "code").unwrap();
    let invalid = (400, "invalid_grant".to_owned());
    for changes in [
        [("code_verifier", "another-verifier-another-verifier-another-1")],
        [("code_verifier", "")],
        [("redirect_uri", "http://127.0.0.1:1/callback")],
        [("redirect_uri", "")],
        [("code", "guess")],
    ] {
        assert_eq!(redeem(&http, &issuer, &code(), &changes).refusal(), invalid, "{changes:?}");
    }
    let others = [("client_id", "web"), ("client_secret", "s3cret")];
    let stolen = code();
    assert_eq!(redeem(&http, &issuer, &stolen, &others).refusal(), invalid);

    let used = code();
    let tokens = redeem(&http, &issuer, &used, &[]).json();
    assert_eq!(redeem(&http, &issuer, &used, &[]).refusal(), invalid);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    let refreshed = http.post(&issuer.endpoint(Endpoint::Token), &form);
    assert_eq!(refreshed.refusal(), invalid, "a replayed code revokes what it gave");

    let expired = code();
    issuer.set_clock_offset(61);
    assert_eq!(redeem(&http, &issuer, &expired, &[]).refusal(), invalid);
}

/// RFC 9700, 2.1.1: a verifier without a challenge is a sign that somebody took the challenge out.
#[test]
fn pkce_cannot_be_downgraded() {
    let (_provider, issuer, http) = start();
    let url = request(&issuer, &[("code_challenge", ""), ("code_challenge_method", "")]);
    let code = || parameter(&log_in_at(&http, &url), "code").unwrap();
    assert_eq!(redeem(&http, &issuer, &code(), &[]).refusal().1, "invalid_grant");
    assert_eq!(redeem(&http, &issuer, &code(), &[("code_verifier", "")]).status, 200);
}

#[test]
fn a_session_spares_the_second_login() {
    let (_provider, issuer, http) = start();
    let answer = log_in_at(&http, &request(&issuer, &[]));
    let cookie = answer.header("set-cookie").unwrap();
    for word in ["Path=/auth/realms/main", "HttpOnly", "Secure", "SameSite=Lax"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let cookie = ("Cookie", cookie.split(';').next().unwrap());
    let with_session = |changes: &[(&str, &str)]| http.get_with(&request(&issuer, changes), cookie);
    assert!(parameter(&with_session(&[]), "code").is_some());
    assert!(parameter(&with_session(&[("prompt", "none")]), "code").is_some());
    assert_eq!(with_session(&[("prompt", "login")]).status, 200, "the login page");
    issuer.set_clock_offset(100);
    assert_eq!(with_session(&[("max_age", "99")]).status, 200, "the login page");
    assert!(parameter(&with_session(&[("max_age", "1000")]), "code").is_some());
    let logged_out = http.get_with(&issuer.endpoint(Endpoint::EndSession), cookie);
    assert_eq!(logged_out.status, 200);
    assert_eq!(with_session(&[]).status, 200, "the login page");

    let answer = log_in_at(&http, &request(&issuer, &[]));
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap();
    let with_session = || http.get_with(&request(&issuer, &[]), ("Cookie", cookie)).status;
    assert_eq!(with_session(), 303);
    let hint = issuer.log_in("alice", "cli", "openid").unwrap().id_token.unwrap();
    http.get(&format!("{}?id_token_hint={hint}", issuer.endpoint(Endpoint::EndSession)));
    assert_eq!(with_session(), 200, "ended by the program, without the cookie");
}
