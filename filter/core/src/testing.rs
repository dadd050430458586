//! What the tests of several modules need: a shared store, key sets, configurations and tokens.
//!
//! No cryptography: a signature is good if every byte of it is the last byte of the key's id.

use std::{cell::RefCell, collections::HashMap};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kube_authn::{
    crypto::{Algorithm, CryptoError, Family, SignatureVerifier},
    jwks::PublicKey,
};
use serde_json::{Value, json};

use crate::keys::{CasConflict, SharedStore};

/// A shared store in memory.
#[derive(Default)]
pub struct Memory(RefCell<HashMap<String, (Vec<u8>, u32)>>);

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

/// A key set of RSA keys with these ids.
pub fn key_set(kids: &[&str]) -> String {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| {
            let mut modulus = vec![0xd5; 256];
            modulus[255] = *kid.as_bytes().last().unwrap() | 1;
            json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"})
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

/// An `AuthenticationConfiguration` in claim mode: `sub`, `groups` and no prefixes.
pub fn configuration_json(issuers: &[&str]) -> Value {
    let jwt: Vec<_> = issuers
        .iter()
        .map(|url| {
            json!({
                "issuer": {"url": url, "audiences": ["kubernetes"]},
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": ""},
                    "groups": {"claim": "groups", "prefix": ""},
                },
            })
        })
        .collect();
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt,
    })
}

/// A token signed by the key of this id.
pub fn token(kid: &str, claims: &Value) -> String {
    token_with(&json!({"alg": "RS256", "kid": kid}), kid, claims)
}

/// A token with this header, signed by the key of this id.
pub fn token_with(header: &Value, kid: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = [*kid.as_bytes().last().unwrap(); 256];
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

/// Believes the signatures of [`token`]. PS algorithms are costly, as in Envoy.
pub struct FakeVerifier;

impl SignatureVerifier for FakeVerifier {
    fn verify(
        &self,
        _: Algorithm,
        key: &PublicKey,
        _: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        let last = key.key_id().bytes().last();
        Ok(signature.iter().all(|&byte| Some(byte) == last))
    }
    fn is_costly(&self, algorithm: Algorithm) -> bool {
        algorithm.family() == Family::RsaPss
    }
}
