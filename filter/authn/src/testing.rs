//! What unit tests share: a key that signs, and authenticators from the entries of a file.

use std::time::Duration;

use go_compat::base64;
use p256::ecdsa::{Signature, SigningKey, signature::Signer};

use crate::{
    JwtAuthenticator, Rules,
    config::{self, AuthenticationConfiguration, LoadOptions},
    jwks::KeySet,
    token::{TokenLimits, UnverifiedToken},
};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const KEY_ID: &str = "key-1";

/// Some time in 2027 at which all tests take place.
pub(crate) const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A header that [`sign`] fits.
pub(crate) const HEADER: &str = r#"{"alg":"ES256","kid":"key-1"}"#;

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).expect("a scalar")
}

/// The public key of [`signing_key`] as a JWK called `key_id`.
pub(crate) fn jwk(key_id: &str) -> String {
    jwk_of(&signing_key(), key_id)
}

pub(crate) fn jwk_of(key: &SigningKey, key_id: &str) -> String {
    let point = key.verifying_key().to_sec1_point(false);
    let coordinates = point.as_bytes().get(1..).expect("an uncompressed point");
    let (x, y) = coordinates.split_at(32);
    format!(
        r#"{{"kty":"EC","crv":"P-256","kid":"{key_id}","x":"{}","y":"{}"}}"#,
        base64::encode(x),
        base64::encode(y)
    )
}

pub(crate) fn key_set() -> KeySet {
    let document = format!(r#"{{"keys":[{}]}}"#, jwk(KEY_ID));
    KeySet::parse(document.as_bytes(), crate::jwks::KeySetLimits::default(), Rules::default())
        .expect("a key set")
}

/// A compact JWS by [`signing_key`], whatever the header says.
pub(crate) fn sign(header: &str, payload: &str) -> String {
    let input =
        format!("{}.{}", base64::encode(header.as_bytes()), base64::encode(payload.as_bytes()));
    let signature: Signature = signing_key().sign(input.as_bytes());
    format!("{input}.{}", base64::encode(&signature.to_bytes()))
}

pub(crate) fn token(header: &str, payload: &str) -> UnverifiedToken {
    UnverifiedToken::parse(sign(header, payload).as_bytes(), &TokenLimits::default())
        .expect("a token")
}

/// A configuration whose one `jwt` entry has the issuer [`ISSUER`], the audience `kubernetes` and these mappings.
pub(crate) fn configuration(rest: &str) -> AuthenticationConfiguration {
    let file = format!(
        r#"{{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration",
            "jwt":[{{"issuer":{{"url":"{ISSUER}","audiences":["kubernetes"]}},{rest}}}]}}"#
    );
    config::load(file.as_bytes(), &LoadOptions::default()).expect("a valid configuration")
}

pub(crate) fn authenticator(rest: &str) -> JwtAuthenticator {
    configuration(rest).jwt().first().expect("one authenticator").clone()
}
