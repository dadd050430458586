//! The discovery document (OpenID Connect Discovery 1.0, section 3) as go-oidc v2 reads it.

use std::fmt::{self, Write as _};

use go_compat::{
    json::{self, JsonError, Limits, Value, field_matches},
    strconv,
    url::Url,
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

/// How an https URL is asked for: what Go's client would send, which is how kube-apiserver reaches an issuer. Blanks and raw UTF-8
/// are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    target: String,
}

/// Why a URL cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL, in Go's words.
    #[error("{0}")]
    Url(String),
    /// What is asked there would travel unprotected.
    #[error("must be https")]
    NotHttps,
    /// Names and passwords have no place in a URL that is logged.
    #[error("must not contain a username or password")]
    User,
    /// It names nobody.
    #[error("must have a host")]
    NoHost,
    /// kube-apiserver would ask for such a name in Punycode.
    #[error("the host must be ASCII: write the name in Punycode (xn--…)")]
    UnicodeHost,
    /// Envoy has no place for a zone.
    #[error("the host must not be an IPv6 address with a zone")]
    Zone,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// If it cannot be asked for, here or by anybody.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(url).map_err(EndpointError::Url)?;
        if url.scheme() != "https" {
            return Err(EndpointError::NotHttps);
        }
        if url.has_user() {
            return Err(EndpointError::User);
        }
        let (host, port) = url.host_and_port();
        if host.is_empty() {
            return Err(EndpointError::NoHost);
        }
        if !host.is_ascii() {
            return Err(EndpointError::UnicodeHost);
        }
        if host.contains('%') {
            return Err(EndpointError::Zone);
        }
        // An empty port is none.
        let authority = if port.is_empty() { url.host().trim_end_matches(':') } else { url.host() };
        Ok(Self { authority: authority.to_owned(), target: escaped(&url.request_uri()) })
    }

    /// The host with its port, if it names one: `:authority`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host alone, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            // The last colon of [::1] is part of the address.
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.authority,
        };
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The path with its query: `:path`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority, self.target)
    }
}

/// A query may hold what no request line can, and what Go would send all the same.
fn escaped(target: &str) -> String {
    let mut escaped = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii_graphic() {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
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
            Value::String(text) => found = text.to_string(),
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
    fn endpoints_are_those_that_go_asks() {
        for (url, want) in [
            ("https://a.example/realms/my realm", Ok("https://a.example/realms/my%20realm")),
            ("https://a.example/réalms", Ok("https://a.example/r%C3%A9alms")),
            ("https://a.example:8443", Ok("https://a.example:8443/")),
            ("https://a.example:/x", Ok("https://a.example/x")),
            ("HTTPS://A.example/x?y=z&b c=é#f", Ok("https://A.example/x?y=z&b%20c=%C3%A9")),
            ("https://[::1]:8443/x", Ok("https://[::1]:8443/x")),
            ("https://[::1]/x", Ok("https://[::1]/x")),
            ("http://a.example", Err(EndpointError::NotHttps)),
            ("a.example/x", Err(EndpointError::NotHttps)),
            ("https://u:p@a.example", Err(EndpointError::User)),
            ("https://", Err(EndpointError::NoHost)),
            ("https:a.example", Err(EndpointError::NoHost)),
            ("https:///x", Err(EndpointError::NoHost)),
            ("https://:8443/x", Err(EndpointError::NoHost)),
            ("https://é.example", Err(EndpointError::UnicodeHost)),
            ("https://[fe80::1%25en0]/x", Err(EndpointError::Zone)),
            (
                "https://a b/x",
                Err(EndpointError::Url(
                    r#"parse "https://a b/x": invalid character " " in host name"#.to_owned(),
                )),
            ),
        ] {
            let got = Endpoint::parse(url).map(|endpoint| endpoint.to_string());
            assert_eq!(got, want.map(str::to_owned), "{url}");
        }
        for (url, want) in [
            ("https://a.example:8443/x", "a.example"),
            ("https://a.example", "a.example"),
            ("https://[::1]:8443/x", "::1"),
            ("https://[::1]", "::1"),
        ] {
            let host = Endpoint::parse(url).map(|endpoint| endpoint.host().to_owned());
            assert_eq!(host.as_deref(), Ok(want), "{url}");
        }
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
