//! Bad answers, as a client gets them.

use std::time::{Duration, Instant};

use oidc_provider::{Answer, Endpoint, Misbehaviour};
use serde_json::json;

use crate::client::{log_in, start};

const DISCOVERY: Endpoint = Endpoint::Discovery;
const JWKS: Endpoint = Endpoint::Jwks;

#[test]
fn bad_documents() {
    let (_provider, issuer, http) = start();
    let spoilt = |endpoint, answer| {
        issuer.misbehave(endpoint, Misbehaviour::answer(answer)).unwrap();
        http.get(&issuer.endpoint(endpoint))
    };
    assert_eq!(spoilt(JWKS, Answer::Status(500)).status, 500);
    let html = spoilt(JWKS, Answer::Html);
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html")));
    let redirect = spoilt(DISCOVERY, Answer::Redirect("https://evil.example/".to_owned()));
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (302, Some("https://evil.example/"))
    );
    let wrong = spoilt(DISCOVERY, Answer::WrongIssuer("https://evil.example".to_owned()));
    assert_eq!(wrong.json()["issuer"], "https://evil.example");
    assert_eq!(wrong.json()["jwks_uri"], issuer.endpoint(JWKS));
    assert_eq!(spoilt(JWKS, Answer::NoKeys).json(), json!({"keys": []}));
    let odd = spoilt(JWKS, Answer::OddKeys(vec![json!({"kty": "XYZ"}), json!(7)])).json();
    assert_eq!(odd["keys"][0], json!({"kty": "XYZ"}));
    assert_eq!(odd["keys"].as_array().unwrap().len(), 4);
    assert_eq!(odd["keys"][3], 7);
    let body = Answer::Body {
        status: 400,
        content_type: "application/json".to_owned(),
        body: "{".to_owned(),
    };
    let own = spoilt(JWKS, body);
    assert_eq!((own.status, own.text().as_str()), (400, "{"));
    assert_eq!(issuer.requests(JWKS), 5, "bad answers count");

    issuer.behave();
    assert_eq!(http.get(&issuer.endpoint(JWKS)).json(), issuer.jwks());
    assert_eq!(http.get(&issuer.endpoint(DISCOVERY)).json()["issuer"], issuer.url());
}

#[test]
fn answers_that_never_end_well() {
    let (_provider, issuer, http) = start();
    let url = issuer.endpoint(JWKS);
    let whole = http.get(&url).body.len();
    issuer.misbehave(JWKS, Misbehaviour::answer(Answer::Truncated)).unwrap();
    assert!(http.try_get(&url).is_err(), "half of {whole} bytes");
    issuer.misbehave(JWKS, Misbehaviour::answer(Answer::Close)).unwrap();
    assert!(http.try_get(&url).is_err());
    issuer.behave_at(JWKS);
    assert_eq!(http.get(&url).body.len(), whole);
}

#[test]
fn a_huge_answer_is_streamed() {
    let (_provider, issuer, http) = start();
    issuer.misbehave(JWKS, Misbehaviour::answer(Answer::HugeMib(8))).unwrap();
    let answer = http.get(&issuer.endpoint(JWKS));
    assert!(answer.header("content-length").is_none());
    let keys = issuer.jwks().to_string();
    assert_eq!(answer.body.len(), (8 << 20) + keys.len());
    assert_eq!(answer.json(), issuer.jwks());
}

#[test]
fn late_answers() {
    let (provider, issuer, http) = start();
    let delay = Duration::from_millis(300);
    issuer.misbehave(JWKS, Misbehaviour::delay(delay)).unwrap();
    let start = Instant::now();
    assert_eq!(http.get(&issuer.endpoint(JWKS)).json(), issuer.jwks());
    assert!(start.elapsed() >= delay);

    issuer.misbehave(JWKS, Misbehaviour::answer(Answer::Hang)).unwrap();
    let url = issuer.endpoint(JWKS);
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| http.try_get(&url));
        assert!(issuer.wait_for_requests(JWKS, 2, Duration::from_secs(10)));
        assert!(http.try_get(&issuer.endpoint(DISCOVERY)).is_ok(), "others are served");
        assert!(!hanging.is_finished());
        let cut = Instant::now();
        provider.go_down().unwrap();
        assert!(hanging.join().unwrap().is_err());
        assert!(cut.elapsed() < Duration::from_secs(10), "cut, not given up by the client");
    });
}

#[test]
fn flapping_and_a_number_of_times() {
    let (_provider, issuer, http) = start();
    let url = issuer.endpoint(JWKS);
    let statuses = || [(); 4].map(|()| http.get(&url).status);
    let bad = || Misbehaviour::answer(Answer::Status(503));
    issuer.misbehave(JWKS, bad().every(2)).unwrap();
    assert_eq!(statuses(), [200, 503, 200, 503]);
    issuer.misbehave(JWKS, bad().times(3)).unwrap();
    assert_eq!(statuses(), [503, 503, 503, 200]);
    assert!(issuer.misbehave(JWKS, bad().every(0)).is_err());
    issuer.reset_requests();
    assert_eq!(issuer.requests(JWKS), 0);
}

#[test]
fn cache_headers() {
    let (_provider, issuer, http) = start();
    let url = issuer.endpoint(JWKS);
    assert!(http.get(&url).header("cache-control").is_none());
    issuer.set_cache_control(Some("public, max-age=60"));
    assert_eq!(http.get(&url).header("cache-control"), Some("public, max-age=60"));
    let expires = "Thu, 01 Jan 1970 00:00:00 GMT";
    let mut misbehaviour = Misbehaviour::header("Expires", expires);
    misbehaviour.headers.push(("Cache-Control".to_owned(), "max-age=-1".to_owned()));
    issuer.misbehave(JWKS, misbehaviour).unwrap();
    let answer = http.get(&url);
    assert_eq!(answer.header("expires"), Some(expires));
    assert_eq!(answer.header("cache-control"), Some("max-age=-1"));
}

#[test]
fn the_token_endpoint_misbehaves_too() {
    let (_provider, issuer, http) = start();
    let url = issuer.endpoint(Endpoint::Token);
    issuer.misbehave(Endpoint::Token, Misbehaviour::answer(Answer::Status(502)).times(1)).unwrap();
    assert_eq!(http.post(&url, &[("grant_type", "password")]).status, 502);
    assert!(log_in(&http, &issuer, "openid")["id_token"].is_string());
    assert_eq!(issuer.requests(Endpoint::Token), 2);
}

#[test]
fn settings_of_tokens_change_at_once() {
    let (_provider, issuer, _) = start();
    let token = || crate::client::claims(&issuer.token("alice", "cli").mint());
    assert!(token()["jti"].is_string());
    issuer.set_jti(false);
    issuer.set_token_lifetime(Duration::from_secs(7));
    let claims = token();
    assert!(claims.get("jti").is_none());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 7);
}
