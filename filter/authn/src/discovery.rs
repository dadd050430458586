//! The discovery document (OpenID Connect Discovery 1.0, section 3) as go-oidc v2 reads it.

use go_compat::{
    json::{self, JsonError, Limits, Value, field_matches},
    strconv,
};

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
        strconv::quote(.expected), strconv::quote(.got)
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
    #[error("jwks_uri {} is not an https URL", strconv::quote(.0))]
    JwksUriNotHttps(String),
}

/// Where an issuer's discovery document is if nothing else is configured. One slash at its end is cut.
#[must_use]
pub fn well_known_url(issuer_url: &str) -> String {
    let issuer_url = issuer_url.strip_suffix('/').unwrap_or(issuer_url);
    format!("{issuer_url}/.well-known/openid-configuration")
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn documents() {
        let good = "https://a.example/keys";
        let other = |got: &str| {
            Err(format!(
                r#"oidc: issuer did not match the issuer returned by provider, expected "https://a.example" got {got}"#
            ))
        };
        let shape = |field: &str| {
            Err(format!(
                r#"oidc: failed to decode provider discovery object: member "{field}" has the wrong type"#
            ))
        };
        for (document, want) in [
            (r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/keys"}"#, Ok(good)),
            (r#"{"Issuer":"https://a.example","JWKS_URI":"https://a.example/keys"}"#, Ok(good)), // names fold
            (
                r#"{"issuer":"https://a.example","issuer":null,"jwks_uri":"https://a.example/keys"}"#,
                Ok(good),
            ),
            (
                r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/keys","id_token_signing_alg_values_supported":["none",null]}"#,
                Ok(good), // read, and ignored
            ),
            (
                r#"{"issuer":"https://a.example/","jwks_uri":"https://a.example/keys"}"#,
                other(r#""https://a.example/""#),
            ),
            (r#"{"jwks_uri":"https://a.example/keys"}"#, other(r#""""#)),
            ("null", other(r#""""#)),
            (
                r#"{"issuer":"https://a.example"}"#,
                Err("provider did not return JWKS URL".to_owned()),
            ),
            (
                r#"{"issuer":"https://a.example","jwks_uri":"http://a.example/keys"}"#,
                Err(r#"jwks_uri "http://a.example/keys" is not an https URL"#.to_owned()),
            ),
            (r#"{"issuer":1}"#, shape("issuer")),
            (r#"{"issuer":"https://a.example","jwks_uri":[]}"#, shape("jwks_uri")),
            (r#"{"issuer":"https://a.example","token_endpoint":1}"#, shape("token_endpoint")),
            (
                r#"{"issuer":"https://a.example","id_token_signing_alg_values_supported":"RS256"}"#,
                shape("id_token_signing_alg_values_supported"),
            ),
            ("[]", shape("issuer")),
        ] {
            let got = parse(document.as_bytes(), "https://a.example");
            let got = got.map(|document| document.jwks_uri).map_err(|error| error.to_string());
            assert_eq!(got, want.map(str::to_owned), "{document}");
        }
        assert!(matches!(parse(b"<html>", "https://a.example"), Err(DiscoveryError::Json(_))));
    }

    #[test]
    fn one_slash_is_cut() {
        for (issuer, want) in [
            ("https://a", "https://a/.well-known/openid-configuration"),
            ("https://a/", "https://a/.well-known/openid-configuration"),
            ("https://a/b//", "https://a/b//.well-known/openid-configuration"),
        ] {
            assert_eq!(well_known_url(issuer), want);
        }
    }
}
