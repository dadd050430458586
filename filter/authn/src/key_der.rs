//! Public keys as DER `SubjectPublicKeyInfo` (RFC 3279, RFC 5480, RFC 9881), the form in which BoringSSL takes them.

use der::{
    Encode,
    asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef},
};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::key_kind::KeyKind;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// An RSA key from its big-endian numbers.
pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> der::Result<Vec<u8>> {
    let key = pkcs1::RsaPublicKey {
        modulus: UintRef::new(modulus)?,
        public_exponent: UintRef::new(exponent)?,
    };
    key_info(RSA_ENCRYPTION, Some(AnyRef::NULL), &key.to_der()?)
}

/// A key on a NIST curve from its uncompressed point.
pub(crate) fn nist(kind: KeyKind, point: &[u8]) -> der::Result<Vec<u8>> {
    let curve = match kind {
        KeyKind::P256 => P256,
        KeyKind::P384 => P384,
        KeyKind::P521 => P521,
        _ => return Err(der::ErrorKind::Failed.into()),
    };
    key_info(EC_PUBLIC_KEY, Some(AnyRef::from(&curve)), point)
}

/// An ML-DSA key as FIPS 204 encodes it.
pub(crate) fn ml_dsa(kind: KeyKind, encoded: &[u8]) -> der::Result<Vec<u8>> {
    let oid = match kind {
        KeyKind::MlDsa44 => ML_DSA_44,
        KeyKind::MlDsa65 => ML_DSA_65,
        KeyKind::MlDsa87 => ML_DSA_87,
        _ => return Err(der::ErrorKind::Failed.into()),
    };
    key_info(oid, None, encoded)
}

fn key_info(
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'_>>,
    key: &[u8],
) -> der::Result<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid, parameters },
        subject_public_key: BitStringRef::from_bytes(key)?,
    };
    info.to_der()
}
