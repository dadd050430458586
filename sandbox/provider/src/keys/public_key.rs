//! A public key as JWK (RFC 7517, RFC 7518 section 6, RFC 9964 section 3), `SubjectPublicKeyInfo` and PEM.

use serde_json::{Map, Value};
use spki::{
    AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned,
    der::{
        Any, Encode, EncodePem,
        asn1::{BitString, Null},
        pem::LineEnding,
    },
};

use super::algorithm::Algorithm;
use crate::encoding::base64url;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The public half of a signing key.
pub struct PublicKey {
    /// The members that make it what it is: `kty`, and `n` and `e`, or `crv`, `x` and `y`, or `pub`.
    jwk: Vec<(&'static str, String)>,
    /// The modulus, or x and y, or all there is.
    numbers: Vec<u8>,
    spki: SubjectPublicKeyInfoOwned,
}

impl PublicKey {
    /// `encoded` is the DER of PKCS#1's `RSAPublicKey`.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8], encoded: &[u8]) -> Self {
        let jwk =
            vec![("kty", "RSA".to_owned()), ("n", base64url(modulus)), ("e", base64url(exponent))];
        Self {
            jwk,
            numbers: modulus.to_vec(),
            spki: spki(RSA_ENCRYPTION, Some(Null.into()), encoded),
        }
    }

    /// `point` is uncompressed: the byte 4, then x and y of the same length.
    pub(super) fn ec(curve: &'static str, point: &[u8]) -> Self {
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let jwk = vec![
            ("kty", "EC".to_owned()),
            ("crv", curve.to_owned()),
            ("x", base64url(x)),
            ("y", base64url(y)),
        ];
        let spki = spki(EC_PUBLIC_KEY, Some(Any::from(oid(curve))), point);
        Self { jwk, numbers: point[1..].to_vec(), spki }
    }

    /// `encoded` is what FIPS 204 makes of the key for this algorithm.
    pub(super) fn ml_dsa(algorithm: Algorithm, encoded: &[u8]) -> Self {
        let jwk = vec![("kty", "AKP".to_owned()), ("pub", base64url(encoded))];
        let spki = spki(ml_dsa_oid(algorithm), None, encoded);
        Self { jwk, numbers: encoded.to_vec(), spki }
    }

    pub(super) fn jwk(&self) -> Map<String, Value> {
        self.jwk.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect()
    }

    /// The modulus of an RSA key, x and y of an elliptic one, big-endian; the encoded key of ML-DSA.
    #[must_use]
    pub fn numbers(&self) -> &[u8] {
        &self.numbers
    }

    /// DER of `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
    ///
    /// # Panics
    /// Never: every key that was made can be encoded.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        self.spki.to_der().expect("a public key always encodes")
    }

    /// The same as PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Panics
    /// Never: every key that was made can be encoded.
    #[must_use]
    pub fn pem(&self) -> String {
        self.spki.to_pem(LineEnding::LF).expect("a public key always encodes")
    }
}

fn oid(curve: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(match curve {
        "P-256" => "1.2.840.10045.3.1.7",
        "P-384" => "1.3.132.0.34",
        _ => "1.3.132.0.35",
    })
}

/// RFC 9881, section 2
fn ml_dsa_oid(algorithm: Algorithm) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(match algorithm {
        Algorithm::MlDsa65 => "2.16.840.1.101.3.4.3.18",
        Algorithm::MlDsa87 => "2.16.840.1.101.3.4.3.19",
        _ => "2.16.840.1.101.3.4.3.17",
    })
}

fn spki(oid: ObjectIdentifier, parameters: Option<Any>, bits: &[u8]) -> SubjectPublicKeyInfoOwned {
    SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned { oid, parameters },
        subject_public_key: BitString::from_bytes(bits).expect("short enough for DER"),
    }
}
