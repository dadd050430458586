//! An issuer's key set (RFC 7517) as go-oidc and go-jose v2 read it, but key by key.
//!
//! go-jose refuses a whole set for one key it does not know; here that key is skipped and says why (a deliberate
//! difference until 1.38, as is skipping RSA keys below 2048 bits). A key's `use` and `alg` say which keys are tried first; from 1.38 on a
//! key of an `alg` that go-oidc does not know is none.

use go_compat::json::{self, JsonError, Limits, Object, Value, field_matches};

use kube_rules::Rules;

use crate::jwk::Jwk;

pub use crate::jwk::{KeyProblem, PublicKey};
pub use crate::key_kind::KeyKind;

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
    /// Reads a JWKS document, by the rules of a version of Kubernetes.
    ///
    /// # Errors
    /// If it is not JSON of a key set's shape or beyond `limits`. Keys that cannot be used are no error, see
    /// [`Self::skipped`].
    pub fn parse(document: &[u8], limits: KeySetLimits, rules: Rules) -> Result<Self, KeySetError> {
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
            set.add(index, entry, rules);
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

    /// The keys that may have signed a token: those with its `kid`, or all if it names none (go-oidc,
    /// `remoteKeySet.verify`). [`crate::verify::MOST_TRIED`] bounds how many of them are tried.
    pub fn candidates<'a>(&'a self, key_id: &'a str) -> impl Iterator<Item = &'a PublicKey> {
        self.keys.iter().filter(move |key| key_id.is_empty() || key.key_id() == key_id)
    }

    fn add(&mut self, index: usize, entry: &Value, rules: Rules) {
        let (key_id, result) = match entry {
            Value::Object(members) => {
                let key_id = match members.get("kid") {
                    Some(Value::String(key_id)) => key_id.clone(),
                    _ => String::new(),
                };
                (key_id, Jwk::parse(members).and_then(|key| key.usable(rules)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::jwk;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn parse(document: &str) -> Result<KeySet, KeySetError> {
        KeySet::parse(
            document.as_bytes(),
            KeySetLimits { bytes: 100_000, keys: 4 },
            Rules::default(),
        )
    }

    #[test]
    fn documents() {
        let key = jwk("a");
        let shape = |got| Err(KeySetError::Shape(got));
        for (document, want) in [
            (format!(r#"{{"keys":[{key}]}}"#), Ok(1)),
            (format!(r#"{{"KEYS":[{key}],"x":1}}"#), Ok(1)), // names fold
            (format!(r#"{{"keys":[],"keys":[{key}]}}"#), Ok(1)),
            (format!(r#"{{"keys":[{key}],"keys":null}}"#), Ok(0)),
            ("{}".to_owned(), Ok(0)),
            ("null".to_owned(), Ok(0)),
            (r#"{"keys":{}}"#.to_owned(), shape("object")),
            ("[]".to_owned(), shape("array")),
            (
                format!(r#"{{"keys":[{key},{key},{key},{key},{key}]}}"#),
                Err(KeySetError::TooManyKeys(5)),
            ),
            (" ".repeat(100_001), Err(KeySetError::TooLarge(100_001))),
        ] {
            assert_eq!(parse(&document).map(|keys| keys.len()), want, "{document:.80}");
        }
        assert!(matches!(parse("<html>"), Err(KeySetError::Json(_))));
    }

    #[test]
    fn candidates() {
        let document = format!(r#"{{"keys":[{},{},{}]}}"#, jwk("a"), jwk("b"), jwk("a"));
        let keys = parse(&document).expect("keys");
        assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["a", "b", "a"]);
        for (key_id, want) in [("a", 2), ("b", 1), ("A", 0), ("", 3)] {
            assert_eq!(keys.candidates(key_id).count(), want, "{key_id:?}");
        }
    }

    /// kubernetes/kubernetes#139769: one key of an unknown type made the others useless.
    #[test]
    fn unusable_keys_are_skipped_alone() {
        let good = jwk("good");
        for (bad, want) in [
            ("1", "not an object"),
            (r#"{"kty":"EC","kty":"EC"}"#, "duplicate member"),
            ("{}", "unknown json web key type ''"),
            (r#"{"kty":"AKP","alg":"ML-DSA-44"}"#, "unknown json web key type 'AKP'"),
            (
                r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
                "unsupported elliptic curve 'secp256k1'",
            ),
            (r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#, "unsupported elliptic curve 'Ed448'"),
            (
                r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
                "Ed25519 keys verify none of the supported algorithms",
            ),
            (r#"{"kty":"oct","k":"AAAA"}"#, "symmetric key"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "RSA modulus of 17 bits"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}"#, "private key"),
            (r#"{"kty":"RSA","n":"AQAB"}"#, r#"member "e" is missing"#),
            (r#"{"kty":"RSA","n":1,"e":"AQAB"}"#, r#"member "n" is malformed"#),
            (r#"{"kty":"RSA","n":"AQ==","e":"AQAB"}"#, r#"member "n" is malformed"#), // no padding
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "invalid point on curve P-256"),
            (r#"{"kty":"EC","crv":"P-256","x":"AA"}"#, r#"member "y" is missing"#),
            (
                r#"{"kty":"RSA","n":"AQAB","e":"AQAB","x5u":"https://a"}"#,
                r#"member "x5u" is not supported"#,
            ),
            (
                r#"{"kty":"RSA","n":"AQAB","e":"AQAB","x5c":["AAAA"]}"#,
                "x5c: x509: malformed certificate",
            ),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB","x5t":"AAAA"}"#, r#"member "x5t" is malformed"#),
        ] {
            let keys = parse(&format!(r#"{{"keys":[{bad},{good}]}}"#)).expect("a key set");
            assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["good"], "{bad}");
            let [skipped] = keys.skipped() else { panic!("one skipped key: {bad}") };
            assert_eq!((skipped.index, skipped.problem.to_string().as_str()), (0, want), "{bad}");
        }
    }

    /// dexidp/dex#5016: go-oidc v3, which 1.38 brings, leaves keys out whose `alg` it does not know.
    #[test]
    fn the_algorithm_of_a_key_counts_since_1_38() {
        for (algorithm, taken) in
            [("ES256", true), ("EdDSA", true), ("RS256", true), ("RSA", false), ("ES256K", false)]
        {
            let key = jwk("k").replacen('{', &format!(r#"{{"alg":"{algorithm}","#), 1);
            let document = format!(r#"{{"keys":[{key}]}}"#);
            for rules in Rules::ALL {
                let keys = KeySet::parse(document.as_bytes(), KeySetLimits::default(), rules);
                let is_usable = keys.expect("a key set").len() == 1;
                assert_eq!(is_usable, taken || rules < Rules::V1_38, "{algorithm} {rules}");
            }
        }
    }

    /// The name of a skipped key helps whoever reads the log.
    #[test]
    fn skipped_keys_have_a_name() {
        let keys = parse(r#"{"keys":[{"kid":"old","kty":"oct","k":"AAAA"}]}"#).expect("a key set");
        assert_eq!(keys.skipped().first().map(|key| key.key_id.as_str()), Some("old"));
        assert!(keys.is_empty());
    }
}
