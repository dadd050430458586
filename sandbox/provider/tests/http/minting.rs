//! Tokens to order: each bad credential in a line, and each bad in the one way it says.

use std::{
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_provider::{Algorithm, Issuer, PublicKeyForm, Rotation, SignWith, SigningKey};
use ring::{
    hmac,
    signature::{self, RsaPublicKeyComponents, UnparsedPublicKey},
};
use serde_json::{Value, json};

use crate::client::{claims, header, start, start_with};

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn parts(token: &str) -> (&str, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed, bytes(signature))
}

/// Whether the published key that the token names verifies it, as a careful verifier checks: RS256 and ES256 only.
fn verifies(issuer: &Issuer, token: &str) -> bool {
    let (signed, signature) = parts(token);
    let jwks = issuer.jwks();
    let mut keys = jwks["keys"].as_array().unwrap().iter();
    let Some(key) = keys.find(|key| key["kid"] == header(token)["kid"]) else { return false };
    let number = |name: &str| bytes(key[name].as_str().unwrap());
    match header(token)["alg"].as_str().unwrap() {
        "RS256" => RsaPublicKeyComponents { n: number("n"), e: number("e") }
            .verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .is_ok(),
        "ES256" => {
            let point = [vec![4], number("x"), number("y")].concat();
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(signed.as_bytes(), &signature)
                .is_ok()
        }
        _ => false,
    }
}

fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(elapsed.as_secs()).unwrap()
}

#[test]
fn good_tokens_verify() {
    let (_provider, issuer, _) = start();
    let token = issuer.token("alice", "cli").mint();
    assert!(verifies(&issuer, &token));
    assert_eq!(claims(&token)["groups"], json!(["developers", "testers"]));
    let es256 = issuer.token("alice", "cli").sign(SignWith::Algorithm(Algorithm::Es256)).mint();
    assert!(verifies(&issuer, &es256));
    let exactly = issuer.mint(&json!({"iss": "https://elsewhere"}));
    assert_eq!(claims(&exactly), json!({"iss": "https://elsewhere"}));
    assert!(verifies(&issuer, &exactly));
}

#[test]
fn bad_claims() {
    let (_provider, issuer, _) = start();
    let token = || issuer.token("alice", "cli");
    let expired = claims(&token().expires_in(-10).mint());
    assert!((now() - 15..now()).contains(&expired["exp"].as_i64().unwrap()));
    let early = claims(&token().valid_in(3600).mint());
    assert!(early["nbf"].as_i64().unwrap() > now() + 3500);
    let odd = claims(&token().claim("sub", Value::Null).without("aud").mint());
    assert_eq!(odd["sub"], Value::Null);
    assert!(odd.get("aud").is_none());

    let twice = token().payload(&br#"{"sub":"a","sub":"b"}"#[..]).mint();
    assert!(verifies(&issuer, &twice), "signed all the same");
    assert_eq!(bytes(twice.split('.').nth(1).unwrap()), br#"{"sub":"a","sub":"b"}"#);
}

#[test]
fn bad_headers() {
    let (_provider, issuer, _) = start();
    let token = || issuer.token("alice", "cli");
    let crit = token().header("crit", json!(["b64"])).header("b64", false).mint();
    assert_eq!(header(&crit)["crit"], json!(["b64"]));
    assert!(verifies(&issuer, &crit));
    assert!(header(&token().without_header("kid").mint()).get("kid").is_none());
    let unknown = token().header("kid", "nobody's").mint();
    assert!(!verifies(&issuer, &unknown));
    let wrong_alg = token().header("alg", "ES256").mint();
    assert_eq!(header(&wrong_alg)["alg"], "ES256");
    let raw = token().header_bytes(&b"{"[..]).mint();
    assert!(raw.starts_with("ew."));
}

#[test]
fn bad_signatures() {
    let (_provider, issuer, _) = start();
    let token = |with| issuer.token("alice", "cli").sign(with).mint();

    let stranger = token(SignWith::Stranger(Algorithm::Rs256));
    assert_eq!(header(&stranger)["kid"], header(&token(SignWith::Default))["kid"]);
    assert!(!verifies(&issuer, &stranger));

    let none = token(SignWith::None);
    assert_eq!(header(&none)["alg"], "none");
    assert!(none.ends_with('.'));

    let garbage = issuer.token("alice", "cli").signature(&[0; 256][..]).mint();
    assert!(!verifies(&issuer, &garbage));
}

/// The RS/HS confusion: whoever takes the public key for a shared secret finds these in order.
#[test]
fn public_keys_as_secrets() {
    let (_provider, issuer, _) = start();
    let key = issuer.key(Algorithm::Rs256).unwrap();
    let jwk = issuer.jwks()["keys"][0].clone();
    for (form, secret) in [
        (PublicKeyForm::Pem, key.public_key().pem().into_bytes()),
        (PublicKeyForm::PemTrimmed, key.public_key().pem().trim_end().as_bytes().to_vec()),
        (PublicKeyForm::Der, key.public_key().der()),
        (PublicKeyForm::Jwk, jwk.to_string().into_bytes()),
        (PublicKeyForm::Numbers, bytes(jwk["n"].as_str().unwrap())),
    ] {
        let with = SignWith::PublicKeyAsSecret(form);
        let token = issuer.token("alice", "cli").sign(with).mint();
        assert_eq!(header(&token)["alg"], "HS256");
        assert_eq!(header(&token)["kid"], jwk["kid"]);
        let (signed, signature) = parts(&token);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        assert!(hmac::verify(&secret, signed.as_bytes(), &signature).is_ok(), "{form:?}");
    }
    let shared = issuer.mint_with(&json!({}), SignWith::Secret("secret".to_owned()));
    let (signed, signature) = parts(&shared);
    let secret = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    assert!(hmac::verify(&secret, signed.as_bytes(), &signature).is_ok());
}

#[test]
fn elliptic_public_keys_as_secrets() {
    let config = crate::client::issuer().algorithms([Algorithm::Es256]);
    let (_provider, issuer, _) = start_with(config);
    let pem = issuer.key(Algorithm::Es256).unwrap().public_key().pem();
    let token = issuer.mint_with(&json!({}), SignWith::PublicKeyAsSecret(PublicKeyForm::Pem));
    let (signed, signature) = parts(&token);
    let secret = hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes());
    assert!(hmac::verify(&secret, signed.as_bytes(), &signature).is_ok());
}

#[test]
fn keys_by_id() {
    let (_provider, issuer, _) = start();
    let retired = issuer.key(Algorithm::Rs256).unwrap().kid().to_owned();
    issuer.rotate(Rotation::Replace);
    let old = issuer.token("alice", "cli").sign(SignWith::Kid(retired)).mint();
    assert!(!verifies(&issuer, &old), "rotated out");

    issuer.publish(SigningKey::short_rsa().with_kid("short"));
    let short = issuer.token("alice", "cli").sign(SignWith::Kid("short".to_owned())).mint();
    assert_eq!(header(&short)["kid"], "short");
    assert_eq!(parts(&short).1.len(), 128, "1024 bits");

    let second = issuer.new_key(Algorithm::Rs256).with_kid("second");
    issuer.publish(second);
    let token = issuer.token("alice", "cli").sign(SignWith::Kid("second".to_owned())).mint();
    assert!(verifies(&issuer, &token));

    let pss = SignWith::KidAs { kid: "second".to_owned(), algorithm: Algorithm::Ps256 };
    let token = issuer.token("alice", "cli").sign(pss).mint();
    assert_eq!(
        (&header(&token)["alg"], &header(&token)["kid"]),
        (&json!("PS256"), &json!("second"))
    );
    let elliptic = SignWith::KidAs { kid: "second".to_owned(), algorithm: Algorithm::Es256 };
    assert!(issuer.token("alice", "cli").sign(elliptic).try_mint().is_err());

    let unknown = issuer.token("alice", "cli").sign(SignWith::Kid("x".to_owned())).try_mint();
    assert_eq!(unknown.unwrap_err().to_string(), r#"issuer main has no key "x""#);
    let absent = SignWith::Algorithm(Algorithm::Ps512);
    assert!(issuer.token("alice", "cli").sign(absent).try_mint().is_err());
}

#[test]
fn handles_work_from_many_threads() {
    let (_provider, issuer, _) = start_with(crate::client::issuer());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let token = issuer.token("alice", "cli").mint();
                    assert!(verifies(&issuer, &token));
                }
            });
        }
    });
}
