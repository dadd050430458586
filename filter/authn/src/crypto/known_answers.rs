//! Known answers: one good signature for each algorithm that a host may do, by which its verifier is tried before it is trusted.
//! ML-DSA is not among them: no host knows its name, and its keys and signatures would be 16 KB of the module.

use std::str::FromStr;

use go_compat::{
    base64,
    json::{self, Limits, Object, Value},
};

use super::{Algorithm, SignatureVerifier};
use crate::jwk::{Jwk, PublicKey};

/// Made once with OpenSSL's library; the private keys are gone.
const ANSWERS: &[u8] = include_bytes!("known_answers.json");

/// What all of them sign.
const SIGNING_INPUT: &[u8] = b"kube-oidc-gateway known answer";

/// A signature whose verification is known to succeed.
#[derive(Debug, Clone)]
pub struct KnownAnswer {
    /// What the signature is made with.
    pub algorithm: Algorithm,
    /// The public half of the key that made it.
    pub key: PublicKey,
    /// What is signed.
    pub signing_input: &'static [u8],
    /// The signature as in a JWS.
    pub signature: Vec<u8>,
}

/// One answer for each algorithm but ML-DSA.
#[must_use]
pub fn known_answers() -> Vec<KnownAnswer> {
    let document = json::parse(ANSWERS, Limits { depth: 8, values: 100 });
    let Ok(Value::Array(entries)) = document else { return Vec::new() };
    entries.iter().filter_map(of_key).flatten().collect()
}

/// The algorithms for which `verifier` takes the good signature and refuses it for another input.
#[must_use]
pub fn probe(verifier: &dyn SignatureVerifier) -> Vec<Algorithm> {
    let answers = known_answers().into_iter();
    answers.filter(|answer| answer.is_given_by(verifier)).map(|answer| answer.algorithm).collect()
}

impl KnownAnswer {
    fn is_given_by(&self, verifier: &dyn SignatureVerifier) -> bool {
        let verify = |input: &[u8]| {
            super::verify(verifier, self.algorithm, &self.key, input, &self.signature)
        };
        verify(self.signing_input) == Ok(true) && verify(b"another input") == Ok(false)
    }
}

fn of_key(entry: &Value) -> Option<Vec<KnownAnswer>> {
    let Value::Object(entry) = entry else { return None };
    let key = public_key(entry)?;
    let Some(Value::Object(signatures)) = entry.get("signatures") else { return None };
    let answers = signatures.members().filter_map(|(name, signature)| {
        let Value::String(signature) = signature else { return None };
        Some(KnownAnswer {
            algorithm: Algorithm::from_str(name).ok()?,
            key: key.clone(),
            signing_input: SIGNING_INPUT,
            signature: base64::decode(signature.as_bytes()).ok()?,
        })
    });
    Some(answers.collect())
}

fn public_key(entry: &Object) -> Option<PublicKey> {
    let Some(Value::Object(jwk)) = entry.get("jwk") else { return None };
    let rules = kube_rules::Rules::default();
    Jwk::parse(jwk, rules).ok()?.usable(rules).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CryptoError, SoftwareVerifier};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn software_gives_every_answer() {
        let mut probed = probe(&SoftwareVerifier);
        probed.sort_unstable();
        let asked = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.hash().is_some());
        assert_eq!(probed, asked.collect::<Vec<_>>());
    }

    /// A verifier that says yes to everything, and one that is broken, pass for nothing.
    #[test]
    fn bad_verifiers_are_found_out() {
        struct Always(Result<bool, CryptoError>);
        impl SignatureVerifier for Always {
            fn verify(
                &self,
                _: Algorithm,
                _: &PublicKey,
                _: &[u8],
                _: &[u8],
            ) -> Result<bool, CryptoError> {
                self.0.clone()
            }
        }
        for answer in [Ok(true), Ok(false), Err(CryptoError::Failed("down".to_owned()))] {
            assert_eq!(probe(&Always(answer.clone())), [], "{answer:?}");
        }
    }
}
