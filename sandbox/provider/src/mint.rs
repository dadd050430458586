//! Tokens to order, good and bad: any header, any payload, any key, any signature.
//!
//! JWS compact serialisation: RFC 7515, section 7.1.

use std::sync::Arc;

use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    encoding::base64url,
    keys::{Algorithm, SigningKey},
    state::IssuerShared,
};

/// What the signature of a token is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignWith {
    /// The issuer's default key.
    #[default]
    Default,
    /// The issuer's signing key for this algorithm.
    Algorithm(Algorithm),
    /// The key with this id: one that signs, one that is only published, or one that was rotated out.
    Kid(String),
    /// The key with this id, by another algorithm of its kind than the one it is published for.
    KidAs {
        /// The key id.
        kid: String,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// A key that was never published, under the key id of the one that is.
    Stranger(Algorithm),
    /// `alg: none` (RFC 7519, section 6) and an empty signature.
    None,
    /// HS256, with the issuer's public key as the secret: the RS/HS confusion. It is the first RSA key, or the default
    /// key of an issuer that has none.
    PublicKeyAsSecret(PublicKeyForm),
    /// HS256 with this secret, given as text.
    Secret(String),
}

/// How the public key is written down when it is abused as an HMAC secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublicKeyForm {
    /// PEM (`BEGIN PUBLIC KEY`), final newline included.
    Pem,
    /// PEM without its final newline.
    PemTrimmed,
    /// DER of `SubjectPublicKeyInfo`.
    Der,
    /// The JWK, byte for byte as the key set holds it.
    Jwk,
    /// The bytes of the modulus; x and y of an elliptic key.
    Numbers,
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The issuer never had such a key.
    #[error("issuer {issuer} has no key {kid:?}")]
    UnknownKid {
        /// The issuer's name.
        issuer: String,
        /// The key id asked for.
        kid: String,
    },
    /// The issuer does not sign with such an algorithm.
    #[error("issuer {issuer} has no {algorithm} key")]
    UnknownAlgorithm {
        /// The issuer's name.
        issuer: String,
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
    /// The key cannot sign by this algorithm.
    #[error("the key {kid:?} does not sign {algorithm}")]
    WrongKind {
        /// The key id.
        kid: String,
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
}

/// A token in the making. Whatever is not changed is as a well-behaved issuer has it.
#[must_use = "a token is made by `mint`"]
#[derive(Clone)]
pub struct TokenBuilder {
    issuer: Arc<IssuerShared>,
    claims: Map<String, Value>,
    payload: Option<Vec<u8>>,
    header: Vec<(String, Option<Value>)>,
    header_bytes: Option<Vec<u8>>,
    sign_with: SignWith,
    signature: Option<Vec<u8>>,
}

impl IssuerShared {
    /// A token of this issuer, signed by its default key.
    pub(crate) fn sign(self: &Arc<Self>, claims: Map<String, Value>) -> String {
        TokenBuilder::new(Arc::clone(self), claims).mint()
    }
}

impl TokenBuilder {
    pub(crate) fn new(issuer: Arc<IssuerShared>, claims: Map<String, Value>) -> Self {
        Self {
            issuer,
            claims,
            payload: None,
            header: Vec::new(),
            header_bytes: None,
            sign_with: SignWith::Default,
            signature: None,
        }
    }

    /// Sets a claim (`Value::Null` writes a JSON null).
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets `exp` to so many seconds from now; below zero: expired.
    pub fn expires_in(self, seconds: i64) -> Self {
        let exp = self.issuer.now() + seconds;
        self.claim("exp", exp)
    }

    /// Sets `nbf` to so many seconds from now; above zero: not yet valid.
    pub fn valid_in(self, seconds: i64) -> Self {
        let nbf = self.issuer.now() + seconds;
        self.claim("nbf", nbf)
    }

    /// The claims so far.
    #[must_use]
    pub fn claims(&self) -> Value {
        Value::Object(self.claims.clone())
    }

    /// Puts these bytes in the place of the claims: not JSON, duplicate keys, deep nesting, invalid UTF-8.
    pub fn payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.payload = Some(bytes.into());
        self
    }

    /// Sets a header parameter, `alg` and `kid` included; the signature is still made as [`Self::sign`] says.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.push((name.to_owned(), Some(value.into())));
        self
    }

    /// Leaves a header parameter out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.push((name.to_owned(), None));
        self
    }

    /// Puts these bytes in the place of the whole header.
    pub fn header_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.header_bytes = Some(bytes.into());
        self
    }

    /// Chooses the key or the trick.
    pub fn sign(mut self, with: SignWith) -> Self {
        self.sign_with = with;
        self
    }

    /// Puts these bytes in the place of the signature.
    pub fn signature(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.signature = Some(bytes.into());
        self
    }

    /// The token.
    ///
    /// # Panics
    /// If the issuer has no such key; [`Self::try_mint`] tells instead.
    #[must_use]
    pub fn mint(self) -> String {
        self.try_mint().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The token, or why there is no key to sign it with.
    pub fn try_mint(self) -> Result<String, MintError> {
        let signer = Signer::find(&self.issuer, &self.sign_with)?;
        let header = self.header_bytes.unwrap_or_else(|| {
            let mut header = signer.header();
            for (name, value) in self.header {
                match value {
                    Some(value) => header.insert(name, value),
                    None => header.remove(&name),
                };
            }
            json_bytes(header)
        });
        let payload = self.payload.unwrap_or_else(|| json_bytes(self.claims));
        let message = format!("{}.{}", base64url(&header), base64url(&payload));
        let signature = self.signature.unwrap_or_else(|| signer.sign(message.as_bytes()));
        Ok(format!("{message}.{}", base64url(&signature)))
    }
}

enum Signer {
    Key { key: Arc<SigningKey>, kid: String, algorithm: Algorithm },
    Hmac { secret: Vec<u8>, kid: Option<String> },
    None,
}

impl Signer {
    fn find(issuer: &IssuerShared, with: &SignWith) -> Result<Self, MintError> {
        let keys = &issuer.lock().keys;
        let of = |algorithm| {
            keys.by_algorithm(algorithm).ok_or_else(|| MintError::UnknownAlgorithm {
                issuer: issuer.name().to_owned(),
                algorithm,
            })
        };
        let by_kid = |kid: &str| {
            keys.by_kid(kid).ok_or_else(|| MintError::UnknownKid {
                issuer: issuer.name().to_owned(),
                kid: kid.to_owned(),
            })
        };
        let own = |key: Arc<SigningKey>| Self::Key {
            kid: key.kid().to_owned(),
            algorithm: key.algorithm(),
            key,
        };
        Ok(match with {
            SignWith::Default => own(keys.default_key()),
            SignWith::Algorithm(algorithm) => own(of(*algorithm)?),
            SignWith::Kid(kid) => own(by_kid(kid)?),
            SignWith::KidAs { kid, algorithm } => {
                let key = by_kid(kid)?;
                if key.sign_as(*algorithm, b"").is_none() {
                    return Err(MintError::WrongKind { kid: kid.clone(), algorithm: *algorithm });
                }
                Self::Key { kid: kid.clone(), algorithm: *algorithm, key }
            }
            SignWith::Stranger(algorithm) => Self::Key {
                kid: of(*algorithm)?.kid().to_owned(),
                algorithm: *algorithm,
                key: Arc::new(SigningKey::stranger(*algorithm)),
            },
            SignWith::None => Self::None,
            SignWith::PublicKeyAsSecret(form) => {
                let key = keys.first_rsa().unwrap_or_else(|| keys.default_key());
                Self::Hmac { secret: form.write(&key), kid: Some(key.kid().to_owned()) }
            }
            SignWith::Secret(secret) => {
                Self::Hmac { secret: secret.clone().into_bytes(), kid: None }
            }
        })
    }

    fn header(&self) -> Map<String, Value> {
        let (alg, kid) = match self {
            Self::Key { kid, algorithm, .. } => (algorithm.name(), Some(kid)),
            Self::Hmac { kid, .. } => ("HS256", kid.as_ref()),
            Self::None => ("none", None),
        };
        let mut header = Map::new();
        header.insert("alg".to_owned(), json!(alg));
        header.insert("typ".to_owned(), json!("JWT"));
        if let Some(kid) = kid {
            header.insert("kid".to_owned(), json!(kid));
        }
        header
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            // `find` has made sure that it fits.
            Self::Key { key, algorithm, .. } => {
                key.sign_as(*algorithm, message).unwrap_or_default()
            }
            Self::Hmac { secret, .. } => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::None => Vec::new(),
        }
    }
}

impl PublicKeyForm {
    fn write(self, key: &SigningKey) -> Vec<u8> {
        match self {
            Self::Pem => key.public_key().pem().into_bytes(),
            Self::PemTrimmed => key.public_key().pem().trim_end().as_bytes().to_vec(),
            Self::Der => key.public_key().der(),
            Self::Jwk => key.jwk().to_string().into_bytes(),
            Self::Numbers => key.public_key().numbers().to_vec(),
        }
    }
}

fn json_bytes(object: Map<String, Value>) -> Vec<u8> {
    Value::Object(object).to_string().into_bytes()
}
