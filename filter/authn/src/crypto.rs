//! Signatures: which algorithms there are, which keys fit them, and who checks.
//!
//! The arithmetic is never ours. A host may do it ([`SignatureVerifier`] is a trait; Envoy's BoringSSL is some forty times
//! faster than Wasm), and [`SoftwareVerifier`] does it where the host cannot. What must hold before any of them is
//! called is checked here once ([`verify`]): the key's type and curve fit the algorithm, the signature has the right length.

mod algorithm;
mod ecdsa_der;
mod known_answers;
mod software;

pub use algorithm::{Algorithm, Family, Hash, UnknownAlgorithm};
pub use ecdsa_der::ecdsa_signature_der;
pub use known_answers::{KnownAnswer, known_answers, probe};
pub(crate) use software::SoftwareKey;
pub use software::SoftwareVerifier;

use crate::{jwk::PublicKey, key_kind::KeyKind};

/// Why a verifier could not say whether a signature is good. A signature that is merely wrong is no error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// This verifier cannot do this algorithm with this key.
    #[error("{algorithm} with a key of type {key} is not supported by this verifier")]
    Unsupported {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// The key it was asked for.
        key: KeyKind,
    },
    /// The verifier refused the key or broke.
    #[error("verifier failed: {0}")]
    Failed(String),
}

/// Checks signatures. Implemented by [`SoftwareVerifier`] and by the host's own cryptography.
///
/// Call it through [`verify`] only, which checks first that key and signature fit the algorithm.
pub trait SignatureVerifier {
    /// Whether `signature` (as it stands in the JWS: for ECDSA `r || s`, see [`ecdsa_signature_der`]) is `key`'s over
    /// `signing_input`.
    ///
    /// # Errors
    /// If the question cannot be answered. Callers treat that as "not good".
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError>;

    /// Whether a check by this algorithm costs some twenty times what RS256 or ES256 cost a host's own cryptography.
    fn is_costly(&self, algorithm: Algorithm) -> bool {
        let _ = algorithm;
        true
    }
}

/// Whether `key` may be used with `algorithm`: type and, for ECDSA, curve. Upstream checks the type alone.
#[must_use]
pub fn key_fits(key: KeyKind, algorithm: Algorithm) -> bool {
    match key {
        KeyKind::Rsa { .. } => {
            matches!(algorithm.family(), Family::RsaPkcs1 | Family::RsaPss)
        }
        KeyKind::P256 => algorithm == Algorithm::Es256,
        KeyKind::P384 => algorithm == Algorithm::Es384,
        KeyKind::P521 => algorithm == Algorithm::Es512,
        KeyKind::MlDsa44 => algorithm == Algorithm::MlDsa44,
        KeyKind::MlDsa65 => algorithm == Algorithm::MlDsa65,
        KeyKind::MlDsa87 => algorithm == Algorithm::MlDsa87,
    }
}

/// Whether `key` could have made `signature`, as far as that costs nothing to say: it fits the algorithm, and the length is
/// that of its signatures.
pub(crate) fn could_be(key: KeyKind, algorithm: Algorithm, signature: &[u8]) -> bool {
    key_fits(key, algorithm) && signature.len() == key.signature_length()
}

/// Whether `signature` is `key`'s over `signing_input`; `false` too for a key or a length that does not fit.
///
/// # Errors
/// If `verifier` cannot answer.
pub fn verify(
    verifier: &dyn SignatureVerifier,
    algorithm: Algorithm,
    key: &PublicKey,
    signing_input: &[u8],
    signature: &[u8],
) -> Result<bool, CryptoError> {
    if !could_be(key.kind(), algorithm, signature) {
        return Ok(false);
    }
    verifier.verify(algorithm, key, signing_input, signature)
}
