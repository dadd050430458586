//! What a token of ours holds, and when it is good.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn a_token_of_kubehooks_is_ours() {
    let identity = verified(&kubehook(), KUBEHOOKS, NOW).unwrap();
    assert_eq!(identity.username, "cooluser");
    assert_eq!(identity.uid, "github.com/negz/kubehook/cooluser");
    assert!(identity.groups.is_empty());
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
