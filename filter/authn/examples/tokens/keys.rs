//! The keys that sign, and the key sets in which issuers publish them. All keys are for these tests alone.

use fastrand::Rng;
use kube_authn::crypto::{Algorithm, Family, Hash};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use rsa::sha2::{Digest, Sha256, Sha384, Sha512};
use rsa::{
    Pkcs1v15Sign, Pss, RsaPrivateKey,
    pkcs1::DecodeRsaPrivateKey,
    traits::{PrivateKeyParts, PublicKeyParts},
};
use serde_json::{Value, json};

use crate::encode;

/// The keys by their `kid`.
pub struct Keys {
    rsa: RsaPrivateKey,
    other: RsaPrivateKey,
    short: RsaPrivateKey,
}

/// The `kid` of each key, and the algorithm that fits it best. `other` and `ec-other` are in no key set.
pub const KEYS: [(&str, Algorithm); 7] = [
    ("ec-256", Algorithm::Es256),
    ("rsa", Algorithm::Rs256),
    ("ec-384", Algorithm::Es384),
    ("ec-521", Algorithm::Es512),
    ("short", Algorithm::Rs256),
    ("other", Algorithm::Rs256),
    ("ec-other", Algorithm::Es256),
];

impl Keys {
    pub fn new() -> Self {
        let read = |pem| RsaPrivateKey::from_pkcs1_pem(pem).expect("a key in PKCS #1");
        Self {
            rsa: read(include_str!("rsa.pem")),
            other: read(include_str!("other.pem")),
            short: read(include_str!("short.pem")),
        }
    }

    /// A signature by the key called `kid`, or `None` if the key cannot sign so. On a curve that is not the algorithm's
    /// both numbers get the length that the algorithm's have.
    pub fn sign(&self, kid: &str, by: Algorithm, input: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
        let hash = by.hash()?;
        let digest = digest(hash, input);
        if let Some(key) = self.rsa(kid) {
            let mut rng = Randomness(rng);
            return match by.family() {
                Family::RsaPkcs1 => key.sign(pkcs1(hash), &digest).ok(),
                Family::RsaPss => key.sign_with_rng(&mut rng, pss(hash), &digest).ok(),
                Family::Ecdsa | Family::MlDsa => None,
            };
        }
        if by.family() != Family::Ecdsa {
            return None;
        }
        let signature = match kid {
            "ec-384" => {
                let signature: p384::ecdsa::Signature = p384().sign_prehash(&digest).ok()?;
                signature.to_bytes().to_vec()
            }
            "ec-521" => {
                let signature: p521::ecdsa::Signature = p521().sign_prehash(&digest).ok()?;
                signature.to_bytes().to_vec()
            }
            _ => {
                let signature: p256::ecdsa::Signature = p256(kid).sign_prehash(&digest).ok()?;
                signature.to_bytes().to_vec()
            }
        };
        let (r, s) = signature.split_at(signature.len() / 2);
        let length: usize = match by {
            Algorithm::Es384 => 48,
            Algorithm::Es512 => 66,
            _ => 32,
        };
        let padded = |number: &[u8]| {
            [vec![0; length.saturating_sub(number.len())], number.to_vec()].concat()
        };
        Some([padded(r), padded(s)].concat())
    }

    /// A signature with RSASSA-PSS whose salt does not have the length of the hash.
    pub fn sign_with_short_salt(&self, input: &[u8], rng: &mut Rng) -> Vec<u8> {
        let padding = Pss::new_with_salt::<Sha256>(8);
        self.rsa
            .sign_with_rng(&mut Randomness(rng), padding, &digest(Hash::Sha256, input))
            .expect("RSA signs")
    }

    /// The public key called `kid` as a JWK.
    pub fn jwk(&self, kid: &str) -> Value {
        let point = |name: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            json!({"kty": "EC", "crv": name, "kid": kid, "x": encode(x), "y": encode(y)})
        };
        match (self.rsa(kid), kid) {
            (Some(key), _) => json!({
                "kty": "RSA", "kid": kid, "use": "sig",
                "n": encode(&key.n().to_bytes_be()), "e": encode(&key.e().to_bytes_be()),
            }),
            (None, "ec-384") => {
                point("P-384", p384().verifying_key().to_sec1_point(false).as_bytes())
            }
            (None, "ec-521") => {
                point("P-521", p521().verifying_key().to_sec1_point(false).as_bytes())
            }
            (None, _) => point("P-256", p256(kid).verifying_key().to_sec1_point(false).as_bytes()),
        }
    }

    /// The key `other` with its secret.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.jwk("other");
        jwk["d"] = encode(&self.other.d().to_bytes_be()).into();
        for (name, prime) in ["p", "q"].into_iter().zip(self.other.primes()) {
            jwk[name] = encode(&prime.to_bytes_be()).into();
        }
        jwk
    }

    /// What an issuer publishes: its kind's name and the document.
    pub fn set(&self, kind: &str) -> String {
        let mut keys: Vec<Value> =
            ["ec-256", "rsa", "ec-384", "ec-521", "short"].map(|kid| self.jwk(kid)).into();
        match kind {
            "without kid" => keys.iter_mut().for_each(|key| {
                key.as_object_mut().expect("an object").remove("kid");
            }),
            "one kid" => keys.iter_mut().for_each(|key| key["kid"] = "k".into()),
            "other use and alg" => keys.iter_mut().for_each(|key| {
                key["use"] = "enc".into();
                key["alg"] = "HS256".into();
            }),
            "unknown curve" => {
                keys.push(json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}));
            }
            "unknown type" => {
                keys.insert(0, json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}));
            }
            "secrets" => keys
                .extend([json!({"kty": "oct", "kid": "mac", "k": "c2VjcmV0"}), self.private_jwk()]),
            "empty" => keys.clear(),
            "no JSON" => return "<html>".to_owned(),
            _ => {}
        }
        json!({ "keys": keys }).to_string()
    }

    fn rsa(&self, kid: &str) -> Option<&RsaPrivateKey> {
        match kid {
            "rsa" => Some(&self.rsa),
            "other" => Some(&self.other),
            "short" => Some(&self.short),
            _ => None,
        }
    }
}

fn p256(kid: &str) -> p256::ecdsa::SigningKey {
    let scalar = if kid == "ec-256" { [7; 32] } else { [8; 32] };
    p256::ecdsa::SigningKey::from_slice(&scalar).expect("a scalar")
}

fn p384() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[7; 48]).expect("a scalar")
}

fn p521() -> p521::ecdsa::SigningKey {
    p521::ecdsa::SigningKey::from_slice(&[&[0; 2][..], &[7; 64]].concat()).expect("a scalar")
}

fn digest(hash: Hash, input: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha256 => Sha256::digest(input).to_vec(),
        Hash::Sha384 => Sha384::digest(input).to_vec(),
        Hash::Sha512 => Sha512::digest(input).to_vec(),
    }
}

fn pkcs1(hash: Hash) -> Pkcs1v15Sign {
    match hash {
        Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    }
}

fn pss(hash: Hash) -> Pss {
    match hash {
        Hash::Sha256 => Pss::new::<Sha256>(),
        Hash::Sha384 => Pss::new::<Sha384>(),
        Hash::Sha512 => Pss::new::<Sha512>(),
    }
}

/// The seeded generator where a library asks for randomness: a salt, which the same seed must make again.
struct Randomness<'a>(&'a mut Rng);

impl rsa::rand_core::RngCore for Randomness<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.u32(..)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Randomness<'_> {}
