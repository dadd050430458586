//! An issuer's key set (RFC 7517) as go-oidc and go-jose v2 read it, but key by key.
//!
//! go-jose refuses a whole set for one key it does not know; here that key is skipped and says why (a deliberate
//! difference, as is skipping RSA keys below 2048 bits). A key's `use` and `alg` are not consulted, as upstream.

use crate::json::{self, JsonError, Limits, Object, Value, field_matches};
use crate::jwk::{Jwk, JwkKey};

pub use crate::jwk::{KeyKind, KeyProblem, PublicKey};

/// Bounds on a key set, for whoever fetches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySetLimits {
    /// Size of the document in bytes.
    pub bytes: usize,
    /// Number of entries in `keys`.
    pub keys: usize,
}

impl Default for KeySetLimits {
    /// Far above what providers publish (Entra ID: about ten keys, 20 KiB).
    fn default() -> Self {
        Self { bytes: 512 * 1024, keys: 100 }
    }
}

/// Why a document is not a key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Longer than [`KeySetLimits::bytes`].
    #[error("key set of {0} bytes is too large")]
    TooLarge(usize),
    /// More entries than [`KeySetLimits::keys`].
    #[error("key set with {0} keys has too many")]
    TooManyKeys(usize),
    /// Not JSON.
    #[error("oidc: failed to decode keys: {0}")]
    Json(#[from] JsonError),
    /// JSON of another shape; the word is what stands where an object or an array should.
    #[error("oidc: failed to decode keys: json: cannot unmarshal {0} into a key set")]
    Shape(&'static str),
}

/// A key that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in `keys`, from 0.
    pub index: usize,
    /// Its `kid`, if that could be read.
    pub key_id: String,
    /// What is wrong with it.
    pub problem: KeyProblem,
}

/// The keys of an issuer that can verify a token, in the order they were published. A `kid` may stand more than once.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    skipped: Vec<SkippedKey>,
}

impl KeySet {
    /// Reads a JWKS document.
    ///
    /// # Errors
    /// If it is not JSON of a key set's shape or beyond `limits`. Keys that cannot be used are no error, see
    /// [`Self::skipped`].
    pub fn parse(document: &[u8], limits: KeySetLimits) -> Result<Self, KeySetError> {
        if document.len() > limits.bytes {
            return Err(KeySetError::TooLarge(document.len()));
        }
        let entries = match json::parse(document, JSON_LIMITS)? {
            Value::Object(set) => entries(&set)?,
            Value::Null => Vec::new(),
            other => return Err(KeySetError::Shape(other.kind())),
        };
        if entries.len() > limits.keys {
            return Err(KeySetError::TooManyKeys(entries.len()));
        }
        let mut set = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            set.add(index, entry);
        }
        Ok(set)
    }

    /// Number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The usable keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The `kid` of each usable key; a key without one has an empty one.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(PublicKey::key_id)
    }

    /// The keys that are not used.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The keys to try for a token: those with its `kid`, or all if it names none (go-oidc, `remoteKeySet.verify`).
    pub fn candidates<'a>(&'a self, key_id: &'a str) -> impl Iterator<Item = &'a PublicKey> {
        self.keys.iter().filter(move |key| key_id.is_empty() || key.key_id() == key_id)
    }

    fn add(&mut self, index: usize, entry: &Value) {
        let (key_id, result) = match entry {
            Value::Object(members) => {
                let key_id = match members.get("kid") {
                    Some(Value::String(key_id)) => key_id.clone(),
                    _ => String::new(),
                };
                let key = Jwk::parse(members).and_then(|jwk| match jwk.key {
                    JwkKey::Public(key) => key.usable(),
                    JwkKey::Other(problem) => Err(problem),
                });
                (key_id, key)
            }
            _ => (String::new(), Err(KeyProblem::NotAnObject)),
        };
        match result {
            Ok(key) => self.keys.push(key),
            Err(problem) => self.skipped.push(SkippedKey { index, key_id, problem }),
        }
    }
}

/// Enough for a certificate chain in every key.
const JSON_LIMITS: Limits = Limits { depth: 16, values: 16 * 1024 };

/// The value of `keys`. The member's name is matched as Go matches it; the last one counts, `null` is an empty list.
fn entries(set: &Object) -> Result<Vec<Value>, KeySetError> {
    let mut entries = Vec::new();
    for (name, value) in set.members() {
        match value {
            _ if !field_matches(name, "keys") => {}
            Value::Array(items) => entries.clone_from(items),
            Value::Null => entries.clear(),
            other => return Err(KeySetError::Shape(other.kind())),
        }
    }
    Ok(entries)
}
