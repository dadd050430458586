//! One private key with its key id and its public half as JWK (RFC 7517, RFC 7518 section 6), SPKI and PEM.

use p521::ecdsa::signature::Signer;
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair},
};
use rsa::{pkcs8::DecodePrivateKey, traits::PublicKeyParts};
use serde_json::{Value, json};
use spki::{
    AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned,
    der::{
        Any, Encode, EncodePem,
        asn1::{BitString, Null},
        pem::LineEnding,
    },
};

use super::{
    algorithm::{Algorithm, KeyKind},
    rsa_keys::{self, RsaKeys},
};
use crate::encoding::{base64url, random_bytes, random_id};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A private key that an issuer signs with.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    private: Private,
    public: Public,
}

enum Private {
    Rsa(RsaKeyPair),
    ShortRsa(Box<rsa::RsaPrivateKey>),
    Ec(EcdsaKeyPair),
    P521(Box<p521::ecdsa::SigningKey>),
}

/// The public half, as the numbers of a JWK and the bytes of a `subjectPublicKey`.
struct Public {
    jwk: Value,
    algorithm: AlgorithmIdentifierOwned,
    bits: Vec<u8>,
}

impl SigningKey {
    /// A new key for `algorithm` under a random key id.
    pub(crate) fn generate(algorithm: Algorithm, rsa: &RsaKeys) -> Self {
        Self::of(algorithm, || rsa.next())
    }

    /// A key for `algorithm` that no issuer has.
    pub(crate) fn stranger(algorithm: Algorithm) -> Self {
        Self::of(algorithm, rsa_keys::stranger)
    }

    fn of(algorithm: Algorithm, rsa: impl FnOnce() -> RsaKeyPair) -> Self {
        let (private, public) = match algorithm.key_kind() {
            KeyKind::Rsa => rsa_pair(rsa()),
            KeyKind::P256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", SECP256R1),
            KeyKind::P384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", SECP384R1),
            KeyKind::P521 => p521(),
        };
        Self { kid: random_id(), algorithm, private, public }
    }

    /// An RS256 key of 1024 bits, which verifiers should refuse for its length.
    ///
    /// # Panics
    /// Never: the key is part of this crate.
    #[must_use]
    pub fn short_rsa() -> Self {
        let key = rsa::RsaPrivateKey::from_pkcs8_der(rsa_keys::short().secret_pkcs8_der())
            .expect("our own test key");
        let public = rsa_public(
            &key.n().to_bytes_be(),
            &key.e().to_bytes_be(),
            rsa::pkcs1::EncodeRsaPublicKey::to_pkcs1_der(&key.to_public_key())
                .expect("a public key always encodes")
                .into_vec(),
        );
        let private = Private::ShortRsa(Box::new(key));
        Self { kid: random_id(), algorithm: Algorithm::Rs256, private, public }
    }

    /// The same key under a key id of your choice.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self
    }

    /// The key id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm it is published for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The signature over `message`, in the form JWS wants it (for ECDSA: r and s side by side).
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(key) => {
                let mut signed = vec![0; key.public().modulus_len()];
                key.sign(rsa_padding(self.algorithm), &random, message, &mut signed)
                    .expect("an RSA key of 2048 bits signs any message");
                signed
            }
            Private::ShortRsa(key) => {
                let digest = ring::digest::digest(&ring::digest::SHA256, message);
                key.sign(rsa::Pkcs1v15Sign::new::<rsa::sha2::Sha256>(), digest.as_ref())
                    .expect("1024 bits hold a SHA-256 digest")
            }
            Private::Ec(key) => {
                key.sign(&random, message).expect("ECDSA signs any message").as_ref().to_vec()
            }
            Private::P521(key) => {
                let signed: p521::ecdsa::Signature = key.sign(message);
                signed.to_bytes().to_vec()
            }
        }
    }

    /// The public key as it stands in a key set, with `kid`, `alg` and `use`.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.jwk.clone();
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public key as DER-encoded `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
    ///
    /// # Panics
    /// Never: every key that was made can be encoded.
    #[must_use]
    pub fn public_key_der(&self) -> Vec<u8> {
        self.public.spki().to_der().expect("a public key always encodes")
    }

    /// The public key as PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Panics
    /// Never: every key that was made can be encoded.
    #[must_use]
    pub fn public_key_pem(&self) -> String {
        self.public.spki().to_pem(LineEnding::LF).expect("a public key always encodes")
    }
}

impl Public {
    fn spki(&self) -> SubjectPublicKeyInfoOwned {
        SubjectPublicKeyInfoOwned {
            algorithm: self.algorithm.clone(),
            subject_public_key: BitString::from_bytes(&self.bits).expect("short enough for DER"),
        }
    }
}

fn rsa_pair(key: RsaKeyPair) -> (Private, Public) {
    let numbers = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
    let public = rsa_public(&numbers.n, &numbers.e, key.public().as_ref().to_vec());
    (Private::Rsa(key), public)
}

fn rsa_public(modulus: &[u8], exponent: &[u8], bits: Vec<u8>) -> Public {
    Public {
        jwk: json!({"kty": "RSA", "n": base64url(modulus), "e": base64url(exponent)}),
        algorithm: AlgorithmIdentifierOwned { oid: RSA_ENCRYPTION, parameters: Some(Null.into()) },
        bits,
    }
}

fn ec(
    algorithm: &'static signature::EcdsaSigningAlgorithm,
    curve: &str,
    oid: ObjectIdentifier,
) -> (Private, Public) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("randomness");
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("just made");
    let public = ec_public(curve, oid, key.public_key().as_ref());
    (Private::Ec(key), public)
}

fn p521() -> (Private, Public) {
    // The leading byte stays zero, so that the number is below the group's order (2^521 less a little).
    let mut scalar = [0; 66];
    scalar[1..].copy_from_slice(&random_bytes::<65>());
    let key = p521::ecdsa::SigningKey::from_slice(&scalar).expect("not zero and below the order");
    let point = p521::ecdsa::VerifyingKey::from(&key).to_encoded_point(false);
    (Private::P521(Box::new(key)), ec_public("P-521", SECP521R1, point.as_bytes()))
}

/// `point` is uncompressed: the byte 4, then x and y of the same length.
fn ec_public(curve: &str, oid: ObjectIdentifier, point: &[u8]) -> Public {
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    Public {
        jwk: json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)}),
        algorithm: AlgorithmIdentifierOwned {
            oid: EC_PUBLIC_KEY,
            parameters: Some(Any::from(oid)),
        },
        bits: point.to_vec(),
    }
}

fn rsa_padding(algorithm: Algorithm) -> &'static dyn signature::RsaEncoding {
    match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;
    use crate::encoding::decode_base64url;

    fn number(key: &SigningKey, name: &str) -> Vec<u8> {
        decode_base64url(key.jwk()[name].as_str().unwrap()).unwrap()
    }

    fn generate(algorithm: Algorithm) -> SigningKey {
        SigningKey::generate(algorithm, &RsaKeys::default())
    }

    #[test]
    fn signatures_verify_with_the_published_numbers() {
        for algorithm in Algorithm::ALL {
            let key = generate(algorithm);
            let signed = key.sign(b"message");
            let rsa = |parameters| {
                RsaPublicKeyComponents { n: number(&key, "n"), e: number(&key, "e") }
                    .verify(parameters, b"message", &signed)
                    .is_ok()
            };
            let point = || [vec![4], number(&key, "x"), number(&key, "y")].concat();
            let ec = |parameters: &'static dyn VerificationAlgorithm| {
                UnparsedPublicKey::new(parameters, point()).verify(b"message", &signed).is_ok()
            };
            let verified = match algorithm {
                Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
                Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
                Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
                Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
                Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
                Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
                Algorithm::Es256 => ec(&signature::ECDSA_P256_SHA256_FIXED),
                Algorithm::Es384 => ec(&signature::ECDSA_P384_SHA384_FIXED),
                Algorithm::Es512 => {
                    use p521::ecdsa::signature::Verifier;
                    let signature = p521::ecdsa::Signature::from_slice(&signed).unwrap();
                    p521::ecdsa::VerifyingKey::from_sec1_bytes(&point())
                        .unwrap()
                        .verify(b"message", &signature)
                        .is_ok()
                }
            };
            assert!(verified, "{algorithm}");
        }
    }

    #[test]
    fn new_keys_differ() {
        for algorithm in Algorithm::ALL {
            let (one, other) = (generate(algorithm), generate(algorithm));
            let stranger = SigningKey::stranger(algorithm);
            assert_ne!(one.public_key_der(), stranger.public_key_der(), "{algorithm}");
            assert_ne!(one.kid(), other.kid(), "{algorithm}");
            assert_ne!(one.public_key_der(), other.public_key_der(), "{algorithm}");
        }
    }

    #[test]
    fn the_short_key_has_1024_bits_and_signs() {
        let key = SigningKey::short_rsa();
        assert_eq!(number(&key, "n").len() * 8, 1024);
        let verified = RsaPublicKeyComponents { n: number(&key, "n"), e: number(&key, "e") }
            .verify(
                &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                b"message",
                &key.sign(b"message"),
            );
        assert!(verified.is_ok());
    }

    #[test]
    fn public_keys_are_read_back_by_others() {
        use rsa::pkcs8::DecodePublicKey;
        let key = generate(Algorithm::Rs256);
        let read = rsa::RsaPublicKey::from_public_key_pem(&key.public_key_pem()).unwrap();
        assert_eq!(read.n().to_bytes_be(), number(&key, "n"));
        let key = generate(Algorithm::Es512);
        let read = p521::PublicKey::from_public_key_der(&key.public_key_der()).unwrap();
        assert_eq!(read.to_sec1_bytes()[1..67], number(&key, "x"));
    }
}
