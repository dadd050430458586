//! One private key with its key id, and what it signs.

use ml_dsa::{B32, MlDsa44, MlDsa65, MlDsa87, MlDsaParams};
use p521::ecdsa::signature::Signer;
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair},
};
use rsa::{pkcs1::EncodeRsaPublicKey, pkcs8::DecodePrivateKey, traits::PublicKeyParts};
use serde_json::{Map, Value, json};

use super::{
    algorithm::{Algorithm, KeyKind},
    public_key::PublicKey,
    rsa_keys::{self, RsaKeys},
};
use crate::encoding::{random_bytes, random_id};

/// A private key that an issuer signs with.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    private: Private,
    public: PublicKey,
    /// Members of the JWK that differ; null leaves one out.
    members: Map<String, Value>,
}

enum Private {
    Rsa(RsaKeyPair),
    ShortRsa(Box<rsa::RsaPrivateKey>),
    Ec(EcdsaKeyPair),
    P521(Box<p521::ecdsa::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
    MlDsa65(Box<ml_dsa::SigningKey<MlDsa65>>),
    MlDsa87(Box<ml_dsa::SigningKey<MlDsa87>>),
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
            KeyKind::P256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            KeyKind::P384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            KeyKind::P521 => p521(),
            KeyKind::MlDsa44 => ml_dsa(algorithm, Private::MlDsa44),
            KeyKind::MlDsa65 => ml_dsa(algorithm, Private::MlDsa65),
            KeyKind::MlDsa87 => ml_dsa(algorithm, Private::MlDsa87),
        };
        Self { kid: random_id(), algorithm, private, public, members: Map::new() }
    }

    /// An RS256 key of 1024 bits, which verifiers should refuse for its length.
    ///
    /// # Panics
    /// Never: the key is part of this crate.
    #[must_use]
    pub fn short_rsa() -> Self {
        let key = rsa::RsaPrivateKey::from_pkcs8_der(rsa_keys::short().secret_pkcs8_der())
            .expect("our own test key");
        let encoded = key.to_public_key().to_pkcs1_der().expect("a public key always encodes");
        let public =
            PublicKey::rsa(&key.n().to_bytes_be(), &key.e().to_bytes_be(), encoded.as_bytes());
        let private = Private::ShortRsa(Box::new(key));
        Self { kid: random_id(), algorithm: Algorithm::Rs256, private, public, members: Map::new() }
    }

    /// The same key under a key id of your choice.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self
    }

    /// The same key with this member in its JWK, whatever it was: another `use`, no `alg`. Null leaves it out.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
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
        self.signature(self.algorithm, message)
    }

    /// The same by another algorithm, or `None` if the key is not of its kind. The short RSA key signs RS256 only.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn sign_as(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let fits = match self.private {
            Private::ShortRsa(_) => algorithm == self.algorithm,
            _ => algorithm.key_kind() == self.algorithm.key_kind(),
        };
        fits.then(|| self.signature(algorithm, message))
    }

    fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(key) => {
                let mut signed = vec![0; key.public().modulus_len()];
                key.sign(rsa_padding(algorithm), &random, message, &mut signed)
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
            Private::MlDsa44(key) => key.sign(message).encode().to_vec(),
            Private::MlDsa65(key) => key.sign(message).encode().to_vec(),
            Private::MlDsa87(key) => key.sign(message).encode().to_vec(),
        }
    }

    /// The public key as it stands in a key set, with `kid`, `alg` and `use`.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.jwk();
        jwk.insert("kid".to_owned(), json!(self.kid));
        jwk.insert("alg".to_owned(), json!(self.algorithm));
        jwk.insert("use".to_owned(), json!("sig"));
        jwk.extend(self.members.clone());
        jwk.retain(|_, value| !value.is_null());
        Value::Object(jwk)
    }

    /// The public key in its other forms.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

fn rsa_pair(key: RsaKeyPair) -> (Private, PublicKey) {
    let numbers = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
    let public = PublicKey::rsa(&numbers.n, &numbers.e, key.public().as_ref());
    (Private::Rsa(key), public)
}

fn ec(
    algorithm: &'static signature::EcdsaSigningAlgorithm,
    curve: &'static str,
) -> (Private, PublicKey) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("randomness");
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("just made");
    let public = PublicKey::ec(curve, key.public_key().as_ref());
    (Private::Ec(key), public)
}

fn p521() -> (Private, PublicKey) {
    // The leading byte stays zero, so that the number is below the group's order (2^521 less a little).
    let mut scalar = [0; 66];
    scalar[1..].copy_from_slice(&random_bytes::<65>());
    let key = p521::ecdsa::SigningKey::from_slice(&scalar).expect("not zero and below the order");
    let point = p521::ecdsa::VerifyingKey::from(&key).to_sec1_point(false);
    (Private::P521(Box::new(key)), PublicKey::ec("P-521", point.as_bytes()))
}

fn ml_dsa<P: MlDsaParams>(
    algorithm: Algorithm,
    private: impl FnOnce(Box<ml_dsa::SigningKey<P>>) -> Private,
) -> (Private, PublicKey) {
    let key = ml_dsa::SigningKey::<P>::from_seed(&B32::from(random_bytes::<32>()));
    let public = key.expanded_key().verifying_key().encode();
    (private(Box::new(key)), PublicKey::ml_dsa(algorithm, &public))
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
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    fn number(key: &SigningKey, name: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(key.jwk()[name].as_str().unwrap()).unwrap()
    }

    fn ml_dsa<P: MlDsaParams>(key: &SigningKey, signed: &[u8]) -> bool {
        use p521::ecdsa::signature::Verifier;
        let encoded = number(key, "pub");
        let public = ml_dsa::VerifyingKey::<P>::decode(&encoded.as_slice().try_into().unwrap());
        let signature = ml_dsa::Signature::try_from(signed).unwrap();
        public.verify(b"message", &signature).is_ok()
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
                Algorithm::MlDsa44 => ml_dsa::<MlDsa44>(&key, &signed),
                Algorithm::MlDsa65 => ml_dsa::<MlDsa65>(&key, &signed),
                Algorithm::MlDsa87 => ml_dsa::<MlDsa87>(&key, &signed),
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
            assert_ne!(one.public_key().der(), stranger.public_key().der(), "{algorithm}");
            assert_ne!(one.kid(), other.kid(), "{algorithm}");
            assert_ne!(one.public_key().der(), other.public_key().der(), "{algorithm}");
        }
    }

    #[test]
    fn the_rsa_stranger_is_always_the_same() {
        let public = || SigningKey::stranger(Algorithm::Rs256).public_key().der();
        assert_eq!(public(), public());
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
    fn a_key_signs_by_the_algorithms_of_its_kind() {
        let rsa = generate(Algorithm::Rs256);
        for (algorithm, want) in Algorithm::ALL.map(|a| (a, a.key_kind() == KeyKind::Rsa)) {
            assert_eq!(rsa.sign_as(algorithm, b"message").is_some(), want, "{algorithm}");
        }
        assert!(generate(Algorithm::Es256).sign_as(Algorithm::Es384, b"message").is_none());
        assert!(SigningKey::short_rsa().sign_as(Algorithm::Ps512, b"message").is_none());
    }

    #[test]
    fn members_of_the_jwk_are_changed_and_left_out() {
        let key =
            generate(Algorithm::Es256).with_member("use", "enc").with_member("alg", Value::Null);
        let jwk = key.jwk();
        assert_eq!(jwk["use"], "enc");
        assert!(jwk.get("alg").is_none());
        assert_eq!(jwk["kid"], key.kid());
    }

    #[test]
    fn public_keys_are_read_back_by_others() {
        let key = generate(Algorithm::Rs256);
        let pem = key.public_key().pem();
        let read: rsa::RsaPublicKey =
            rsa::pkcs8::DecodePublicKey::from_public_key_pem(&pem).unwrap();
        assert_eq!(read.n().to_bytes_be(), number(&key, "n"));
        let key = generate(Algorithm::Es512);
        let der = key.public_key().der();
        let read: p521::PublicKey =
            p521::pkcs8::DecodePublicKey::from_public_key_der(&der).unwrap();
        assert_eq!(read.to_sec1_bytes()[1..67], number(&key, "x"));
    }
}
