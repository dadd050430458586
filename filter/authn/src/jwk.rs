//! A single JSON Web Key (RFC 7517) as go-jose v2 reads it: member names are case-sensitive, a duplicate member spoils it,
//! base64url may be lax. The same rules hold for a key in a key set and for one embedded in a token's header.

mod chain;
mod parse;

use std::sync::Arc;

use kube_rules::{Difference, Rules};

use crate::{
    crypto::{Algorithm, Family, SoftwareKey},
    key_der,
    key_kind::KeyKind,
    x509::MalformedCertificate,
};

/// RSA keys below this length are skipped (a deliberate difference); above the other one no verifier takes them.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a key is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// The entry is no JSON object.
    #[error("not an object")]
    NotAnObject,
    /// A member stands twice.
    #[error("duplicate member")]
    DuplicateMember,
    /// A member has the wrong JSON type or is not base64url.
    #[error("member {0:?} is malformed")]
    Malformed(&'static str),
    /// A member that the key type needs is missing.
    #[error("member {0:?} is missing")]
    Missing(&'static str),
    /// A coordinate is not as long as its curve's.
    #[error("member {0:?} has the wrong length")]
    Length(&'static str),
    /// A `kty` other than EC, RSA, OKP and oct; AKP is known since 1.38.
    #[error("unknown json web key type '{0}'")]
    UnknownType(String),
    /// A curve that no algorithm here uses.
    #[error("unsupported elliptic curve '{0}'")]
    UnknownCurve(String),
    /// The point is not on its curve.
    #[error("invalid point on curve {0}")]
    InvalidPoint(KeyKind),
    /// The RSA modulus is too short or too long.
    #[error("RSA modulus of {0} bits")]
    ModulusLength(usize),
    /// The RSA modulus is even, or the exponent is even, below 3 or above 2^31 - 1.
    #[error("invalid RSA modulus or exponent")]
    InvalidRsa,
    /// An Ed25519 key: no algorithm here uses it.
    #[error("Ed25519 keys verify none of the supported algorithms")]
    Ed25519,
    /// A symmetric key.
    #[error("symmetric key")]
    Symmetric,
    /// A member that upstream's library cannot read, whatever its value.
    #[error("member \"x5u\" is not supported")]
    CertificateUrl,
    /// A certificate in `x5c` is malformed.
    #[error("x5c: {0}")]
    Certificate(#[from] MalformedCertificate),
    /// The first certificate in `x5c` is for another key, or is not the one that a thumbprint names.
    #[error("member {0:?} does not match the key")]
    Mismatch(&'static str),
    /// An `alg` that is none of a signature, or that no one knows.
    #[error("key for the unknown algorithm {0:?}")]
    UnknownAlgorithm(String),
    /// A private key, which has no place in a key set.
    #[error("private key")]
    Private,
}

/// A public key that fits one of the algorithms.
#[derive(Debug, Clone)]
pub struct PublicKey {
    key_id: String,
    purpose: Purpose,
    kind: KeyKind,
    spki_der: Vec<u8>,
    software: Option<Arc<SoftwareKey>>,
}

impl PublicKey {
    /// Its `kid`, empty if it has none.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Type and size.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key as DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// How well what the key says of itself goes with `algorithm`, the best first.
    pub(crate) fn suits(&self, algorithm: Algorithm) -> KeyFit {
        let Purpose { algorithm: own, usage } = &self.purpose;
        if !matches!(usage.as_str(), "" | "sig") {
            return KeyFit::Not;
        }
        match own.as_str() {
            "" => KeyFit::Any,
            own if own == algorithm.as_str() => KeyFit::This,
            _ => KeyFit::Not,
        }
    }

    pub(crate) fn software(&self) -> Option<&SoftwareKey> {
        self.software.as_deref()
    }
}

/// What a key says that it is for (RFC 7517, sections 4.2 and 4.4); empty where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) algorithm: String,
    pub(crate) usage: String,
}

/// Whether a key says that it is for an algorithm. The likelier ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFit {
    /// It names this one.
    This,
    /// It names none.
    Any,
    /// It names another one, or is not for signatures.
    Not,
}

impl KeyFit {
    /// All of them, the likeliest first.
    pub(crate) const BEST_FIRST: [Self; 3] = [Self::This, Self::Any, Self::Not];
}

/// A key as go-jose accepts it, usable here or not.
#[derive(Debug)]
pub(crate) struct Jwk {
    pub(crate) key: JwkKey,
    pub(crate) purpose: Purpose,
}

impl Jwk {
    /// The key in the forms that verifiers take.
    pub(crate) fn usable(self, rules: Rules) -> Result<PublicKey, KeyProblem> {
        let own = &self.purpose.algorithm;
        let key = match self.key {
            JwkKey::Public(key) => key,
            JwkKey::Other(problem) => return Err(problem),
        };
        // Keys for ML-DSA, which go-oidc drops by this very rule, count here.
        let is_ml_dsa = matches!(key, RawPublicKey::MlDsa { .. });
        let is_known = own.is_empty() || is_ml_dsa || is_known_to_go_oidc(own);
        if rules.has(Difference::KeyAlgorithm) && !is_known {
            return Err(KeyProblem::UnknownAlgorithm(own.clone()));
        }
        key.usable(self.purpose)
    }
}

#[derive(Debug)]
pub(crate) enum JwkKey {
    Public(RawPublicKey),
    /// Read without error, but of no use for verifying.
    Other(KeyProblem),
}

/// The numbers of a public key, before it is asked whether they are good for anything.
#[derive(Debug)]
pub(crate) enum RawPublicKey {
    Rsa { key_id: String, modulus: Vec<u8>, exponent: Vec<u8> },
    Nist { key_id: String, kind: KeyKind, spki_der: Vec<u8>, software: Arc<SoftwareKey> },
    MlDsa { key_id: String, kind: KeyKind, spki_der: Vec<u8>, software: Arc<SoftwareKey> },
}

impl RawPublicKey {
    /// Whether go-jose holds it for valid, which asks for less than [`Self::usable`].
    pub(crate) fn is_valid(&self) -> bool {
        !matches!(self, Self::Rsa { exponent, .. } if exponent.is_empty())
    }

    /// The key as DER `SubjectPublicKeyInfo`.
    fn spki_der(&self) -> Result<Vec<u8>, KeyProblem> {
        match self {
            Self::Rsa { modulus, exponent, .. } => {
                key_der::rsa(modulus, exponent).map_err(|_| KeyProblem::InvalidRsa)
            }
            Self::Nist { spki_der, .. } | Self::MlDsa { spki_der, .. } => Ok(spki_der.clone()),
        }
    }

    fn usable(self, purpose: Purpose) -> Result<PublicKey, KeyProblem> {
        match self {
            Self::Rsa { key_id, modulus, exponent } => {
                let bits = bit_length(&modulus);
                if !RSA_BITS.contains(&bits) {
                    return Err(KeyProblem::ModulusLength(bits));
                }
                if !is_odd(&modulus) || !is_exponent(&exponent) {
                    return Err(KeyProblem::InvalidRsa);
                }
                let spki_der = key_der::rsa(&modulus, &exponent);
                let spki_der = spki_der.map_err(|_| KeyProblem::InvalidRsa)?;
                let software = SoftwareKey::rsa(&modulus, &exponent).map(Arc::new);
                let kind = KeyKind::Rsa { bits };
                Ok(PublicKey { key_id, purpose, kind, spki_der, software })
            }
            Self::Nist { key_id, kind, spki_der, software }
            | Self::MlDsa { key_id, kind, spki_der, software } => {
                Ok(PublicKey { key_id, purpose, kind, spki_der, software: Some(software) })
            }
        }
    }
}

/// Whether go-oidc v3 keeps a key of this `alg` (`oidc/jose.go`).
fn is_known_to_go_oidc(algorithm: &str) -> bool {
    let known = algorithm.parse::<Algorithm>();
    algorithm == "EdDSA" || known.is_ok_and(|known| known.family() != Family::MlDsa)
}

fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |top| number.len() * 8 - top.leading_zeros() as usize)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|byte| byte & 1 == 1)
}

/// What Go's crypto/rsa takes as a public exponent.
fn is_exponent(number: &[u8]) -> bool {
    is_odd(number) && number != [1] && bit_length(number) <= 31
}
