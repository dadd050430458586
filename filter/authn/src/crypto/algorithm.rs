//! The JWS algorithms kube-apiserver knows: nine of RFC 7518, section 3.1, and since 1.38 the three of RFC 9964. `none`, HMAC and
//! `EdDSA` are not among them.

use std::{fmt, str::FromStr};

use kube_rules::{Difference, Rules};

/// A signing algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of RFC 7518 and RFC 9964")]
pub enum Algorithm {
    Es256,
    Es384,
    Es512,
    MlDsa44,
    MlDsa65,
    MlDsa87,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

/// The signature scheme of an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// RSASSA-PKCS1-v1_5
    RsaPkcs1,
    /// RSASSA-PSS
    RsaPss,
    /// ECDSA
    Ecdsa,
    /// ML-DSA (FIPS 204), with an empty context and without a hash before it.
    MlDsa,
}

/// The hash that an algorithm makes of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of FIPS 180-4")]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The name that Envoy's `verify_signature` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

impl Algorithm {
    /// All of them, in the order in which kube-apiserver names them.
    pub const ALL: [Self; 12] = [
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// The value of `alg`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    /// The signature scheme.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Es256 | Self::Es384 | Self::Es512 => Family::Ecdsa,
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => Family::MlDsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::RsaPss,
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::RsaPkcs1,
        }
    }

    /// The hash over the signing input; none for ML-DSA, which signs the input itself.
    #[must_use]
    pub fn hash(self) -> Option<Hash> {
        match self {
            Self::Es256 | Self::Ps256 | Self::Rs256 => Some(Hash::Sha256),
            Self::Es384 | Self::Ps384 | Self::Rs384 => Some(Hash::Sha384),
            Self::Es512 | Self::Ps512 | Self::Rs512 => Some(Hash::Sha512),
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
        }
    }

    /// Whether the version of Kubernetes knows it.
    #[must_use]
    pub fn is_known(self, rules: Rules) -> bool {
        self.family() != Family::MlDsa || rules.has(Difference::MlDsa)
    }

    /// The algorithm that a version of Kubernetes knows by this name.
    ///
    /// # Errors
    /// If it knows none.
    pub fn named(name: &str, rules: Rules) -> Result<Self, UnknownAlgorithm> {
        match name.parse::<Self>()? {
            known if known.is_known(rules) => Ok(known),
            _ => Err(UnknownAlgorithm(name.to_owned())),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not one of [`Algorithm::ALL`]; the text is that of kube-apiserver's `--oidc-signing-algs`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oidc: unsupported signing alg: {}", go_compat::strconv::quote(.0))]
pub struct UnknownAlgorithm(pub String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name);
        known.ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}
