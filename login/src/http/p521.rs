//! Signatures by keys on P-521, which the TLS library's cryptography does not have: RustCrypto's verify them, as the gateway does.

use ::p521::ecdsa::signature::hazmat::PrehashVerifier as _;
use p521::ecdsa::{Signature, VerifyingKey};
use rustls::{
    SignatureScheme,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring},
    pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id},
};
use sha2::{Digest as _, Sha384, Sha512};

type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// ring's cryptography, and P-521 for certificates and handshakes.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let WebPkiSupportedAlgorithms { all, mapping } = provider.signature_verification_algorithms;
    let all: Vec<_> = all.iter().copied().chain(CERTIFICATES).collect();
    let handshake: (_, Algorithms) = (SignatureScheme::ECDSA_NISTP521_SHA512, &HANDSHAKE);
    let mapping: Vec<_> = mapping.iter().copied().chain([handshake]).collect();
    // Two short lists, once or twice in the life of a process.
    provider.signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: all.leak(), mapping: mapping.leak() };
    provider
}

#[derive(Debug)]
struct P521 {
    signature: AlgorithmIdentifier,
    hash: fn(&[u8]) -> Vec<u8>,
}

static CERTIFICATES: [&dyn SignatureVerificationAlgorithm; 2] = [&SHA512, &SHA384];
static HANDSHAKE: [&dyn SignatureVerificationAlgorithm; 1] = [&SHA512];

static SHA512: P521 =
    P521 { signature: alg_id::ECDSA_SHA512, hash: |message| Sha512::digest(message).to_vec() };
static SHA384: P521 =
    P521 { signature: alg_id::ECDSA_SHA384, hash: |message| Sha384::digest(message).to_vec() };

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify_prehash(&(self.hash)(message), &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}
