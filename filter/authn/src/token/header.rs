//! A token's header (RFC 7515, section 4) as go-jose v2.6.3 reads it: its JSON is stricter than Go's own, names are
//! case-sensitive and a duplicate member, however deep, is an error. Source: go-jose `jws.go`, `shared.go`.

use go_compat::{
    base64::Base64Error,
    json::{self, JsonError, Limits, Object, Value},
};

use kube_rules::Rules;

use crate::{
    jwk::{Jwk, JwkKey, KeyProblem},
    x509::{Certificate, MalformedCertificate},
};

/// The one extension that go-jose understands (RFC 7797).
const UNDERSTOOD: &str = "b64";

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: String,
    pub(crate) key_id: String,
    /// `typ`, which go-jose leaves alone. Empty if it is none.
    pub(crate) kind: String,
    /// `false`: the header demands something that is not understood (`crit`), so no signature counts.
    pub(crate) critical_understood: bool,
    /// Whether the signature is over the payload's base64 (RFC 7797).
    pub(crate) payload_is_base64: bool,
}

/// Why go-jose calls a token malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error(transparent)]
    Base64(#[from] Base64Error),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("failed to unmarshal x5c header: {0}")]
    Certificate(#[from] MalformedCertificate),
    #[error("json: cannot unmarshal {0} into a JOSE header")]
    NotAnObject(&'static str),
    #[error("json: duplicate member in the JOSE header")]
    DuplicateMember,
    #[error("json: number out of range in the JOSE header")]
    NumberRange,
    #[error("failed to unmarshal {0}")]
    Member(&'static str),
    #[error("failed to unmarshal JWK: {0}")]
    Jwk(KeyProblem),
    #[error("go-jose/go-jose: invalid embedded jwk, must be public key")]
    JwkNotPublic,
}

impl Header {
    /// Reads the decoded header. An empty one has no members, like go-jose's.
    pub(crate) fn parse(raw: &[u8], limits: Limits) -> Result<Self, HeaderError> {
        let members = if raw.is_empty() {
            Object::default()
        } else {
            match json::parse(raw, limits)? {
                Value::Object(members) => members,
                Value::Null => Object::default(),
                other => return Err(HeaderError::NotAnObject(other.kind())),
            }
        };
        if members.has_duplicates() {
            return Err(HeaderError::DuplicateMember);
        }
        for (name, value) in members.members() {
            check_member(name, value)?;
        }
        Ok(Self {
            algorithm: string(&members, "alg"),
            key_id: string(&members, "kid"),
            kind: string(&members, "typ"),
            critical_understood: critical_understood(members.get("crit")),
            payload_is_base64: members.get("b64") != Some(&Value::Bool(false)),
        })
    }
}

fn string(members: &Object, name: &str) -> String {
    match members.get(name) {
        Some(Value::String(text)) => text.to_string(),
        _ => String::new(),
    }
}

fn check_member(name: &str, value: &Value) -> Result<(), HeaderError> {
    match (name, value) {
        (_, Value::Null) | ("alg" | "kid" | "nonce", Value::String(_)) => Ok(()),
        ("alg", _) => Err(HeaderError::Member("algorithm")),
        ("kid", _) => Err(HeaderError::Member("key ID")),
        ("nonce", _) => Err(HeaderError::Member("nonce")),
        ("jwk", Value::Object(jwk)) => check_embedded_key(jwk),
        ("jwk", _) => Err(HeaderError::Jwk(KeyProblem::NotAnObject)),
        ("x5c", Value::Array(chain)) => check_chain(chain),
        ("x5c", _) => Err(HeaderError::Member("x5c header")),
        (_, value) => check_any(value),
    }
}

/// An embedded key must be public (RFC 7515, section 4.1.3); it is never used. Whose rules hold is not known before the token's issuer is:
/// those of the oldest version, which knows the fewest keys, are within those of all.
fn check_embedded_key(members: &Object) -> Result<(), HeaderError> {
    match Jwk::parse(members, Rules::V1_36).map_err(HeaderError::Jwk)?.key {
        JwkKey::Public(key) if key.is_valid() => Ok(()),
        JwkKey::Other(KeyProblem::Ed25519) => Ok(()),
        _ => Err(HeaderError::JwkNotPublic),
    }
}

fn check_chain(chain: &[Value]) -> Result<(), HeaderError> {
    for certificate in chain {
        let text = match certificate {
            Value::String(text) => &**text,
            Value::Null => "",
            _ => return Err(HeaderError::Member("x5c header")),
        };
        Certificate::from_x5c(text)?;
    }
    Ok(())
}

/// What go-jose's decoder refuses in a member that nobody reads.
fn check_any(value: &Value) -> Result<(), HeaderError> {
    match value {
        Value::Number(number) if number.as_f64().is_none() => Err(HeaderError::NumberRange),
        Value::Array(items) => items.iter().try_for_each(check_any),
        Value::Object(members) if members.has_duplicates() => Err(HeaderError::DuplicateMember),
        Value::Object(members) => members.members().try_for_each(|(_, value)| check_any(value)),
        _ => Ok(()),
    }
}

fn critical_understood(crit: Option<&Value>) -> bool {
    match crit {
        None | Some(Value::Null) => true,
        Some(Value::Array(names)) => names.iter().all(|name| match name {
            Value::String(name) => name == UNDERSTOOD,
            _ => false,
        }),
        Some(_) => false,
    }
}
