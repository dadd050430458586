use std::{cell::RefCell, collections::HashMap};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gateway_core::{
    keys::CasConflict,
    portal_keys::KeyError,
    portal_token::{self, TokenError},
};
use kube_authn::{Identity, crypto::SoftwareVerifier};
use serde_json::{Value, json};

use super::{
    settings::{Identify, Settings, Template, TrustedPeers},
    *,
};
// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const NOW: Duration = Duration::from_secs(1_512_979_214);
/// The token in kubehook's documentation, made by kubehook with the secret `secret`.
const KUBEHOOKS: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJnaXRodWIuY29tL25lZ3ova3ViZWhvb2siLCJleHAiOjE1MTMwNjU2MTQsIm5iZiI6MTUxMjk3OTIxNCwic3ViIjoiY29vbHVzZXIifQ.ylxC6wFglLBI0_0e0LQftwuqI95mb0L5Wjnp5aCmPHU";
const AUDIENCE: &str = "github.com/negz/kubehook";

/// What the workers share, in memory.
#[derive(Default)]
struct Memory(RefCell<HashMap<String, (Vec<u8>, u32)>>);

impl SharedStore for Memory {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().get(key).cloned()
    }

    fn write(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasConflict> {
        let mut values = self.0.borrow_mut();
        let current = values.get(key).map_or(0, |(_, number)| *number);
        if cas.is_some_and(|cas| cas != current) {
            return Err(CasConflict);
        }
        values.insert(key.to_owned(), (value.to_vec(), current + 1));
        Ok(())
    }
}

fn settings() -> Settings {
    Settings {
        audience: AUDIENCE.into(),
        user_header: "x-forwarded-user".into(),
        group_header: "x-forwarded-groups".into(),
        group_header_delimiter: ";".into(),
        max_lifetime_seconds: 604_800,
        tokens_per_second: 5,
        trust: TrustedPeers { anybody: true, ..TrustedPeers::default() },
        issuer: None,
        template: Some(Template {
            clusters: vec![(
                "a: b".into(),
                json!({"server": "https://a", "insecure-skip-tls-verify": true}),
            )],
            current_context: "a: b".into(),
        }),
        plugin: None,
        identify: None,
        origins: vec![],
        hosts: None,
        allow_reserved_users: vec![],
        allow_reserved_groups: vec![],
    }
}

fn hs256(id: &str, secret: &str) -> Value {
    // kubehook's documentation has a secret of six bytes.
    json!({"algorithm": "HS256", "id": id, "secret": BASE64.encode(secret), "insecureShort": true})
}

fn es256(id: &str, byte: u8) -> Value {
    json!({"algorithm": "ES256", "id": id, "scalar": BASE64.encode([byte; 32])})
}

fn ring(keys: &[Value]) -> KeyRing {
    KeyRing::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn portal(settings: Settings, keys: &[Value]) -> Portal {
    Portal::new(settings, ring(keys)).unwrap()
}

fn kubehook() -> Portal {
    portal(settings(), &[hs256("secret", "secret")])
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut pairs = vec![
        (":method".to_owned(), method.into()),
        (":path".to_owned(), path.into()),
        (":authority".to_owned(), "portal.example".into()),
    ];
    pairs.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
    Request::new(pairs, Peer { address: "192.0.2.1".into(), client_certificate: false })
}

fn ask(portal: &Portal, request: &Request, body: &[u8], identified: Option<&Identified>) -> Step {
    let memory = Memory::default();
    let now = DecisionContext {
        portal: "portal",
        time: NOW,
        random: [7; 16],
        secret: [3; 16],
        shared: &memory,
        verifier: &SoftwareVerifier,
    };
    match portal.decide(request, None, identified, &now) {
        Step::Body => portal.decide(request, Some(body), identified, &now),
        step => step,
    }
}

fn answer(portal: &Portal, request: &Request, body: &str) -> (u16, String) {
    match ask(portal, request, body.as_bytes(), None) {
        Step::Respond(answer) => (answer.status, String::from_utf8(answer.body).unwrap()),
        step => panic!("{step:?}"),
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const USER: (&str, &str) = ("x-forwarded-user", "cooluser");

fn generate(portal: &Portal, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let (status, body) = answer(portal, &request("POST", "/generate", headers), body);
    (status, serde_json::from_str(&body).unwrap())
}

fn made(portal: &Portal, headers: &[(&str, &str)], lifetime: &str) -> String {
    let body = json!({ "lifetime": lifetime }).to_string();
    let (status, body) = generate(portal, &[&[JSON][..], headers].concat(), &body);
    assert_eq!(status, 200, "{body}");
    body["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

fn verified(portal: &Portal, token: &str, now: Duration) -> Result<Identity, TokenError> {
    let (audience, issuer) = (&portal.settings.audience, portal.settings.issuer.as_deref());
    portal_token::verify(token, audience, issuer, &portal.keys, &SoftwareVerifier, now)
        .map(|verified| verified.identity)
}

/// Whoever has one token finds a short secret by trying, and is whoever he likes.
#[test]
fn break_in_11_a_short_secret_is_refused_unless_it_is_asked_for() {
    let parse = |length: usize, more: Option<bool>| {
        let mut key =
            json!({"algorithm": "HS256", "id": "k", "secret": BASE64.encode(vec![b's'; length])});
        if let Some(insecure) = more {
            key["insecureShort"] = insecure.into();
        }
        KeyRing::parse(json!({ "keys": [key] }).to_string().as_bytes())
    };
    for length in [1, 6, 31] {
        for more in [None, Some(false)] {
            let error = parse(length, more).unwrap_err();
            assert_eq!(error, KeyError::Short("k".into(), length));
            let text = error.to_string();
            for part in [&format!("{length} bytes"), "openssl rand", "--insecure-short-secret"] {
                assert!(text.contains(part), "{text}");
            }
        }
        assert!(parse(length, Some(true)).is_ok());
    }
    assert!(parse(32, None).is_ok());
    assert_eq!(parse(0, Some(true)).unwrap_err(), KeyError::Empty("k".into()));
}

/// DNS rebinding: an attacker's page under a name that now points here is one of ours to the browser.
#[test]
fn break_in_11_without_tls_only_known_names_are_answered() {
    let named = Settings { hosts: Some(vec!["portal.example".into()]), ..settings() };
    let named = portal(named, &[hs256("secret", "secret")]);
    let status = |portal: &Portal, method: &str, path: &str, host: &str| {
        let mut request = request(method, path, &[JSON, USER]);
        request.authority = host.as_bytes().to_vec();
        answer(portal, &request, r#"{"lifetime": "1h"}"#).0
    };
    for (host, want) in [
        ("portal.example", 200),
        ("PORTAL.example:8080", 200),
        ("portal.example.", 200),
        ("localhost:10003", 200),
        ("127.0.0.1:10003", 200),
        ("10.1.2.3", 200), // a probe's, and no page's but our own
        ("[2001:db8::1]:10003", 200),
        ("evil.example", 421),
        ("evil.example:10003", 421),
        ("portal.example.evil.example", 421),
        ("10.1.2.3.evil.example", 421),
        ("localhost.evil.example", 421),
        ("portal.example:evil", 421),
        ("", 421),
    ] {
        assert_eq!(status(&named, "POST", "/generate", host), want, "{host}");
        assert_eq!(status(&named, "GET", "/healthz", host), 200, "a probe: {host}");
        assert_eq!(status(&kubehook(), "POST", "/generate", host), 200, "with TLS: {host}");
    }
    for path in ["/", "/whoami", "/kubecfg?lifetime=1h"] {
        assert_eq!(status(&named, "GET", path, "evil.example"), 421, "{path}");
        assert_eq!(status(&named, "GET", path, "portal.example"), 200, "{path}");
    }
    let mut request = request("GET", "/", &[]);
    request.authority = b"evil.example".to_vec();
    assert!(answer(&named, &request, "").1.contains("--allowed-host"), "the way out");
}

#[test]
fn a_token_of_kubehooks_is_ours() {
    let identity = verified(&kubehook(), KUBEHOOKS, NOW).unwrap();
    assert_eq!(identity.username, "cooluser");
    assert_eq!(identity.uid, "github.com/negz/kubehook/cooluser");
    assert!(identity.groups.is_empty());
}

/// The answer in kubehook's documentation, byte for byte.
#[test]
fn a_review_is_answered_as_documented() {
    let review = |version: &str| {
        let review =
            json!({"apiVersion": version, "kind": "TokenReview", "spec": {"token": KUBEHOOKS}});
        answer(&kubehook(), &request("POST", "/authenticate", &[JSON]), &review.to_string())
    };
    for version in ["authentication.k8s.io/v1beta1", "authentication.k8s.io/v1"] {
        let want = format!(
            "{{\"kind\":\"TokenReview\",\"apiVersion\":\"{version}\",\"metadata\":{{\"creationTimestamp\":\"2017-12-11T08:00:14Z\"}},\
             \"spec\":{{}},\"status\":{{\"authenticated\":true,\"user\":{{\"username\":\"cooluser\",\"uid\":\"github.com/negz/kubehook/cooluser\"}}}}}}\n"
        );
        assert_eq!(review(version), (200, want));
    }
}

#[test]
fn reviews_that_are_refused() {
    let good = |token: &str| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let tampered = KUBEHOOKS.replace(".ylx", ".zlx");
    let foreign = made(&portal(settings(), &[hs256("other", "other")]), &[USER], "1h");
    let masters = made(
        &portal(
            Settings { allow_reserved_groups: vec!["system:masters".into()], ..settings() },
            &[hs256("secret", "secret")],
        ),
        &[USER, ("x-forwarded-groups", "system:masters")],
        "1h",
    );
    for (body, status, want) in [
        (json!({"apiVersion": "v2", "kind": "TokenReview"}), 400, "unsupported API version v2"),
        (json!({"apiVersion": "authentication.k8s.io/v1", "kind": "X"}), 400, "unsupported Kind X"),
        (good(""), 400, "missing token"),
        (json!([1]), 400, "cannot parse token request"),
        (good("a.b"), 403, "malformed"),
        (good(&tampered), 403, "signature is invalid"),
        (good(&foreign), 403, "signature is invalid"),
        (good(&masters), 403, "reserved-group"),
    ] {
        let found =
            answer(&kubehook(), &request("POST", "/authenticate", &[JSON]), &body.to_string());
        assert_eq!(found.0, status, "{body}");
        let found: Value = serde_json::from_str(&found.1).unwrap();
        assert!(found["status"]["error"].as_str().unwrap().contains(want), "{found}");
        assert_eq!(found["status"]["authenticated"], Value::Null);
    }
}

#[test]
fn audiences_are_named_only_if_they_are_the_tokens() {
    let review = |audiences: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": KUBEHOOKS, "audiences": audiences}});
        let found =
            answer(&kubehook(), &request("POST", "/authenticate", &[JSON]), &review.to_string());
        serde_json::from_str::<Value>(&found.1).unwrap()["status"]["audiences"].clone()
    };
    assert_eq!(review(json!(["x", AUDIENCE])), json!([AUDIENCE]));
    assert_eq!(review(json!(["x"])), Value::Null);
}

#[test]
fn a_token_has_kubehooks_claims() {
    let token = made(&kubehook(), &[USER, ("x-forwarded-groups", "dev;;ops")], "24h");
    let claims = claims(&token);
    let want = json!({"aud": AUDIENCE, "exp": 1_513_065_614, "nbf": 1_512_979_214, "iat": 1_512_979_214,
        "sub": "cooluser", "grp": ["dev", "ops"], "jti": BASE64.encode([7; 16])});
    assert_eq!(claims, want);
    assert!(token.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."), "kubehook's header");
}

#[test]
fn when_a_token_is_good() {
    let portal = kubehook();
    let token = made(&portal, &[USER], "10s");
    let at = |seconds: u64| verified(&portal, &token, Duration::from_secs(seconds)).err();
    assert_eq!(at(1_512_979_213), Some(TokenError::NotYet));
    assert_eq!(at(1_512_979_224), None);
    assert_eq!(at(1_512_979_225), Some(TokenError::Expired));
}

/// Key and algorithm confusion: whatever the header says, only the key's own algorithm is tried.
#[test]
fn tokens_that_nobody_here_made() {
    let own = Settings { issuer: Some("https://portal.example".into()), ..settings() };
    let portal = portal(own, &[es256("k1", 1), hs256("secret", "secret")]);
    let body = json!({"aud": AUDIENCE, "sub": "x", "exp": 9_999_999_999_u64, "iss": "https://portal.example"});
    let part = |value: &Value| BASE64.encode(value.to_string());
    let jwks = portal.keys.jwks().to_string();
    let with_public_key = ring(&[hs256("k1", &jwks)]).sign(&body).unwrap().1;
    let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&body));
    let no_exp =
        ring(&[hs256("x", "secret")]).sign(&json!({"aud": AUDIENCE, "sub": "x"})).unwrap().1;
    let elsewhere = ring(&[hs256("x", "secret")])
        .sign(&json!({"aud": "elsewhere", "sub": "x", "exp": 9_999_999_999_u64}))
        .unwrap()
        .1;
    let other_key = ring(&[es256("k1", 2)]).sign(&body).unwrap().1;
    let other_issuer = ring(&[es256("k1", 1)])
        .sign(&json!({"aud": AUDIENCE, "sub": "x", "exp": 9_999_999_999_u64, "iss": "https://x"}))
        .unwrap()
        .1;
    for (token, want) in [
        (none, "signing method"),
        (with_public_key, "signature is invalid"),
        (other_key, "signature is invalid"),
        (other_issuer, "signing method"),
        (no_exp, "expired"),
        (
            elsewhere,
            "invalid JWT audience elsewhere - audience github.com/negz/kubehook is required",
        ),
        ("a.b.c.d".to_owned(), "malformed"),
        ("x".repeat(100_000), "malformed"),
    ] {
        let error = verified(&portal, &token, NOW).unwrap_err().to_string();
        assert!(error.contains(want), "{error} / {want}");
    }
}

#[test]
fn a_key_is_rotated_without_losing_a_token() {
    let own = Settings { issuer: Some("https://portal.example".into()), ..settings() };
    for keys in [[es256("old", 1), es256("new", 2)], [hs256("old", "old"), hs256("new", "new")]] {
        let own = if keys[0]["algorithm"] == "ES256" { own.clone() } else { settings() };
        let before = portal(own.clone(), &keys[..1]);
        let during = portal(own.clone(), &[keys[1].clone(), keys[0].clone()]);
        let after = portal(own, &keys[1..]);
        let old = made(&before, &[USER], "1h");
        let new = made(&during, &[USER], "1h");
        assert!(verified(&during, &old, NOW).is_ok() && verified(&during, &new, NOW).is_ok());
        assert_eq!(verified(&after, &old, NOW), Err(TokenError::Signature), "a key that is gone");
        assert!(verified(&after, &new, NOW).is_ok());
    }
}

#[test]
fn an_es256_token_is_an_id_token() {
    let own = Settings { issuer: Some("https://portal.example".into()), ..settings() };
    let portal = portal(own, &[es256("k1", 1)]);
    let token = made(&portal, &[USER, ("x-forwarded-groups", "dev")], "1h");
    let claims = claims(&token);
    assert_eq!(claims["iss"], "https://portal.example");
    assert_eq!(claims["groups"], json!(["dev"]));
    assert_eq!(verified(&portal, &token, NOW).unwrap().groups, ["dev"]);
    let (status, keys) = answer(&portal, &request("GET", "/keys", &[]), "");
    let keys: Value = serde_json::from_str(&keys).unwrap();
    assert_eq!((status, keys["keys"][0]["kid"].as_str()), (200, Some("k1")));
    assert_eq!(keys["keys"][0].get("d"), None);
    let (_, document) =
        answer(&portal, &request("GET", "/.well-known/openid-configuration", &[]), "");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["jwks_uri"], "https://portal.example/keys");
}

#[test]
fn bodies_and_lifetimes_that_are_refused() {
    for (body, status, want) in [
        ("", 400, "cannot parse JSON request body: EOF"),
        ("{", 400, "cannot parse JSON request body"),
        ("[]", 400, "cannot parse JSON request body"),
        ("{}", 400, "must specify desired token lifetime"),
        (r#"{"lifetime": "0"}"#, 400, "must specify desired token lifetime"),
        (r#"{"lifetime": "0s"}"#, 400, "must specify desired token lifetime"),
        (r#"{"lifetime": "-1h"}"#, 400, "must not be negative"),
        (r#"{"lifetime": "1ns"}"#, 400, "at least one second"),
        (r#"{"lifetime": 24}"#, 400, "cannot parse JSON request body"),
        (r#"{"lifetime": null}"#, 400, "cannot parse JSON request body"),
        (r#"{"lifetime": "1d"}"#, 400, "time: unknown unit \"d\""),
        (r#"{"lifetime": "9223372036854775808ns"}"#, 400, "time: invalid duration"),
        (r#"{"lifetime": "99999999999999999999999h"}"#, 400, "time: invalid duration"),
        (
            r#"{"lifetime": "200h"}"#,
            500,
            "cannot generate token: requested JWT lifetime 200h0m0s is greater than maximum allowed lifetime 168h0m0s",
        ),
    ] {
        let (found, body_found) = generate(&kubehook(), &[JSON, USER], body);
        assert_eq!(found, status, "{body}");
        assert!(body_found["error"].as_str().unwrap().contains(want), "{body}: {body_found}");
    }
}

#[test]
fn users_that_are_refused() {
    let long = [JSON, USER, ("x-forwarded-user", "root")];
    for (headers, status, want) in [
        (&[JSON][..], 400, "cannot extract username from header X-Forwarded-User"),
        (&[JSON, ("x-forwarded-user", "")], 400, "cannot extract username"),
        (&long, 400, "header x-forwarded-user stands twice"),
        (&[JSON, ("x-forwarded-user", "system:admin")], 403, "reserved-user"),
        (&[JSON, USER, ("x-forwarded-groups", "dev;system:masters")], 403, "reserved-group"),
        (&[JSON, USER, ("x-forwarded-groups", "dev; system:masters")], 403, "unsafe-value"),
        (&[JSON, ("x-forwarded-user", "a\tb\u{1}")], 403, "unsafe-value"),
    ] {
        let (found, body) = generate(&kubehook(), headers, r#"{"lifetime": "1h"}"#);
        assert_eq!(found, status, "{headers:?}");
        assert!(body["error"].as_str().unwrap().contains(want), "{headers:?}: {body}");
    }
}

#[test]
fn a_header_counts_from_a_believed_peer_only() {
    let peer =
        |address: &str, client_certificate| Peer { address: address.into(), client_certificate };
    let network = |text: &str| vec![text.parse().unwrap()];
    for (trust, peer, want) in [
        (TrustedPeers::default(), peer("192.0.2.1", true), 403),
        (
            TrustedPeers { client_certificate: true, ..TrustedPeers::default() },
            peer("192.0.2.1", false),
            403,
        ),
        (
            TrustedPeers { client_certificate: true, ..TrustedPeers::default() },
            peer("192.0.2.1", true),
            200,
        ),
        (
            TrustedPeers { networks: network("192.0.2.0/24"), ..TrustedPeers::default() },
            peer("192.0.2.1", false),
            200,
        ),
        (
            TrustedPeers { networks: network("192.0.2.0/24"), ..TrustedPeers::default() },
            peer("192.0.3.1", false),
            403,
        ),
        (
            TrustedPeers { networks: network("0.0.0.0/0"), ..TrustedPeers::default() },
            peer("", false),
            403,
        ),
        (TrustedPeers { anybody: true, ..TrustedPeers::default() }, peer("", false), 200),
    ] {
        let portal = portal(Settings { trust: trust.clone(), ..settings() }, &[hs256("s", "s")]);
        let mut request = request("POST", "/generate", &[JSON, USER]);
        request.peer = peer;
        let found = answer(&portal, &request, r#"{"lifetime": "1h"}"#);
        assert_eq!(found.0, want, "{trust:?} {request:?}");
    }
}

#[test]
fn what_another_site_sends_is_refused() {
    for (headers, want) in [
        (
            &[USER, JSON, ("origin", "https://portal.example"), ("sec-fetch-site", "same-origin")]
                [..],
            200,
        ),
        (&[USER, ("content-type", "application/json; charset=utf-8")], 200),
        (&[USER, ("content-type", "text/plain")], 403),
        (&[USER, ("content-type", "application/x-www-form-urlencoded")], 403),
        (&[USER], 403),
        (&[USER, JSON, ("content-type", "text/plain")], 403),
        (&[USER, JSON, ("origin", "https://evil.example")], 403),
        (&[USER, JSON, ("origin", "https://portal.example.evil.example")], 403),
        (&[USER, JSON, ("origin", "null")], 403),
        (&[USER, JSON, ("sec-fetch-site", "cross-site")], 403),
        (&[USER, JSON, ("sec-fetch-site", "same-site")], 403),
    ] {
        assert_eq!(generate(&kubehook(), headers, r#"{"lifetime": "1h"}"#).0, want, "{headers:?}");
    }
    let get = request("GET", "/kubecfg?lifetime=1h", &[USER, ("sec-fetch-site", "cross-site")]);
    assert_eq!(answer(&kubehook(), &get, "").0, 403);
}

#[test]
fn a_kubeconfig_holds_the_templates_clusters() {
    let (status, text) = answer(&kubehook(), &request("GET", "/kubecfg?lifetime=24h", &[USER]), "");
    assert_eq!(status, 200);
    let token = text.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(verified(&kubehook(), token, NOW).unwrap().username, "cooluser");
    let want = format!(
        "apiVersion: v1\nclusters:\n- cluster: {{\"insecure-skip-tls-verify\":true,\"server\":\"https://a\"}}\n  name: \"a: b\"\n\
         contexts:\n- context: {{\"cluster\":\"a: b\",\"user\":\"kubehook\"}}\n  name: \"a: b\"\ncurrent-context: \"a: b\"\n\
         kind: Config\npreferences: {{}}\nusers:\n- name: kubehook\n  user: {{\"token\":\"{token}\"}}\n"
    );
    assert_eq!(text, want);
    for (path, status, want) in [
        ("/kubecfg", 400, "cannot parse query parameter lifetime: time: invalid duration \"\""),
        ("/kubecfg?lifetime=x", 400, "time: invalid duration \"x\""),
        ("/kubecfg?lifetime=200h", 500, "greater than maximum"),
    ] {
        let (found, text) = answer(&kubehook(), &request("GET", path, &[USER]), "");
        assert!(found == status && text.contains(want), "{path}: {found} {text}");
    }
    let request_of_a_file = request("GET", "/kubecfg?lifetime=24h", &[USER]);
    let Step::Respond(file) = ask(&kubehook(), &request_of_a_file, b"", None) else { panic!() };
    for (name, want) in [
        ("content-type", "application/x-yaml; charset=utf-8"),
        ("content-disposition", "attachment; filename=\"config\""),
    ] {
        let found = file.headers.iter().find(|(known, _)| *known == name);
        assert_eq!(found.map(|(_, value)| value.as_str()), Some(want), "{name}");
    }
    let none = portal(Settings { template: None, ..settings() }, &[hs256("s", "s")]);
    let found = answer(&none, &request("GET", "/kubecfg?lifetime=1h", &[USER]), "");
    assert_eq!(found, (501, String::new()));
}

fn with_login() -> Portal {
    with_login_of(false)
}

fn with_login_of(outlive_login: bool) -> Portal {
    let identify = Identify {
        cluster: "own".into(),
        cookie: Some("IdToken".into()),
        logout: None,
        outlive_login,
    };
    let trust = TrustedPeers { anybody: true, ..TrustedPeers::default() };
    portal(Settings { identify: Some(identify), trust, ..settings() }, &[hs256("s", "s")])
}

#[test]
fn a_kubeconfig_for_the_plugin_holds_no_token() {
    let plugin = settings::Plugin {
        issuer: "https://issuer.example".to_owned(),
        client_id: "kubernetes".to_owned(),
        scopes: ["openid", "email", "groups"].map(str::to_owned).to_vec(),
        certificate_authority_data: Some("Q0E=".to_owned()),
    };
    let with = portal(Settings { plugin: Some(plugin), ..settings() }, &[hs256("s", "s")]);
    let exec = request("GET", "/kubecfg?form=exec", &[USER]);
    let (status, file) = answer(&with, &exec, "");
    assert_eq!(status, 200);
    let (_, user) = file.rsplit_once("user: ").unwrap();
    let user: Value = serde_json::from_str(user).unwrap();
    let args = [
        "get-token",
        "--oidc-issuer-url=https://issuer.example",
        "--oidc-client-id=kubernetes",
        "--oidc-extra-scope=email",
        "--oidc-extra-scope=groups",
        "--certificate-authority-data=Q0E=",
    ];
    assert_eq!((&user["exec"]["args"], &user["token"]), (&json!(args), &Value::Null));
    // Neither for nobody, nor where no plugin is offered.
    assert_eq!(answer(&with, &request("GET", "/kubecfg?form=exec", &[]), "").0, 400);
    assert_eq!(answer(&kubehook(), &exec, "").0, 501);
}

/// Without a current context kubectl asks localhost, whatever clusters a file has.
#[test]
fn of_one_cluster_the_context_is_the_current_one() {
    for (names, current, want) in [
        (&["a"][..], "", "a"),
        (&["a"], "a", "a"),
        (&["a", "b"], "", ""), // nobody can say which is meant
        (&["a", "b"], "b", "b"),
    ] {
        let clusters =
            names.iter().map(|name| ((*name).to_owned(), json!({"server": "https://a"})));
        let template =
            Template { clusters: clusters.collect(), current_context: current.to_owned() };
        let portal =
            portal(Settings { template: Some(template), ..settings() }, &[hs256("s", "s")]);
        let (_, file) = answer(&portal, &request("GET", "/kubecfg?lifetime=1h", &[USER]), "");
        assert!(file.contains(&format!("current-context: {want:?}\n")), "{names:?}: {file}");
    }
}

#[test]
fn a_login_gives_a_token_that_ends_with_it() {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let login =
        format!("{}.{}.x", part(&json!({"alg": "RS256"})), part(&json!({"exp": 1_512_979_314})));
    let jane =
        Identity { username: "jane".into(), groups: vec!["dev".into()], ..Identity::default() };
    let known = Identified::As(jane);
    let body = br#"{"lifetime": "24h"}"#;
    for headers in [
        [JSON, ("authorization", &format!("Bearer {login}"))],
        [JSON, ("cookie", &format!("a=b; IdToken={login}"))],
    ] {
        let request = request("POST", "/generate", &headers);
        let step = ask(&with_login(), &request, body, None);
        assert!(matches!(step, Step::Identify { token } if token == login));
        let Step::Respond(answer) = ask(&with_login(), &request, body, Some(&known)) else {
            panic!()
        };
        let found: Value = serde_json::from_slice(&answer.body).unwrap();
        let found = claims(found["token"].as_str().unwrap());
        assert_eq!((&found["sub"], &found["exp"]), (&json!("jane"), &json!(1_512_979_314)));
        for (identified, want) in [(Identified::No, 401), (Identified::Unknown, 503)] {
            let Step::Respond(answer) = ask(&with_login(), &request, body, Some(&identified))
            else {
                panic!()
            };
            assert_eq!(answer.status, want);
        }
    }
    let both = request("POST", "/generate", &[JSON, USER, ("authorization", "Bearer x")]);
    assert!(
        matches!(ask(&with_login(), &both, body, None), Step::Respond(answer) if answer.status == 400)
    );
}

/// Else whoever once had a token of the portal's had one for ever.
#[test]
fn a_login_can_be_outlived_but_a_portals_own_token_never() {
    let portal = with_login_of(true);
    let jane = Identity { username: "jane".into(), ..Identity::default() };
    let known = Identified::As(jane);
    let part = |value: &Value| BASE64.encode(value.to_string());
    let end = json!({"exp": 1_512_979_314});
    for (algorithm, outlived) in [("RS256", true), ("ES256", true), ("HS256", false)] {
        let login = format!("{}.{}.x", part(&json!({"alg": algorithm})), part(&end));
        let headers = [JSON, ("authorization", &format!("Bearer {login}"))];
        let request = request("POST", "/generate", &headers);
        let Step::Respond(answer) = ask(&portal, &request, br#"{"lifetime": "24h"}"#, Some(&known))
        else {
            panic!()
        };
        let found: Value = serde_json::from_slice(&answer.body).unwrap();
        let found = claims(found["token"].as_str().unwrap());
        assert_eq!(found["exp"] != end["exp"], outlived, "{algorithm}");
    }
}

#[test]
fn a_foreign_token_in_a_review_goes_to_the_filter() {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "a.b.c"}});
    let review = review.to_string();
    let request = request("POST", "/authenticate", &[JSON]);
    assert!(matches!(ask(&with_login(), &request, review.as_bytes(), None), Step::Identify { .. }));
    let record = gateway_core::record::record(
        "https://i",
        &Identity { username: "jane".into(), ..Identity::default() },
        None,
    );
    for (status, record, want) in [
        (200, Some(record.as_bytes()), 200),
        (401, None, 403),
        (403, None, 403),
        (503, None, 503),
        (200, None, 503),
    ] {
        let identified = Identified::read(status, record);
        let Step::Respond(answer) =
            ask(&with_login(), &request, review.as_bytes(), Some(&identified))
        else {
            panic!()
        };
        assert_eq!(answer.status, want);
    }
}

#[test]
fn one_user_gets_so_many_tokens_a_second_of_each_portal() {
    let portal = kubehook();
    let memory = Memory::default();
    let now = |name| DecisionContext {
        portal: name,
        time: NOW,
        random: [7; 16],
        secret: [3; 16],
        shared: &memory,
        verifier: &SoftwareVerifier,
    };
    let asked = |name| {
        let request = request("POST", "/generate", &[JSON, USER]);
        match portal.decide(&request, Some(br#"{"lifetime": "1h"}"#), None, &now(name)) {
            Step::Respond(answer) => answer.status,
            step => panic!("{step:?}"),
        }
    };
    for name in ["portal", "another portal of the same proxy"] {
        let statuses: Vec<_> = (0..7).map(|_| asked(name)).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429], "{name}");
    }
}

#[test]
fn an_audit_line_names_everything_but_the_token() {
    let request = request("POST", "/generate", &[JSON, USER]);
    let Step::Respond(answer) = ask(&kubehook(), &request, br#"{"lifetime": "1h"}"#, None) else {
        panic!()
    };
    let audit: Value = serde_json::from_str(&answer.audit.unwrap()).unwrap();
    let want = json!({"event": "issued", "user": "cooluser", "groups": [], "by": "header", "key": "secret",
        "jti": BASE64.encode([7; 16]), "lifetimeSeconds": 3600});
    assert_eq!(audit, want);
}

#[test]
fn every_answer_forbids_what_a_page_could_be_made_to_do() {
    for path in ["/", "/healthz", "/whoami", "/nowhere", "/generate"] {
        let Step::Respond(answer) = ask(&kubehook(), &request("GET", path, &[USER]), b"", None)
        else {
            panic!()
        };
        let header = |name: &str| {
            let mut values = answer.headers.iter().filter(|(known, _)| *known == name);
            let value = values.next().unwrap().1.clone();
            assert!(values.next().is_none(), "{name} once");
            value
        };
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(
            (header("cache-control"), header("x-content-type-options")),
            ("no-store".into(), "nosniff".into())
        );
    }
}

#[test]
fn keys_that_are_refused_and_never_quoted() {
    for keys in [
        json!([]),
        json!([{"algorithm": "HS256", "id": "a", "secret": ""}]),
        json!([{"algorithm": "ES256", "id": "a", "scalar": BASE64.encode([0; 32])}]),
        json!([{"algorithm": "ES256", "id": "a", "scalar": BASE64.encode([1; 31])}]),
        json!([{"algorithm": "RS256", "id": "a", "secret": "topsecret"}]),
        json!([{"algorithm": "HS256", "id": "a", "secret": "topsecret", "x": "topsecret"}]),
        json!([hs256("a", "topsecret"), es256("a", 1)]),
    ] {
        let error = KeyRing::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("topsecret"), "{error}");
    }
    let own = Settings { issuer: Some("https://portal.example".into()), ..settings() };
    assert!(
        Portal::new(own, ring(&[hs256("a", "b")])).is_err(),
        "an issuer needs a key that is published"
    );
    assert!(
        Portal::new(settings(), ring(&[es256("a", 1)])).is_err(),
        "a published key needs an issuer"
    );
}
