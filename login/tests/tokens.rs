//! What an issuer may give that must not be handed on.

mod common;

use base64::Engine as _;
use common::{World, any_port};
use oidc_provider::{
    Algorithm, Answer, Endpoint, IssuerConfig, Misbehaviour, PublicKeyForm, SignWith, TokenBuilder,
};
use serde_json::json;

/// Makes the token endpoint answer with this ID token, whose nonce is the one asked for.
fn answer_with(world: &World, token: impl Fn(TokenBuilder) -> TokenBuilder) -> common::Outcome {
    let mut running = world.get_token().args(["--token-store=none", "-v"]).spawn();
    let url = running.login_url();
    let (_, start) = common::http::get(&url);
    let sent = common::query(common::http::header(&start, "Location").unwrap());
    let cookie = common::http::header(&start, "Set-Cookie").unwrap();
    let builder = world.issuer.token("alice", "kube").claim("nonce", sent["nonce"].clone());
    let token = token(builder).mint();
    let body = json!({"access_token": "a", "token_type": "Bearer", "id_token": token});
    let answer = Answer::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.to_string(),
    };
    world.issuer.misbehave(Endpoint::Token, Misbehaviour::answer(answer)).unwrap();
    let page = world.sign_in_with(cookie, &url);
    world.issuer.behave();
    let outcome = running.finish();
    assert_eq!(page.status == 200, outcome.code == Some(0), "{}\n{}", page.text, outcome.stderr);
    assert!(!outcome.stderr.contains(&token), "a token is never shown: {}", outcome.stderr);
    outcome
}

#[test]
fn all_algorithms_are_verified() {
    for algorithm in Algorithm::ALL {
        let world = World::with(|issuer: &mut IssuerConfig| issuer.algorithms = vec![algorithm]);
        world.log_in(world.get_token()).credential();
    }
}

type Change = Box<dyn Fn(TokenBuilder) -> TokenBuilder>;

#[test]
fn a_token_that_the_cluster_would_refuse_is_not_handed_on() {
    let world = World::new();
    let cases: Vec<(&str, Change)> = vec![
        ("which no cluster accepts", Box::new(|token| token.sign(SignWith::None))),
        (
            "which no cluster accepts",
            Box::new(|token| token.sign(SignWith::PublicKeyAsSecret(PublicKeyForm::Pem))),
        ),
        (
            "is by none of the issuer's 1 keys",
            Box::new(|token| token.sign(SignWith::Stranger(Algorithm::Rs256))),
        ),
        ("is by none of the issuer's 1 keys", Box::new(|token| token.signature(vec![0; 256]))),
        ("not one of a signed token", Box::new(|token| token.header("crit", json!(["x"])))),
        ("is issued by \"https://other\"", Box::new(|token| token.claim("iss", "https://other"))),
        (
            "is meant for [\"other\"], not for \"kube\"",
            Box::new(|token| token.claim("aud", "other")),
        ),
        ("is meant for nobody", Box::new(|token| token.without("aud"))),
        ("the token expired at", Box::new(|token| token.expires_in(-1))),
        ("the token is not valid before", Box::new(|token| token.claim("nbf", 4_000_000_000_i64))),
        ("no expiry", Box::new(|token| token.without("exp"))),
    ];
    for (want, change) in cases {
        answer_with(&world, change).fails_with(want);
    }
    answer_with(&world, |token| token.claim("aud", json!(["other", "kube"]))).credential();
}

/// Not "expired": the person is told to look at the clock.
#[test]
fn a_wrong_clock_is_told_apart() {
    for (offset, want) in [
        (-3600, "this machine's clock is 60 min ahead of the issuer's, so the token seems expired"),
        (
            3600,
            "this machine's clock is 59 min behind the issuer's, so the token seems not yet valid",
        ),
    ] {
        let world = World::with(|issuer| {
            issuer.token_lifetime_seconds = 300;
            issuer.nbf = true;
        });
        world.issuer.set_clock_offset(offset);
        for endpoint in [Endpoint::Token, Endpoint::Jwks] {
            let date = chrono::Utc::now() + chrono::TimeDelta::seconds(offset);
            let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            world.issuer.misbehave(endpoint, Misbehaviour::header("Date", date)).unwrap();
        }
        let mut running = world.get_token().spawn();
        world.sign_in(&running.login_url());
        let outcome = running.finish();
        let plain = outcome.stderr.replace("59 min", "60 min");
        assert!(plain.contains(&want.replace("59 min", "60 min")), "{}", outcome.stderr);
    }
}

/// A clock that is slow makes a token seem good for longer than it is: how slow it was is kept with the token. By the `Date` of
/// the answer, else by when the token says it was made.
#[test]
fn a_slow_clock_does_not_hand_an_expired_token_on() {
    for by_date in [true, false] {
        let world = World::with(|issuer| issuer.token_lifetime_seconds = 60);
        // The issuer is 45 s ahead; the token has 60 s by its clock, and 105 by ours.
        let ahead = chrono::TimeDelta::seconds(45);
        world.issuer.set_clock_offset(45);
        let date = chrono::Utc::now() + ahead;
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let date = if by_date { date } else { "none".to_owned() };
        for endpoint in [Endpoint::Discovery, Endpoint::Token, Endpoint::Jwks] {
            world.issuer.misbehave(endpoint, Misbehaviour::header("Date", date.clone())).unwrap();
        }
        let credential = world.log_in(world.get_token()).credential();
        let told = chrono::DateTime::parse_from_rfc3339(&credential.expiry).unwrap().timestamp();
        let early = credential.claims()["exp"].as_i64().unwrap() - told;
        assert!((35..=46).contains(&early), "kubectl is told by its own clock: {early}");
        // The case 52 s later: by our clock alone the token has 53 s left, in truth it has 8, less than the margin.
        let file = common::only_file(&world.path(".local/share/kubectl-oidc/tokens"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("ahead_seconds"), "{text}");
        let later = |text: &str| {
            let mut record: serde_json::Value = serde_json::from_str(text).unwrap();
            record["ahead_seconds"] = (45 + 52).into();
            record.to_string()
        };
        std::fs::write(&file, later(&text)).unwrap();
        assert_ne!(world.get_token().run().credential().token, credential.token);
    }
}

#[test]
fn answers_that_are_none() {
    let world = World::new();
    let with = |endpoint, answer: Answer| {
        world.issuer.misbehave(endpoint, Misbehaviour::answer(answer)).unwrap();
        let mut running = world.get_token().args(["--token-store=none"]).spawn();
        if endpoint != Endpoint::Discovery {
            let url = running.login_url();
            let _ = world.provider.browser().sign_in(&url, "alice", "secret");
        }
        let outcome = running.finish();
        world.issuer.behave();
        outcome
    };
    let json = |body: &str| Answer::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.to_owned(),
    };
    for (endpoint, answer, want) in [
        (Endpoint::Discovery, Answer::Status(404), "answered 404"),
        (Endpoint::Discovery, Answer::Html, "answered something else than expected"),
        (
            Endpoint::Discovery,
            Answer::WrongIssuer("https://other".to_owned()),
            "calls itself https://other",
        ),
        (Endpoint::Discovery, Answer::HugeMib(2), "more than 1048576 bytes"),
        (
            Endpoint::Discovery,
            Answer::Redirect("http://127.0.0.1:1/".to_owned()),
            "a redirect to an address that is not an https URL",
        ),
        (Endpoint::Jwks, Answer::Status(500), "answered 500"),
        (Endpoint::Jwks, Answer::NoKeys, "is by none of the issuer's 0 keys"),
        (Endpoint::Jwks, Answer::Html, "key set cannot be used"),
        (Endpoint::Token, Answer::Status(502), "answered 502"),
        (Endpoint::Token, Answer::Html, "answered something else than expected"),
        (Endpoint::Token, Answer::Redirect("https://127.0.0.1:1/".to_owned()), "answered 302"),
        (Endpoint::Token, json(r#"{"access_token":"a","token_type":"Bearer"}"#), "no ID token"),
    ] {
        with(endpoint, answer).fails_with(want);
    }
}

#[test]
fn an_unknown_certificate_authority_is_named() {
    let world = World::new();
    let get = |more: &[&str]| {
        let issuer = format!("--oidc-issuer-url={}", world.issuer.url());
        let any_port = any_port();
        world
            .plugin()
            .arg("get-token")
            .arg(issuer)
            .arg("--oidc-client-id=kube")
            .args(any_port)
            .args(more)
    };
    get(&[]).run().fails_with("no certificate authority known here signed it");
    world.log_in(get(&["--insecure-skip-tls-verify"])).credential();
    let data = base64::engine::general_purpose::STANDARD.encode(world.provider.ca_pem());
    let data = format!("--certificate-authority-data={data}");
    world.log_in(get(&["--token-store=none", &data])).credential();
}
