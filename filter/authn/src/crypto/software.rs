//! Verification in software: RSA by superboring, P-256 and P-384 by the key types of jwt-simple, P-521 and ML-DSA by RustCrypto.
//!
//! Of jwt-simple only the keys are used, never its tokens: it has claim checks of its own, which are not kube-apiserver's.
//! RSA goes to its backend superboring directly, because jwt-simple's own key type takes no public exponent but 65537.

use std::fmt;

use jwt_simple::algorithms::{P256PublicKey, P384PublicKey};
use ml_dsa::{EncodedVerifyingKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, VerifyingKey};
use p256::ecdsa::signature::Verifier as _;
use superboring::{
    bn::BigNum,
    hash::MessageDigest,
    pkey::{PKey, Public},
    rsa::{Padding, Rsa},
    sign::Verifier as RsaVerifier,
};

use super::{Algorithm, CryptoError, Family, Hash, SignatureVerifier};
use crate::{jwk::PublicKey, key_kind::KeyKind};

/// Checks signatures of all algorithms without any host.
///
/// Two limits against kube-apiserver: RSA keys longer than 4096 bits are [`CryptoError::Unsupported`], and PSS salts must
/// have the length of the hash, as RFC 7518 demands.
#[derive(Debug, Clone, Copy, Default)]
pub struct SoftwareVerifier;

impl SignatureVerifier for SoftwareVerifier {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        let unsupported = || CryptoError::Unsupported { algorithm, key: key.kind() };
        match key.software().ok_or_else(unsupported)? {
            SoftwareKey::Rsa(rsa) => verify_rsa(algorithm, rsa, signing_input, signature),
            SoftwareKey::P256(key) => Ok(p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.as_ref().verify(signing_input, &signature).is_ok())),
            SoftwareKey::P384(key) => Ok(p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.as_ref().verify(signing_input, &signature).is_ok())),
            SoftwareKey::P521(key) => Ok(p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signing_input, &signature).is_ok())),
            SoftwareKey::MlDsa44(key) => {
                Ok(verify_ml_dsa::<MlDsa44>(key, signing_input, signature))
            }
            SoftwareKey::MlDsa65(key) => {
                Ok(verify_ml_dsa::<MlDsa65>(key, signing_input, signature))
            }
            SoftwareKey::MlDsa87(key) => {
                Ok(verify_ml_dsa::<MlDsa87>(key, signing_input, signature))
            }
        }
    }
}

fn verify_rsa(
    algorithm: Algorithm,
    key: &PKey<Public>,
    signing_input: &[u8],
    signature: &[u8],
) -> Result<bool, CryptoError> {
    let failed = |error: superboring::error::ErrorStack| CryptoError::Failed(error.to_string());
    let padding = match algorithm.family() {
        Family::RsaPss => Padding::PKCS1_PSS,
        Family::RsaPkcs1 => Padding::PKCS1,
        Family::Ecdsa | Family::MlDsa => return Ok(false),
    };
    let digest = match algorithm.hash() {
        Some(Hash::Sha256) => MessageDigest::sha256(),
        Some(Hash::Sha384) => MessageDigest::sha384(),
        Some(Hash::Sha512) => MessageDigest::sha512(),
        None => return Ok(false),
    };
    let mut verifier = RsaVerifier::new(digest, key).map_err(failed)?;
    verifier.set_rsa_padding(padding).map_err(failed)?;
    verifier.update(signing_input).map_err(failed)?;
    // A signature that does not verify is an error of the library, so nothing can be told apart here.
    Ok(verifier.verify(signature).unwrap_or(false))
}

fn verify_ml_dsa<P: MlDsaParams>(
    key: &EncodedVerifyingKey<P>,
    signing_input: &[u8],
    signature: &[u8],
) -> bool {
    let key = VerifyingKey::<P>::decode(key);
    ml_dsa::Signature::try_from(signature)
        .is_ok_and(|signature| key.verify(signing_input, &signature).is_ok())
}

/// A public key in the form the libraries work with.
pub(crate) enum SoftwareKey {
    Rsa(PKey<Public>),
    P256(P256PublicKey),
    P384(P384PublicKey),
    P521(p521::ecdsa::VerifyingKey),
    // As published: expanded it has up to 70 KB, of which a set of a thousand keys would be 70 MB in each worker. To expand it is a
    // part of each check's time.
    MlDsa44(Box<EncodedVerifyingKey<MlDsa44>>),
    MlDsa65(Box<EncodedVerifyingKey<MlDsa65>>),
    MlDsa87(Box<EncodedVerifyingKey<MlDsa87>>),
}

impl SoftwareKey {
    /// An RSA key from its big-endian numbers, or `None` if the library does not take it (more than 4096 bits).
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let modulus = BigNum::from_slice(modulus).ok()?;
        let exponent = BigNum::from_slice(exponent).ok()?;
        let key = Rsa::from_public_components(modulus, exponent).ok()?;
        Some(Self::Rsa(PKey::from_rsa(key).ok()?))
    }

    /// A key on one of the NIST curves from its uncompressed point, or `None` if the point is not on the curve.
    pub(crate) fn nist(kind: KeyKind, point: &[u8]) -> Option<Self> {
        match kind {
            KeyKind::Rsa { .. } | KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => None,
            KeyKind::P256 => P256PublicKey::from_bytes(point).ok().map(Self::P256),
            KeyKind::P384 => P384PublicKey::from_bytes(point).ok().map(Self::P384),
            KeyKind::P521 => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
                Some(Self::P521(key))
            }
        }
    }

    /// An ML-DSA key as FIPS 204 encodes it, or `None` if it does not have the length of its kind.
    pub(crate) fn ml_dsa(kind: KeyKind, encoded: &[u8]) -> Option<Self> {
        match kind {
            KeyKind::MlDsa44 => Some(Self::MlDsa44(Box::new(encoded.try_into().ok()?))),
            KeyKind::MlDsa65 => Some(Self::MlDsa65(Box::new(encoded.try_into().ok()?))),
            KeyKind::MlDsa87 => Some(Self::MlDsa87(Box::new(encoded.try_into().ok()?))),
            KeyKind::Rsa { .. } | KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => None,
        }
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareKey")
    }
}
