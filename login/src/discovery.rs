//! What an issuer publishes about itself (OpenID Connect Discovery 1.0, RFC 8414).

use serde::Deserialize;

use crate::address::{AddressError, Link};
use crate::http::{Http, HttpError};

/// Why an issuer's metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// It could not be fetched.
    #[error("the issuer {issuer} gives no discovery document: {error}")]
    Fetch {
        /// The issuer.
        issuer: String,
        /// What happened.
        error: HttpError,
    },
    /// It belongs to another issuer. The cluster compares too, byte for byte.
    #[error(
        "the issuer at {issuer} calls itself {found}; --oidc-issuer-url must be exactly that, and so must the cluster's"
    )]
    OtherIssuer {
        /// The issuer that was asked for.
        issuer: String,
        /// What the document says.
        found: String,
    },
    /// An address that is not one, or that would send secrets in the clear.
    #[error("the issuer's {name} cannot be used: {error}")]
    Insecure {
        /// Name of the field.
        name: &'static str,
        /// What is wrong with it.
        error: AddressError,
    },
    /// The issuer does not offer what the settings ask for.
    #[error("the issuer offers no {0}")]
    NotOffered(&'static str),
}

/// The metadata, as far as a login needs it.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// Must equal the URL it was fetched for.
    pub issuer: String,
    /// Where the browser goes.
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    /// Where tokens come from.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// The key set.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// RFC 8628
    #[serde(default)]
    pub device_authorization_endpoint: Option<String>,
    /// RFC 7009
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
    /// OpenID Connect RP-Initiated Logout
    #[serde(default)]
    pub end_session_endpoint: Option<String>,
    /// How a confidential client shows its secret; absent means `client_secret_basic`.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// RFC 9207: the callback names its issuer.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Fetches and checks the metadata of `issuer`.
    pub fn fetch(http: &Http, issuer: &str) -> Result<Self, DiscoveryError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.strip_suffix('/').unwrap_or(issuer)
        );
        let metadata: Self = http
            .json(&url)
            .map_err(|error| DiscoveryError::Fetch { issuer: issuer.to_owned(), error })?;
        if metadata.issuer != issuer {
            let found = metadata.issuer;
            return Err(DiscoveryError::OtherIssuer { issuer: issuer.to_owned(), found });
        }
        for (name, url) in metadata.endpoints() {
            url.map(|url| metadata.link(name, url)).transpose()?;
        }
        Ok(metadata)
    }

    /// An address that the issuer names in the field `name`. Without TLS it must be on this machine, as the issuer itself.
    pub fn link(&self, name: &'static str, url: &str) -> Result<Link, DiscoveryError> {
        let here = self.issuer.starts_with("http://");
        Link::checked(url, here).map_err(|error| DiscoveryError::Insecure { name, error })
    }

    /// The token endpoint; every grant needs it.
    pub fn token_endpoint(&self) -> Result<&str, DiscoveryError> {
        self.token_endpoint.as_deref().ok_or(DiscoveryError::NotOffered("token endpoint"))
    }

    /// The authorization endpoint.
    pub fn authorization_endpoint(&self) -> Result<&str, DiscoveryError> {
        self.authorization_endpoint
            .as_deref()
            .ok_or(DiscoveryError::NotOffered("authorization endpoint"))
    }

    /// The device authorization endpoint.
    pub fn device_endpoint(&self) -> Result<&str, DiscoveryError> {
        self.device_authorization_endpoint.as_deref().ok_or(DiscoveryError::NotOffered(
            "device authorization endpoint, so --grant-type=device-code cannot be used",
        ))
    }

    /// The key set's address.
    pub fn jwks_uri(&self) -> Result<&str, DiscoveryError> {
        self.jwks_uri.as_deref().ok_or(DiscoveryError::NotOffered("key set"))
    }

    /// The secret goes into the body, since the issuer does not take it as a header.
    #[must_use]
    pub fn secret_in_body(&self) -> bool {
        self.token_endpoint_auth_methods_supported.as_ref().is_some_and(|methods| {
            let offers = |name: &str| methods.iter().any(|method| method == name);
            offers("client_secret_post") && !offers("client_secret_basic")
        })
    }

    fn endpoints(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("authorization_endpoint", self.authorization_endpoint.as_deref()),
            ("token_endpoint", self.token_endpoint.as_deref()),
            ("jwks_uri", self.jwks_uri.as_deref()),
            ("device_authorization_endpoint", self.device_authorization_endpoint.as_deref()),
            ("revocation_endpoint", self.revocation_endpoint.as_deref()),
            ("end_session_endpoint", self.end_session_endpoint.as_deref()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent to an endpoint is secret. An issuer on this machine does without TLS; that of another machine does not.
    #[test]
    fn break_in_12_every_endpoint_needs_tls_unless_it_is_on_this_machine_as_the_issuer() {
        for (issuer, url, want) in [
            ("https://i", "https://a/token", true),
            ("https://i", "http://a/token", false),
            ("https://i", "http://127.0.0.1/token", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:1/token", true),
            ("http://127.0.0.1:1", "https://a/token", true),
            ("http://127.0.0.1:1", "http://a/token", false),
            ("http://127.0.0.1:1", "javascript:alert(1)", false),
            ("http://127.0.0.1:1", "/token", false),
        ] {
            let metadata: Metadata =
                serde_json::from_value(serde_json::json!({ "issuer": issuer })).unwrap();
            let found = metadata.link("token_endpoint", url);
            assert_eq!(found.is_ok(), want, "{issuer} {url}: {found:?}");
        }
    }

    #[test]
    fn a_secret_goes_into_the_header_unless_only_the_body_is_taken() {
        for (methods, want) in [
            ("", false),
            (r#","token_endpoint_auth_methods_supported":["client_secret_basic"]"#, false),
            (r#","token_endpoint_auth_methods_supported":["client_secret_post"]"#, true),
            (
                r#","token_endpoint_auth_methods_supported":["client_secret_post","client_secret_basic"]"#,
                false,
            ),
            (r#","token_endpoint_auth_methods_supported":["private_key_jwt"]"#, false),
        ] {
            let metadata: Metadata =
                serde_json::from_str(&format!(r#"{{"issuer":"i"{methods}}}"#)).unwrap();
            assert_eq!(metadata.secret_in_body(), want, "{methods}");
        }
    }
}
