//! An issuer's key set (RFC 7517) as go-oidc and go-jose v2 read it, but key by key.
//!
//! go-jose refuses a whole set for one key it does not know; here that key is skipped and says why (a deliberate
//! difference until 1.38, as is skipping RSA keys below 2048 bits). A key's `use` and `alg` say which keys are tried first; from 1.38 on a
//! key of an `alg` that go-oidc does not know is none.

use std::fmt;

use go_compat::{
    json::{self, JsonError, Limits, Object, Value, field_matches},
    strconv,
};

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
    /// Far above what providers publish (Entra ID: about ten keys, 20 KiB). Each worker reads the whole set at each refresh: a
    /// thousand keys take it some tens of milliseconds.
    fn default() -> Self {
        Self { bytes: 512 * 1024, keys: 1000 }
    }
}

/// Why a document is not a key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Longer than [`KeySetLimits::bytes`].
    #[error("key set of {0} bytes is too large")]
    TooLarge(usize),
    /// More entries than [`KeySetLimits::keys`].
    #[error("key set with {keys} keys has too many: at most {most} are read")]
    TooManyKeys {
        /// How many it has.
        keys: usize,
        /// How many it may have.
        most: usize,
    },
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

impl fmt::Display for SkippedKey {
    /// In one line of bounded length, whatever the issuer wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, key_id, problem } = self;
        write!(f, "keys[{index}]")?;
        if !key_id.is_empty() {
            write!(f, " {}", strconv::quote(&cut(key_id)))?;
        }
        let problem = cut(&problem.to_string());
        write!(f, ": {}", problem.replace(|c: char| c.is_control(), "?"))
    }
}

/// What of an issuer's text goes into a line of a log.
fn cut(text: &str) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
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
            return Err(KeySetError::TooManyKeys { keys: entries.len(), most: limits.keys });
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

    /// Adds the keys of another set that this one does not have.
    pub fn add_keys_of(&mut self, other: &Self) {
        for key in &other.keys {
            if !self.has(key) {
                self.keys.push(key.clone());
            }
        }
    }

    /// Whether every key of this set is one of another, too.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        // Most often the same key stands in the same place.
        let here = |index: usize, key| other.keys.get(index).is_some_and(|it| is_same(it, key));
        self.keys.iter().enumerate().all(|(index, key)| here(index, key) || other.has(key))
    }

    fn has(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|other| is_same(other, key))
    }

    /// The keys that may have signed a token of this `kid` and are not used: those with it, and those whose own `kid` could not be
    /// read. All of them, if the token names none.
    pub fn skipped_candidates<'a>(
        &'a self,
        key_id: &'a str,
    ) -> impl Iterator<Item = &'a SkippedKey> {
        self.skipped
            .iter()
            .filter(move |key| key_id.is_empty() || key.key_id.is_empty() || key.key_id == key_id)
    }

    fn add(&mut self, index: usize, entry: &Value, rules: Rules) {
        let (key_id, result) = match entry {
            Value::Object(members) => {
                let key_id = match members.get("kid") {
                    Some(Value::String(key_id)) => key_id.to_string(),
                    _ => String::new(),
                };
                (key_id, Jwk::parse(members, rules).and_then(|key| key.usable(rules)))
            }
            _ => (String::new(), Err(KeyProblem::NotAnObject)),
        };
        match result {
            Ok(key) => self.keys.push(key),
            Err(problem) => self.skipped.push(SkippedKey { index, key_id, problem }),
        }
    }
}

fn is_same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_id() == other.key_id() && one.spki_der() == other.spki_der()
}

/// Enough for a certificate chain in every one of a thousand keys.
const JSON_LIMITS: Limits = Limits { depth: 16, values: 32 * 1024 };

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
                Err(KeySetError::TooManyKeys { keys: 5, most: 4 }),
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
            // go-jose: "invalid EC public key, wrong length for x"
            (
                r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
                r#"member "x" has the wrong length"#,
            ),
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

    /// Key sets that providers have published, each with what kube-apiserver says of it (go-jose v2.6.3).
    #[test]
    fn what_spoils_a_key_is_named() {
        let certificate = include_str!("../tests/keys/certificate.txt").trim();
        let (n, e) = (include_str!("../tests/keys/modulus.txt").trim(), "AQAB");
        let (x, y) = (
            "lgg0fjBw4LT1uq1edmE8rlZMr4-CrKA2n-H-TudINNw",
            "FUdqRFqa_y2XGvFYBAIhcM6kUl3rK_kn2JzM0qqbrQ", // 31 bytes
        );
        for (key, want) in [
            // "invalid RSA key, missing n/e values"
            (
                format!(r#"{{"kty":"RSA","kid":"k","x5c":["{certificate}"]}}"#),
                r#"keys[0] "k": member "n" is missing"#,
            ),
            // "illegal base64 data at input byte 69"
            (
                format!(r#"{{"kty":"RSA","kid":"k","n":"{}==","e":"{e}"}}"#, n.replace('-', "+")),
                r#"keys[0] "k": member "n" is malformed"#,
            ),
            // "invalid EC public key, wrong length for y"
            (
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","kid":"k"}}"#),
                r#"keys[0] "k": member "y" has the wrong length"#,
            ),
            // "json: cannot unmarshal number into Go value of type string"
            (
                format!(r#"{{"kty":"RSA","kid":1,"n":"{n}","e":"{e}"}}"#),
                r#"keys[0]: member "kid" is malformed"#,
            ),
            // "invalid JWK, public keys in key and x5c fields to not match"
            (
                format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"{e}","x5c":["{certificate}"]}}"#),
                r#"keys[0] "k": member "x5c" does not match the key"#,
            ),
        ] {
            let keys = parse(&format!(r#"{{"keys":[{key}]}}"#)).expect("a key set");
            let skipped: Vec<_> = keys.skipped_candidates("k").map(ToString::to_string).collect();
            assert_eq!(skipped, [want], "{key}");
        }
    }

    #[test]
    fn a_skipped_key_is_one_short_line_whatever_the_issuer_wrote() {
        let document = format!(
            r#"{{"keys":[{{"kid":"{}\n","kty":"{}\u001b"}}]}}"#,
            "k".repeat(5000),
            "t".repeat(90)
        );
        let keys = parse(&document).expect("a key set");
        let line = keys.skipped().first().map(ToString::to_string).unwrap_or_default();
        assert!(line.len() < 300 && !line.contains(char::is_control), "{line}");
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

    /// RFC 9964: only since 1.38, and only of the size that `alg` says.
    #[test]
    fn keys_for_ml_dsa() {
        let key = |algorithm: &str, bytes: usize, more: &str| {
            let encoded = go_compat::base64::encode(&vec![7; bytes]);
            format!(r#"{{"kty":"AKP","kid":"k","alg":"{algorithm}","pub":"{encoded}"{more}}}"#)
        };
        let length = Some(r#"member "pub" has the wrong length"#);
        for (key, want) in [
            (key("ML-DSA-44", 1312, ""), None),
            (key("ML-DSA-65", 1952, ""), None),
            (key("ML-DSA-87", 2592, ""), None),
            (key("ML-DSA-44", 1311, ""), length),
            (key("ML-DSA-44", 1952, ""), length),
            (key("ML-DSA-87", 0, ""), length),
            (key("ML-DSA-44", 1312, r#","priv":"AAAA""#), Some("private key")),
            (key("ES256", 1312, ""), Some(r#"key for the unknown algorithm "ES256""#)),
            (key("", 1312, ""), Some(r#"member "alg" is missing"#)),
            (r#"{"kty":"AKP","alg":"ML-DSA-44"}"#.to_owned(), Some(r#"member "pub" is missing"#)),
            (key("ML-DSA-44", 1312, r#","pub":"AA""#), Some("duplicate member")),
            // go-oidc v3 keeps no key of another type that says it is for ML-DSA.
            (
                jwk("k").replacen('{', r#"{"alg":"ML-DSA-44","#, 1),
                Some(r#"key for the unknown algorithm "ML-DSA-44""#),
            ),
        ] {
            let document = format!(r#"{{"keys":[{key}]}}"#);
            let read = |rules| {
                KeySet::parse(document.as_bytes(), KeySetLimits::default(), rules).expect("a set")
            };
            let problem = |keys: &KeySet| keys.skipped().first().map(|key| key.problem.to_string());
            assert_eq!(problem(&read(Rules::V1_38)).as_deref(), want, "{key:.100}");
            for rules in [Rules::V1_36, Rules::V1_37] {
                let keys = read(rules);
                let unknown = Some("unknown json web key type 'AKP'".to_owned());
                let is_ec = key.contains(r#""EC""#);
                let has_duplicates = key.matches(r#""pub""#).count() == 2;
                assert!(
                    if is_ec {
                        keys.len() == 1
                    } else {
                        has_duplicates || problem(&keys) == unknown
                    },
                    "{rules} {key:.100}"
                );
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
