//! The keys of a portal's tokens. They come in the process's environment, as one document that the program makes of its files; a
//! plugin configuration would show them to whoever reads Envoy's.
//!
//! The first key of all signs; the others still verify, so that a key can be exchanged without a token being lost. The
//! arithmetic is RustCrypto's.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use kube_authn::{
    Rules,
    crypto::{self, Algorithm, SignatureVerifier},
    jwks::{KeySet, KeySetLimits},
};
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

/// The environment's variable with the portal's own keys.
pub const VARIABLE: &str = "KUBE_OIDC_GATEWAY_PORTAL_KEYS";
/// That with the gateway's `sharedSecret`: of its own, so that a portal in the same Envoy can have other keys.
pub const SHARED_VARIABLE: &str = "KUBE_OIDC_GATEWAY_SHARED_SECRETS";
/// Keys in all. A rotation needs two.
const MOST: usize = 8;
/// Bytes of a shared secret: HS256 wants as many as its hash has (RFC 7518, section 3.2). Whoever has one token can try
/// shorter ones out, and then is whoever he likes.
pub const LEAST_SECRET: usize = 32;

/// The keys as they stand in the environment, JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyDocument {
    /// The first signs.
    pub keys: Vec<KeyEntry>,
}

/// One key.
#[derive(Serialize, Deserialize)]
#[serde(tag = "algorithm", deny_unknown_fields)]
pub enum KeyEntry {
    /// A shared secret.
    HS256 {
        /// What the audit trail calls it.
        id: String,
        /// The secret's bytes, base64url.
        secret: String,
        /// It may have less than [`LEAST_SECRET`] bytes.
        #[serde(default, rename = "insecureShort", skip_serializing_if = "std::ops::Not::not")]
        insecure_short: bool,
    },
    /// A key on P-256.
    ES256 {
        /// `kid`.
        id: String,
        /// The private scalar, 32 bytes, base64url.
        scalar: String,
    },
}

/// Why keys are refused. Nothing of a key is in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the document.
    #[error("not a document of keys")]
    Shape,
    /// None, or too many.
    #[error("there must be from 1 to {MOST} keys")]
    Count,
    /// An empty secret would let anybody make tokens.
    #[error("key {0:?}: the secret is empty")]
    Empty(String),
    /// A secret that can be found by trying.
    #[error(
        "key {0:?}: the secret has {1} bytes, and anyone who has one token can guess less than {LEAST_SECRET}: make one with \"openssl rand -base64 32\", or take this one all the same with insecureShortSecret (portal: --insecure-short-secret)"
    )]
    Short(String, usize),
    /// Not a key of that kind.
    #[error("key {0:?}: not a key of this algorithm")]
    Invalid(String),
    /// Two keys of one name.
    #[error("key {0:?} is there twice")]
    Twice(String),
}

/// A key that signs.
enum Key {
    Hs256 { id: String, mac: Hmac<Sha256> },
    Es256 { id: String, key: Box<SigningKey> },
}

/// All keys, the signing one first.
pub struct KeyRing {
    keys: Vec<Key>,
    jwks: Value,
    public: KeySet,
}

impl KeyRing {
    /// Reads the document.
    pub fn parse(document: &[u8]) -> Result<Self, KeyError> {
        // The library's own text could quote what it read.
        let document: KeyDocument =
            serde_json::from_slice(document).map_err(|_| KeyError::Shape)?;
        if document.keys.is_empty() || document.keys.len() > MOST {
            return Err(KeyError::Count);
        }
        let mut keys: Vec<Key> = Vec::new();
        for entry in document.keys {
            let key = Key::new(entry)?;
            if keys.iter().any(|known| known.id() == key.id()) {
                return Err(KeyError::Twice(key.id().to_owned()));
            }
            keys.push(key);
        }
        let jwks = json!({ "keys": keys.iter().filter_map(Key::public).collect::<Vec<_>>() });
        let public =
            KeySet::parse(jwks.to_string().as_bytes(), KeySetLimits::default(), Rules::default())
                .map_err(|_| KeyError::Shape)?;
        Ok(Self { keys, jwks, public })
    }

    /// Whether there is a key that others can check.
    #[must_use]
    pub fn has_public(&self) -> bool {
        !self.public.is_empty()
    }

    /// The public keys, a JWKS.
    #[must_use]
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// The signing key's id, if it is one that others can check.
    #[must_use]
    pub fn signs_es256(&self) -> bool {
        matches!(self.keys.first(), Some(Key::Es256 { .. }))
    }

    /// Makes a JWS of claims: the key's id and the token.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> Option<(&str, String)> {
        let key = self.keys.first()?;
        let header = match key {
            // kubehook's header, byte for byte.
            Key::Hs256 { .. } => r#"{"alg":"HS256","typ":"JWT"}"#.to_owned(),
            Key::Es256 { id, .. } => json!({"alg": "ES256", "kid": id, "typ": "JWT"}).to_string(),
        };
        let input = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims.to_string()));
        let signature = match key {
            Key::Hs256 { mac, .. } => {
                let mut mac = mac.clone();
                mac.update(input.as_bytes());
                BASE64.encode(mac.finalize().into_bytes())
            }
            Key::Es256 { key, .. } => {
                let signature: Signature = key.try_sign(input.as_bytes()).ok()?;
                BASE64.encode(signature.to_bytes())
            }
        };
        Some((key.id(), format!("{input}.{signature}")))
    }

    /// The id of the shared secret that signed this; compared in constant time.
    #[must_use]
    pub fn verify_hs256(&self, input: &[u8], signature: &[u8]) -> Option<&str> {
        self.keys.iter().find_map(|key| match key {
            Key::Hs256 { id, mac } => {
                let mut mac = mac.clone();
                mac.update(input);
                mac.verify_slice(signature).is_ok().then_some(id.as_str())
            }
            Key::Es256 { .. } => None,
        })
    }

    /// The id of the P-256 key that signed this.
    #[must_use]
    pub fn verify_es256<'a>(
        &'a self,
        key_id: &'a str,
        input: &[u8],
        signature: &[u8],
        verifier: &dyn SignatureVerifier,
    ) -> Option<&'a str> {
        self.public
            .candidates(key_id)
            .find(|key| {
                matches!(
                    crypto::verify(verifier, Algorithm::Es256, key, input, signature),
                    Ok(true)
                )
            })
            .map(kube_authn::jwks::PublicKey::key_id)
    }
}

impl Key {
    fn new(entry: KeyEntry) -> Result<Self, KeyError> {
        match entry {
            KeyEntry::HS256 { id, secret, insecure_short } => {
                let secret = BASE64.decode(secret).map_err(|_| KeyError::Invalid(id.clone()))?;
                if secret.is_empty() {
                    return Err(KeyError::Empty(id));
                }
                if secret.len() < LEAST_SECRET && !insecure_short {
                    return Err(KeyError::Short(id, secret.len()));
                }
                let mac =
                    Hmac::new_from_slice(&secret).map_err(|_| KeyError::Invalid(id.clone()))?;
                Ok(Self::Hs256 { id, mac })
            }
            KeyEntry::ES256 { id, scalar } => {
                let scalar = BASE64.decode(scalar).unwrap_or_default();
                // The library would fill up a shorter one.
                match SigningKey::from_slice(&scalar) {
                    Ok(key) if scalar.len() == 32 => Ok(Self::Es256 { id, key: Box::new(key) }),
                    _ => Err(KeyError::Invalid(id)),
                }
            }
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Hs256 { id, .. } | Self::Es256 { id, .. } => id,
        }
    }

    fn public(&self) -> Option<Value> {
        let Self::Es256 { id, key } = self else { return None };
        let point = key.verifying_key().to_sec1_point(false);
        let coordinate = |bytes: Option<&[u8]>| BASE64.encode(bytes.unwrap_or_default());
        Some(json!({
            "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": id,
            "x": coordinate(point.x().map(|x| &x[..])), "y": coordinate(point.y().map(|y| &y[..])),
        }))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(Key::id)).finish()
    }
}
