//! Verification, check by check. The expected texts are those of go-oidc and go-jose, but for the names of Go types.

use p256::ecdsa::SigningKey;

use super::*;
use crate::{
    Rules,
    crypto::{CryptoError, SoftwareVerifier},
    jwks::{KeySetLimits, PublicKey},
    testing::{HEADER, KEY_ID, NOW, authenticator, jwk, jwk_of, key_set, token},
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const MAPPINGS: &str = r#""claimMappings":{"username":{"claim":"sub","prefix":""}}"#;

fn verify(header: &str, payload: &str) -> Result<VerifiedToken, String> {
    let token = token(header, payload);
    authenticator(MAPPINGS)
        .verify(&token, &key_set(), &SoftwareVerifier, NOW, &Algorithm::ALL)
        .map_err(|error| error.to_string())
}

/// The claims of a good token with `more` at their end.
fn claims(more: &str) -> String {
    format!(r#"{{"iss":"https://issuer.example","aud":"kubernetes","exp":1800000060{more}}}"#)
}

#[test]
fn a_good_token_passes_until_it_expires() {
    let token = verify(HEADER, &claims("")).expect("a good token");
    assert_eq!(token.expires_at(), Duration::from_secs(1_800_000_060));
}

#[test]
fn headers() {
    let unsupported = |got: &str| {
        let expected =
            r#"["ES256" "ES384" "ES512" "PS256" "PS384" "PS512" "RS256" "RS384" "RS512"]"#;
        format!("oidc: id token signed with unsupported algorithm, expected {expected} got {got}")
    };
    let not_verified = "failed to verify signature: failed to verify id token signature";
    let not_verified = not_verified.to_owned();
    for (header, want) in [
        (r#"{"alg":"ES256"}"#, None), // without a kid all keys are tried
        (r#"{"alg":"ES256","kid":""}"#, None),
        (r#"{"alg":"ES256","kid":null,"nonce":null}"#, None),
        (r#"{"alg":"ES256","typ":"JWT","x":[{"a":1}]}"#, None),
        (r#"{"alg":"ES256","crit":[]}"#, None),
        (r#"{"alg":"ES256","crit":["b64"]}"#, None),
        (r#"{"alg":"none"}"#, Some(unsupported(r#""none""#))),
        (r#"{"alg":"HS256"}"#, Some(unsupported(r#""HS256""#))),
        (r#"{"alg":"EdDSA"}"#, Some(unsupported(r#""EdDSA""#))),
        (r#"{"alg":"es256"}"#, Some(unsupported(r#""es256""#))),
        (r#"{"ALG":"ES256"}"#, Some(unsupported(r#""""#))), // names do not fold here
        ("{}", Some(unsupported(r#""""#))),
        ("", Some(unsupported(r#""""#))),
        ("null", Some(unsupported(r#""""#))),
        (r#"{"alg":"ES384"}"#, Some(not_verified.clone())), // the curve does not fit
        (r#"{"alg":"RS256"}"#, Some(not_verified.clone())),
        (r#"{"alg":"ES256","crit":["exp"]}"#, Some(not_verified.clone())),
        (r#"{"alg":"ES256","crit":"b64"}"#, Some(not_verified.clone())),
        (r#"{"alg":"ES256","crit":[1]}"#, Some(not_verified.clone())),
        (r#"{"alg":"ES256","b64":false}"#, Some(not_verified.clone())), // signed over base64
        (
            r#"{"alg":"ES256","kid":"other"}"#,
            Some(format!(r#"{not_verified} (no key "other" in the key set)"#)),
        ),
    ] {
        let want = want.map(|error| format!("oidc: verify token: {error}"));
        assert_eq!(verify(header, &claims("")).err(), want, "{header}");
    }
}

#[test]
fn malformed_headers() {
    let public = jwk("x");
    for header in [
        "[]",
        "1",
        "{",
        r#"{"alg":1}"#,
        r#"{"alg":"ES256","kid":1}"#,
        r#"{"alg":"ES256","nonce":1}"#,
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"ES256","x":{"a":1,"a":1}}"#, // duplicates count however deep
        r#"{"alg":"ES256","x":[{"a":1,"\u0061":1}]}"#,
        r#"{"alg":"ES256","x":1e999}"#,
        r#"{"alg":"ES256","x5c":"a"}"#,
        r#"{"alg":"ES256","x5c":["AAAA"]}"#,
        r#"{"alg":"ES256","jwk":{}}"#,
        r#"{"alg":"ES256","jwk":"a"}"#,
        r#"{"alg":"ES256","jwk":{"kty":"oct","k":"AAAA"}}"#, // no secrets in a header
        r#"{"alg":"ES256","jwk":{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}}"#,
    ] {
        let error = verify(header, &claims("")).expect_err(header);
        assert!(error.starts_with("oidc: verify token: oidc: malformed jwt: "), "{error}");
    }
    for header in [
        format!(r#"{{"alg":"ES256","jwk":{public}}}"#), // allowed, and never used
        r#"{"alg":"ES256","jwk":{"kty":"RSA","n":"AQAB","e":"AQAB"}}"#.to_owned(),
        r#"{"alg":"ES256","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}}"#.to_owned(),
        r#"{"alg":"ES256","jwk":null,"x5c":[],"crit":null}"#.to_owned(),
    ] {
        assert_eq!(verify(&header, &claims("")).err(), None, "{header}");
    }
}

#[test]
fn claims_are_checked_as_go_oidc_does() {
    let type_error = |field: &str, got: &str| {
        Some(format!("failed to unmarshal claims: json: cannot unmarshal {got} into field {field}"))
    };
    let audience = |got: &str| Some(format!(r#"expected audience "kubernetes" got {got}"#));
    let wrapped = "-292277022657-01-27 08:29:51 +0000 UTC";
    let expired = |at: &str| Some(format!("token is expired (Token Expiry: {at})"));
    for (more, want) in [
        (r#","aud":["a","kubernetes"]"#, None),
        (r#","aud":"other""#, audience(r#"["other"]"#)),
        (r#","aud":[]"#, audience("[]")),
        (r#","aud":null"#, audience(r#"[""]"#)), // null reads as the empty string
        (r#","aud":["kubernetes",null]"#, None),
        (r#","aud":["kubernetes",1]"#, type_error("aud", "number")),
        (r#","aud":{}"#, type_error("aud", "object")),
        (r#","AUD":"other""#, audience(r#"["other"]"#)), // the last one counts, in any case
        (r#","exp":1800000000"#, None), // no leeway, but this instant is not yet past
        (r#","exp":1799999999"#, expired("2027-01-15 07:59:59 +0000 UTC")),
        (r#","exp":"1800000001""#, None),
        (r#","exp":1800000000.9"#, None),
        (r#","exp":1.8e9"#, None),
        (r#","exp":9223372036854775807"#, expired(wrapped)), // Go's time wraps around
        (r#","exp":1e300"#, expired(wrapped)),
        (r#","exp":-1"#, expired("1969-12-31 23:59:59 +0000 UTC")),
        (r#","exp":true"#, type_error("exp", "bool")),
        (r#","exp":null"#, type_error("exp", "null")),
        (
            r#","exp":"soon""#,
            Some(r#"failed to unmarshal claims: invalid number in field exp: "soon""#.to_owned()),
        ),
        (
            r#","exp":1e400"#,
            Some(r#"failed to unmarshal claims: invalid number in field exp: "1e400""#.to_owned()),
        ),
        (r#","iat":99999999999"#, None), // never compared
        (
            r#","iat":"x""#,
            Some(r#"failed to unmarshal claims: invalid number in field iat: "x""#.to_owned()),
        ),
        (r#","nbf":1800000060"#, None), // a minute of leeway
        (
            r#","nbf":1800000061"#,
            Some(
                "current time 2027-01-15 08:00:00 +0000 UTC before the nbf (not before) time: 2027-01-15 08:01:01 +0000 UTC".to_owned(),
            ),
        ),
        (r#","nbf":null"#, None),
        (r#","nbf":1900000000,"nbf":null"#, None),
        (r#","nbf":9223372036854775807"#, None), // wraps around into the past
        (r#","iss":null"#, None),                // null leaves what was there
        (r#","sub":1"#, type_error("sub", "number")),
        (r#","nonce":[]"#, type_error("nonce", "array")),
        (r#","at_hash":{}"#, type_error("at_hash", "object")),
        (r#","At_Hash":{}"#, type_error("at_hash", "object")),
        (r#","sub":1,"sub":"a""#, type_error("sub", "number")), // any occurrence spoils it
        (r#","_claim_names":{"a":"s"}"#, Some("source does not exist".to_owned())),
        (r#","_claim_names":{"a":""}"#, Some("failed to obtain source from claim name".to_owned())),
        (r#","_claim_names":{"a":"s"},"_claim_sources":{"s":{}}"#, None),
        (r#","_claim_names":{"a":"s"},"_claim_sources":{"s":null}"#, None),
        (r#","_claim_names":{"a":"s"},"_claim_names":null"#, None),
        (
            r#","_claim_names":{"a":"s"},"_claim_names":{"b":"t"},"_claim_sources":{"t":{}}"#,
            Some("source does not exist".to_owned()), // both count
        ),
        (r#","_claim_names":{"a":1}"#, type_error("_claim_names", "number")),
        (r#","_claim_names":"a""#, type_error("_claim_names", "string")),
        (r#","_claim_sources":{"s":{"endpoint":1}}"#, type_error("_claim_sources", "number")),
        (r#","_claim_sources":{"s":"a"}"#, type_error("_claim_sources", "string")),
    ] {
        let want = want.map(|error| format!("oidc: verify token: oidc: {error}"));
        assert_eq!(verify(HEADER, &claims(more)).err(), want, "{more}");
    }
}

#[test]
fn a_token_without_times_or_audience_is_refused() {
    for (payload, want) in [
        (
            r#"{"iss":"https://issuer.example","aud":"kubernetes"}"#,
            "token is expired (Token Expiry: 0001-01-01 00:00:00 +0000 UTC)",
        ),
        (
            r#"{"iss":"https://issuer.example","exp":1800000060}"#,
            r#"expected audience "kubernetes" got []"#,
        ),
        (
            r#"{"iss":"https://other.example","aud":"kubernetes","exp":1800000060}"#,
            r#"id token issued by a different provider, expected "https://issuer.example" got "https://other.example""#,
        ),
    ] {
        let want = format!("oidc: verify token: oidc: {want}");
        assert_eq!(verify(HEADER, payload).err(), Some(want));
    }
}

/// Nanoseconds count: a token whose `exp` is this second is past as soon as the second has begun.
#[test]
fn expiry_is_exact() {
    let token = token(HEADER, &claims(r#","exp":1800000000"#));
    let authenticator = authenticator(MAPPINGS);
    let at = |now| {
        let keys = key_set();
        authenticator.verify(&token, &keys, &SoftwareVerifier, now, &Algorithm::ALL)
    };
    assert!(at(NOW).is_ok());
    let error = at(NOW + Duration::from_nanos(1)).expect_err("expired");
    assert!(error.is_expired());
}

#[test]
fn google_may_leave_out_its_scheme() {
    let google = r#"{"iss":"accounts.google.com","aud":"kubernetes","exp":1800000060}"#;
    let token = token(HEADER, google);
    assert_eq!(token.issuer(), "https://accounts.google.com");
    let file = r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration",
        "jwt":[{"issuer":{"url":"https://accounts.google.com","audiences":["kubernetes"]},
        "claimMappings":{"username":{"claim":"sub","prefix":""}}}]}"#;
    let configuration =
        crate::config::load(file.as_bytes(), &crate::config::LoadOptions::default());
    let configuration = configuration.expect("a valid configuration");
    let (_, authenticator) = configuration.authenticator_for(&token).expect("Google");
    let verified =
        authenticator.verify(&token, &key_set(), &SoftwareVerifier, NOW, &Algorithm::ALL);
    assert_eq!(verified.err(), None);
}

#[test]
fn one_of_several_audiences_is_enough() {
    let file = r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration",
        "jwt":[{"issuer":{"url":"https://issuer.example","audiences":["b","a"],
        "audienceMatchPolicy":"MatchAny"},
        "claimMappings":{"username":{"claim":"sub","prefix":""}}}]}"#;
    let configuration =
        crate::config::load(file.as_bytes(), &crate::config::LoadOptions::default());
    let configuration = configuration.expect("a valid configuration");
    for (audience, exp, want) in [
        (r#"["x","a"]"#, 1_800_000_060, None),
        (r#""b""#, 1_800_000_060, None),
        (r#""c""#, 1_800_000_060, Some(r#"expected audience in ["a" "b"] got ["c"]"#)),
        // With several audiences the expiry is looked at first.
        (r#""c""#, 1, Some("token is expired (Token Expiry: 1970-01-01 00:00:01 +0000 UTC)")),
    ] {
        let payload = format!(r#"{{"iss":"https://issuer.example","aud":{audience},"exp":{exp}}}"#);
        let token = token(HEADER, &payload);
        let (_, authenticator) = configuration.authenticator_for(&token).expect("ours");
        let verified =
            authenticator.verify(&token, &key_set(), &SoftwareVerifier, NOW, &Algorithm::ALL);
        let want = want.map(|error| format!("oidc: verify token: oidc: {error}"));
        assert_eq!(verified.err().map(|error| error.to_string()), want, "{audience}");
    }
}

#[test]
fn errors_tell_whether_fetching_keys_may_help() {
    let authenticator = authenticator(MAPPINGS);
    let verify = |header: &str, keys: &KeySet, allowed: &[Algorithm]| {
        let token = token(header, &claims(""));
        let error = authenticator.verify(&token, keys, &SoftwareVerifier, NOW, allowed);
        let error = error.expect_err("a bad token");
        (error.is_no_key_verified(), error.is_unknown_key())
    };
    let all = &Algorithm::ALL[..];
    assert_eq!(verify(HEADER, &KeySet::default(), all), (true, true), "no keys at all");
    let other = r#"{"alg":"ES256","kid":"other"}"#;
    assert_eq!(verify(other, &key_set(), all), (true, true), "unknown kid");
    let wrong = format!(r#"{{"alg":"RS256","kid":"{KEY_ID}"}}"#);
    assert_eq!(verify(&wrong, &key_set(), all), (true, false), "key of another type");
    assert_eq!(verify(HEADER, &key_set(), &[Algorithm::Rs256]), (false, false), "algorithm off");
}

/// With two keys of one `kid` both are tried, as providers that rotate in place need it.
#[test]
fn a_kid_may_stand_twice() {
    let other = SigningKey::from_slice(&[9; 32]).expect("a scalar");
    let other = jwk_of(&other, KEY_ID);
    let document = format!(r#"{{"keys":[{other},{}]}}"#, jwk(KEY_ID));
    let keys = KeySet::parse(document.as_bytes(), KeySetLimits::default(), Rules::default())
        .expect("keys");
    assert_eq!(keys.len(), 2);
    let token = token(HEADER, &claims(""));
    let verified =
        authenticator(MAPPINGS).verify(&token, &keys, &SoftwareVerifier, NOW, &Algorithm::ALL);
    assert_eq!(verified.err(), None);
}

/// A host that cannot answer is no reason to let a token in.
#[test]
fn a_broken_verifier_verifies_nothing() {
    struct Broken;
    impl SignatureVerifier for Broken {
        fn verify(
            &self,
            _: Algorithm,
            _: &PublicKey,
            _: &[u8],
            _: &[u8],
        ) -> Result<bool, CryptoError> {
            Err(CryptoError::Failed("no answer".to_owned()))
        }
    }
    let token = token(HEADER, &claims(""));
    let error = authenticator(MAPPINGS)
        .verify(&token, &key_set(), &Broken, NOW, &Algorithm::ALL)
        .expect_err("nothing verified");
    assert!(error.to_string().ends_with("(verifier failed: no answer)"), "{error}");
}

/// Says no to every signature but those of one key, and notes which keys it was asked about.
struct Asked {
    good: &'static str,
    keys: std::cell::RefCell<Vec<String>>,
}

impl SignatureVerifier for Asked {
    fn verify(
        &self,
        _: Algorithm,
        key: &PublicKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<bool, CryptoError> {
        self.keys.borrow_mut().push(key.key_id().to_owned());
        Ok(key.key_id() == self.good)
    }
}

/// Verifies a token without `kid` with a set of these keys: their ids and what else they say. What was tried, and the error.
fn tried(keys: &[(&str, &str)], good: &'static str) -> (Vec<String>, Option<String>) {
    let keys: Vec<_> = keys
        .iter()
        .map(|(key_id, more)| jwk(key_id).replacen('{', &format!("{{{more}"), 1))
        .collect();
    let document = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let keys = KeySet::parse(document.as_bytes(), KeySetLimits::default(), Rules::default())
        .expect("keys");
    let asked = Asked { good, keys: std::cell::RefCell::default() };
    let token = token(r#"{"alg":"ES256"}"#, &claims(""));
    let verified = authenticator(MAPPINGS).verify(&token, &keys, &asked, NOW, &Algorithm::ALL);
    (asked.keys.into_inner(), verified.err().map(|error| error.to_string()))
}

/// A token without `kid` made the gateway compute with every key of the set.
#[test]
fn break_in_7_at_most_four_keys_are_tried() {
    let ten = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|key_id| (key_id, ""));
    let (keys, error) = tried(&ten, "e");
    assert_eq!(keys, ["a", "b", "c", "d"]);
    let error = error.expect("the fifth key is not tried");
    assert!(error.ends_with("(4 of 10 keys were tried)"), "{error}");
    assert_eq!(tried(&ten, "d"), (keys, None));
}

/// kube-apiserver takes a key whatever it says that it is for. So such a key is the last to be tried, and not left out.
#[test]
fn break_in_7_what_a_key_says_of_itself_decides_when_it_is_tried() {
    let keys = [
        ("encrypts", r#""use":"enc","#),
        ("other", r#""alg":"RS256","#),
        ("silent", ""),
        ("signs", r#""use":"sig","#),
        ("this", r#""alg":"ES256","use":"sig","#),
    ];
    let (order, _) = tried(&keys, "nobody");
    assert_eq!(order, ["this", "silent", "signs", "encrypts"]);
    assert_eq!(tried(&keys[..2], "encrypts"), (vec!["encrypts".to_owned()], None));
}

/// Without it a broken key is an unknown one, and nobody finds out why.
#[test]
fn a_key_that_is_not_used_is_named_where_a_token_needs_it() {
    let broken = |kid: &str| format!(r#"{{"kty":"RSA","kid":{kid},"n":"AQ==","e":"AQAB"}}"#);
    let document = |keys: &[String]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let (a, b, number) = (broken("\"a\""), broken("\"b\""), broken("1"));
    let many = vec![a.clone(); 5];
    for (kid, keys, want) in [
        (
            "a",
            &[a.clone()][..],
            r#"(no key "a" in the key set; not used: keys[0] "a": member "n" is malformed)"#,
        ),
        ("a", &[jwk("c"), b.clone()], r#"(no key "a" in the key set)"#),
        (
            "a",
            &[b.clone(), number],
            r#"(no key "a" in the key set; not used: keys[1]: member "kid" is malformed)"#,
        ),
        ("c", &[jwk("c"), b], ""),
        ("a", &many, r#"keys[2] "a": member "n" is malformed, and 2 more)"#),
    ] {
        let keys =
            KeySet::parse(document(keys).as_bytes(), KeySetLimits::default(), Rules::default())
                .expect(kid);
        let token = token(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#), &claims(""));
        let got =
            authenticator(MAPPINGS).verify(&token, &keys, &SoftwareVerifier, NOW, &Algorithm::ALL);
        let got = got.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(got.ends_with(want), "{got} / {want}");
    }
}
