//! Keys: which are taken, how they are rotated, what no key of ours has signed.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

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
