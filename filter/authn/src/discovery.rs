//! The discovery document (OpenID Connect Discovery 1.0, section 3) as go-oidc v2 reads it.

use crate::go;
use crate::json::{self, JsonError, Limits, Value, field_matches};

/// What is used of an issuer's metadata. `id_token_signing_alg_values_supported` is not: upstream ignores it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryDocument {
    /// Where the key set is: an `https` URL.
    pub jwks_uri: String,
}

/// Why a discovery document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Not JSON.
    #[error("oidc: failed to decode provider discovery object: {0}")]
    Json(#[from] JsonError),
    /// A member of the wrong type.
    #[error("oidc: failed to decode provider discovery object: member {0:?} has the wrong type")]
    Shape(&'static str),
    /// The document is another issuer's: the comparison is byte for byte, a trailing slash counts.
    #[error(
        "oidc: issuer did not match the issuer returned by provider, expected {} got {}",
        go::quote(.expected), go::quote(.got)
    )]
    Issuer {
        /// `issuer.url` of the configuration.
        expected: String,
        /// `issuer` of the document.
        got: String,
    },
    /// No `jwks_uri`.
    #[error("provider did not return JWKS URL")]
    NoJwksUri,
    /// Keys would travel unprotected.
    #[error("jwks_uri {} is not an https URL", go::quote(.0))]
    JwksUriNotHttps(String),
}

/// Reads the discovery document of the issuer `issuer_url`.
pub fn parse(document: &[u8], issuer_url: &str) -> Result<DiscoveryDocument, DiscoveryError> {
    let value = json::parse(document, JSON_LIMITS)?;
    let issuer = string_field(&value, "issuer")?;
    let jwks_uri = string_field(&value, "jwks_uri")?;
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"] {
        string_field(&value, name)?;
    }
    check_algorithms(&value)?;
    if issuer != issuer_url {
        return Err(DiscoveryError::Issuer { expected: issuer_url.to_owned(), got: issuer });
    }
    if jwks_uri.is_empty() {
        return Err(DiscoveryError::NoJwksUri);
    }
    if !jwks_uri.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Err(DiscoveryError::JwksUriNotHttps(jwks_uri));
    }
    Ok(DiscoveryDocument { jwks_uri })
}

/// The supported algorithms are not used, but must be a list of strings.
fn check_algorithms(document: &Value) -> Result<(), DiscoveryError> {
    let field = "id_token_signing_alg_values_supported";
    let Value::Object(members) = document else { return Ok(()) };
    let is_string = |item: &Value| matches!(item, Value::String(_) | Value::Null);
    for (_, value) in members.members().filter(|(name, _)| field_matches(name, field)) {
        match value {
            Value::Array(items) if items.iter().all(is_string) => {}
            Value::Null => {}
            _ => return Err(DiscoveryError::Shape(field)),
        }
    }
    Ok(())
}

const JSON_LIMITS: Limits = Limits { depth: 32, values: 16 * 1024 };

/// A string member by Go's rules for struct fields: names fold, the last one counts, `null` changes nothing.
fn string_field(document: &Value, field: &'static str) -> Result<String, DiscoveryError> {
    let members = match document {
        Value::Object(members) => members,
        Value::Null => return Ok(String::new()),
        _ => return Err(DiscoveryError::Shape(field)),
    };
    let mut found = String::new();
    for (_, value) in members.members().filter(|(name, _)| field_matches(name, field)) {
        match value {
            Value::String(text) => found.clone_from(text),
            Value::Null => {}
            _ => return Err(DiscoveryError::Shape(field)),
        }
    }
    Ok(found)
}
