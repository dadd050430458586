//! What an issuer publishes about itself (OpenID Connect Discovery 1.0, RFC 8414).

use serde_json::{Map, Value};
use url::Url;

use crate::{
    address::{AddressError, Link},
    http::{Http, HttpError},
};

/// Why an issuer's metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// It could not be fetched.
    #[error("the issuer {issuer} gives no discovery document: {error}{}", error.way_out("--certificate-authority"))]
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
    #[error(
        "the issuer's {name} cannot be used: {error}; the issuer's administrator must correct that"
    )]
    Insecure {
        /// Name of the field.
        name: &'static str,
        /// What is wrong with it.
        error: AddressError,
    },
    /// The issuer does not offer what the settings ask for.
    #[error(
        "the issuer offers no {0}; choose another --grant-type, or is the address of --oidc-issuer-url another?"
    )]
    NotOffered(&'static str),
}

/// The metadata, as far as a login needs it. A field that is not used is not looked at, and one in another form than the
/// standard's counts as absent: an issuer is judged by what is asked of it.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Must equal the URL it was fetched for.
    pub issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    /// How a confidential client shows its secret; absent means `client_secret_basic`.
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// The scopes it lists, if it lists any.
    scopes_supported: Vec<String>,
    /// RFC 9207: the callback names its issuer.
    pub authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Fetches and checks the metadata of `issuer`, from `at` if it is given.
    pub fn fetch(http: &Http, issuer: &str, at: Option<&Url>) -> Result<Self, DiscoveryError> {
        let url = at.map_or_else(
            || {
                let base = issuer.strip_suffix('/').unwrap_or(issuer);
                format!("{base}/.well-known/openid-configuration")
            },
            Url::to_string,
        );
        let document: Map<String, Value> = http
            .json(&url)
            .map_err(|error| DiscoveryError::Fetch { issuer: issuer.to_owned(), error })?;
        let metadata = Self::read(&document);
        if metadata.issuer != issuer {
            let found = metadata.issuer;
            return Err(DiscoveryError::OtherIssuer { issuer: issuer.to_owned(), found });
        }
        Ok(metadata)
    }

    /// Reads a document.
    #[must_use]
    pub fn read(document: &Map<String, Value>) -> Self {
        let text = |name: &str| {
            let text = document.get(name).and_then(Value::as_str);
            text.filter(|text| !text.trim().is_empty()).map(str::to_owned)
        };
        let methods = match document.get("token_endpoint_auth_methods_supported") {
            Some(Value::String(one)) => Some(one.split_whitespace().map(str::to_owned).collect()),
            Some(Value::Array(many)) => {
                Some(many.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => None,
        };
        let list = |name: &str| {
            let items = document.get(name).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let promises_issuer = match document.get("authorization_response_iss_parameter_supported") {
            Some(Value::Bool(promised)) => *promised,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        Self {
            issuer: text("issuer").unwrap_or_default(),
            authorization_endpoint: text("authorization_endpoint"),
            token_endpoint: text("token_endpoint"),
            jwks_uri: text("jwks_uri"),
            device_authorization_endpoint: text("device_authorization_endpoint"),
            revocation_endpoint: text("revocation_endpoint"),
            end_session_endpoint: text("end_session_endpoint"),
            token_endpoint_auth_methods_supported: methods,
            scopes_supported: list("scopes_supported"),
            authorization_response_iss_parameter_supported: promises_issuer,
        }
    }

    /// An address that the issuer names in the field `name`. Without TLS it must be on this machine, as the issuer itself.
    pub fn link(&self, name: &'static str, url: &str) -> Result<Link, DiscoveryError> {
        let here = self.issuer.starts_with("http://");
        Link::checked(url, here).map_err(|error| DiscoveryError::Insecure { name, error })
    }

    /// Where tokens come from; every grant needs it.
    pub fn token_endpoint(&self) -> Result<Link, DiscoveryError> {
        self.endpoint("token_endpoint", self.token_endpoint.as_deref(), "token endpoint")
    }

    /// Where the browser goes.
    pub fn authorization_endpoint(&self) -> Result<Link, DiscoveryError> {
        let url = self.authorization_endpoint.as_deref();
        self.endpoint("authorization_endpoint", url, "authorization endpoint")
    }

    /// Where device codes come from (RFC 8628).
    pub fn device_endpoint(&self) -> Result<Link, DiscoveryError> {
        let absent = "device authorization endpoint, so --grant-type=device-code cannot be used";
        let url = self.device_authorization_endpoint.as_deref();
        self.endpoint("device_authorization_endpoint", url, absent)
    }

    /// The key set's address.
    pub fn jwks_uri(&self) -> Result<Link, DiscoveryError> {
        self.endpoint("jwks_uri", self.jwks_uri.as_deref(), "key set")
    }

    /// Where tokens are revoked (RFC 7009).
    pub fn revocation_endpoint(&self) -> Result<Link, DiscoveryError> {
        let url = self.revocation_endpoint.as_deref();
        self.endpoint("revocation_endpoint", url, "revocation endpoint")
    }

    /// Where a browser ends its session (OpenID Connect RP-Initiated Logout 1.0).
    pub fn end_session_endpoint(&self) -> Result<Link, DiscoveryError> {
        let url = self.end_session_endpoint.as_deref();
        self.endpoint("end_session_endpoint", url, "end-session endpoint")
    }

    fn endpoint(
        &self,
        name: &'static str,
        url: Option<&str>,
        absent: &'static str,
    ) -> Result<Link, DiscoveryError> {
        self.link(name, url.ok_or(DiscoveryError::NotOffered(absent))?)
    }

    /// Those of `scopes` that the issuer does not list, if it lists any: it need not list all (OpenID Connect Discovery 1.0,
    /// section 3).
    #[must_use]
    pub fn scopes_not_offered<'a>(&self, scopes: &'a [String]) -> Vec<&'a str> {
        let listed = &self.scopes_supported;
        let absent = scopes.iter().filter(|scope| !listed.is_empty() && !listed.contains(scope));
        absent.map(String::as_str).collect()
    }

    /// The secret goes into the body, since the issuer does not take it as a header.
    #[must_use]
    pub fn secret_in_body(&self) -> bool {
        self.takes_secret("client_secret_post") && !self.takes_secret("client_secret_basic")
    }

    /// The secret goes into the body of a request for a device's code, unless the issuer says that it takes it as a header alone.
    #[must_use]
    pub fn device_secret_in_body(&self) -> bool {
        self.takes_secret("client_secret_post") || !self.takes_secret("client_secret_basic")
    }

    fn takes_secret(&self, wanted: &str) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.iter().flatten();
        methods.into_iter().any(|method| method == wanted)
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
            let metadata = Metadata { issuer: issuer.to_owned(), ..Metadata::default() };
            let found = metadata.link("token_endpoint", url);
            assert_eq!(found.is_ok(), want, "{issuer} {url}: {found:?}");
            let all = [
                "authorization_endpoint",
                "token_endpoint",
                "jwks_uri",
                "device_authorization_endpoint",
                "revocation_endpoint",
                "end_session_endpoint",
            ];
            let mut document: Map<String, Value> =
                all.iter().map(|name| ((*name).to_owned(), url.into())).collect();
            document.insert("issuer".to_owned(), issuer.into());
            let metadata = Metadata::read(&document);
            for found in [
                metadata.authorization_endpoint(),
                metadata.token_endpoint(),
                metadata.jwks_uri(),
                metadata.device_endpoint(),
                metadata.revocation_endpoint(),
                metadata.end_session_endpoint(),
            ] {
                assert_eq!(found.is_ok(), want, "{issuer} {url}: {found:?}");
            }
        }
    }

    /// Which of the two places a secret goes into, and which in a request for a device's code: Dex takes both in general, and for
    /// a device the body alone.
    #[test]
    fn a_secret_goes_into_the_header_unless_only_the_body_is_taken() {
        for (methods, want, device) in [
            ("", false, true),
            (r#","token_endpoint_auth_methods_supported":["client_secret_basic"]"#, false, false),
            (r#","token_endpoint_auth_methods_supported":["client_secret_post"]"#, true, true),
            (
                r#","token_endpoint_auth_methods_supported":["client_secret_post","client_secret_basic"]"#,
                false,
                true,
            ),
            (r#","token_endpoint_auth_methods_supported":["private_key_jwt"]"#, false, true),
            (r#","token_endpoint_auth_methods_supported":"client_secret_post""#, true, true),
            (r#","token_endpoint_auth_methods_supported":null"#, false, true),
            (r#","token_endpoint_auth_methods_supported":[7,"client_secret_post"]"#, true, true),
        ] {
            let document = serde_json::from_str(&format!(r#"{{"issuer":"i"{methods}}}"#)).unwrap();
            let metadata = Metadata::read(&document);
            assert_eq!(metadata.secret_in_body(), want, "{methods}");
            assert_eq!(metadata.device_secret_in_body(), device, "{methods}, a device");
        }
    }
}
