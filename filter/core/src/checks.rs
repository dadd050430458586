//! The signature checks that a token may cause before it is known whose it is.
//!
//! One cheap check by a host's own cryptography costs about what a request costs anyway. All others have to be asked for: the
//! costly ones, and a second one for the same token, as a token without `kid` needs it where its issuer has several keys.

use std::cell::Cell;

use kube_authn::{
    crypto::{Algorithm, CryptoError, SignatureVerifier},
    jwks::PublicKey,
};

/// A verifier for one token, which asks before each costly check.
pub struct BoundedVerifier<'a> {
    verifier: &'a dyn SignatureVerifier,
    may: &'a dyn Fn() -> bool,
    checked: Cell<bool>,
    refused: Cell<bool>,
}

impl<'a> BoundedVerifier<'a> {
    /// Has signatures checked by `verifier`, the costly ones as long as `may` says so.
    #[must_use]
    pub fn new(verifier: &'a dyn SignatureVerifier, may: &'a dyn Fn() -> bool) -> Self {
        Self { verifier, may, checked: Cell::new(false), refused: Cell::new(false) }
    }

    /// Whether a check was not made, so that nothing is known of the token.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused.get()
    }
}

impl SignatureVerifier for BoundedVerifier<'_> {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        let costly = self.checked.replace(true) || self.verifier.is_costly(algorithm);
        if self.refused.get() || costly && !(self.may)() {
            self.refused.set(true);
            return Err(CryptoError::Failed("not asked".to_owned()));
        }
        self.verifier.verify(algorithm, key, signing_input, signature)
    }

    fn is_costly(&self, algorithm: Algorithm) -> bool {
        self.verifier.is_costly(algorithm)
    }
}
