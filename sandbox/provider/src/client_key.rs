//! Clients that prove themselves with a key (RFC 7523): what they sign, and what of it is believed.

use rcgen::KeyPair;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value, json};

use crate::{
    config::ClientConfig,
    encoding::{base64url, decode_base64url},
    keys::rsa_keys,
    state::State,
};

/// How far ahead an assertion may end, as at Google and Okta.
const LONGEST: i64 = 3600;
/// How many that came are remembered.
const REMEMBERED: usize = 64;
/// How much clocks may differ.
const LEEWAY: i64 = 60;

/// A client's key.
#[derive(Clone, Debug)]
pub struct ClientKey {
    /// Its public half, for [`ClientConfig::keys`].
    pub jwk: Value,
    /// Its private half, PKCS #8 in PEM.
    pub pem: String,
}

impl ClientKey {
    /// A new key on P-256.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn es256(kid: &str) -> Self {
        let key = KeyPair::generate().expect("randomness");
        let (x, y) = key.public_key_raw()[1..].split_at(32);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y),
        });
        Self { jwk, pem: key.serialize_pem() }
    }

    /// The RSA key that no issuer has: always the same one.
    #[must_use]
    pub fn rs256(kid: &str) -> Self {
        let key = rsa_keys::stranger();
        let numbers = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
        let jwk = json!({
            "kty": "RSA", "kid": kid, "n": base64url(&numbers.n), "e": base64url(&numbers.e),
        });
        Self { jwk, pem: rsa_keys::stranger_pem().to_owned() }
    }
}

/// Whom an assertion names as its issuer, believed or not.
pub(crate) fn issuer_of(assertion: &str) -> Option<String> {
    let claims = decoded(assertion.split('.').nth(1)?)?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// The claims of an assertion, if a key of the client has signed it, it is meant for this issuer, and it is used for the first time.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verify(
    state: &State,
    client: &ClientConfig,
    assertion: &str,
) -> Result<Map<String, Value>, String> {
    let mut came = state.came.borrow_mut();
    if came.len() >= REMEMBERED {
        came.pop_front();
    }
    came.push_back(assertion.to_owned());
    drop(came);
    let parts: Vec<_> = assertion.split('.').collect();
    let [header, payload, signed] = parts.as_slice() else {
        return Err("the assertion is no JWT".to_owned());
    };
    let header = decoded(header).ok_or("the assertion's header is no JSON")?;
    let claims = decoded(payload).ok_or("the assertion's claims are no JSON")?;
    let signed = decode_base64url(signed).ok_or("the assertion's signature is no base64url")?;
    let message = format!("{}.{payload}", parts[0]);
    let is_meant = |key: &&Value| header.get("kid").is_none_or(|kid| key["kid"] == *kid);
    let mut keys = client.keys.iter().filter(is_meant);
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if !keys.any(|key| is_signed(key, algorithm, message.as_bytes(), &signed)) {
        return Err("Invalid JWT Signature.".to_owned());
    }
    let now = state.now();
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("iss") != client.id {
        return Err("iss is not the client".to_owned());
    }
    let is_us = |one: &Value| state.audiences.iter().any(|us| one == us.as_str());
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(is_us),
        Some(one) => is_us(one),
        None => false,
    };
    if !is_for_us {
        return Err("aud is neither the issuer nor its token endpoint".to_owned());
    }
    let end = number("exp").ok_or("exp is missing")?;
    if end <= now - LEEWAY {
        return Err("the assertion has expired".to_owned());
    }
    if end > now + LONGEST + LEEWAY || number("iat").is_some_and(|iat| iat > now + LEEWAY) {
        return Err("exp is more than an hour ahead, or iat is to come".to_owned());
    }
    if text("jti").is_empty() {
        return Err("jti is missing".to_owned());
    }
    let mut seen = state.assertions.borrow_mut();
    seen.retain(|_, end| *end > now - LEEWAY);
    if seen.insert(format!("{}/{}", client.id, text("jti")), end).is_some() {
        return Err("the assertion was used before".to_owned());
    }
    Ok(claims)
}

fn decoded(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&decode_base64url(part)?).ok()
}

fn is_signed(key: &Value, algorithm: &str, message: &[u8], signed: &[u8]) -> bool {
    let number = |name: &str| key[name].as_str().and_then(decode_base64url).unwrap_or_default();
    match (key["kty"].as_str(), algorithm) {
        (Some("RSA"), "RS256") => RsaPublicKeyComponents { n: number("n"), e: number("e") }
            .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signed)
            .is_ok(),
        (Some("EC"), "ES256") => {
            let point = [vec![4], number("x"), number("y")].concat();
            let key = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
            key.verify(message, signed).is_ok()
        }
        _ => false,
    }
}
