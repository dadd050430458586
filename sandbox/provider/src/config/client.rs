//! A registered client (relying party) and what it may do.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

/// An application that asks for tokens (RFC 6749, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// `client_id`; the audience of its ID tokens.
    pub id: String,
    /// The secret of a confidential client. Absent: a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The public keys (JWK) of a client that proves itself by assertions (RFC 7523). It has no secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Value>,
    /// Whom it may act as with an assertion: Google's domain-wide delegation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts_as: Vec<String>,
    /// The ways it may prove itself. A public client has only `none`.
    #[serde(default = "ClientAuthentication::all")]
    pub authentication: Vec<ClientAuthentication>,
    /// Where it may be sent back to after a login: exact, but any port on loopback hosts (RFC 8252, section 7.3), and
    /// any rest where the pattern ends in `*`.
    #[serde(default = "loopback_redirects")]
    pub redirect_uris: Vec<String>,
    /// Where it may be sent back to after a logout, in the same form.
    #[serde(default = "loopback_redirects")]
    pub post_logout_redirect_uris: Vec<String>,
    /// The grants it may use.
    #[serde(default = "GrantType::all")]
    pub grant_types: Vec<GrantType>,
    /// Whether an authorization request without PKCE (RFC 7636) is refused.
    #[serde(default)]
    pub require_pkce: bool,
    /// When it gets refresh tokens.
    #[serde(default)]
    pub refresh_tokens: RefreshTokens,
    /// Whether a refresh token is replaced when it is used; the old one used again then ends the whole login
    /// (RFC 9700, section 4.14.2).
    #[serde(default)]
    pub rotate_refresh_tokens: bool,
    /// Scopes that count as asked for in every request.
    #[serde(default)]
    pub default_scopes: Vec<String>,
    /// Audiences of its ID tokens beside the client itself.
    #[serde(default)]
    pub extra_audiences: Vec<String>,
    /// What its access tokens look like.
    #[serde(default)]
    pub access_tokens: AccessTokenFormat,
    /// What its opaque access tokens begin with.
    #[serde(default)]
    pub access_token_prefix: String,
    /// How long its tokens live, in seconds, if not as the issuer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_lifetime_seconds: Option<u32>,
}

/// How a client proves itself at the token endpoint (OpenID Connect Core, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// `Authorization: Basic`.
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the form.
    ClientSecretPost,
    /// A signed assertion in the form (RFC 7523, section 2.2).
    PrivateKeyJwt,
}

/// The grants of RFC 6749, RFC 7523, RFC 8628 and RFC 8693.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum GrantType {
    AuthorizationCode,
    RefreshToken,
    Password,
    ClientCredentials,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

/// When a client gets a refresh token with its other tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshTokens {
    /// With every login of a user, as Keycloak does.
    #[default]
    Always,
    /// If the scope `offline_access` was asked for (OpenID Connect Core, section 11).
    OfflineAccessScope,
    /// If the authorization request had `access_type=offline`, as Google does.
    AccessTypeOffline,
    /// Never.
    Never,
}

/// What an access token looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessTokenFormat {
    /// Random text.
    Opaque,
    /// A signed JWT with the user's claims and the client as audience, as Keycloak and Entra ID have it.
    #[default]
    Jwt,
    /// A signed JWT that says who issued it and until when it is good, and nothing of its user: Keycloak's lightweight tokens.
    Lightweight,
}

impl ClientAuthentication {
    /// All three.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt]
    }
}

impl GrantType {
    /// All seven.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::AuthorizationCode,
            Self::RefreshToken,
            Self::Password,
            Self::ClientCredentials,
            Self::DeviceCode,
            Self::TokenExchange,
            Self::JwtBearer,
        ]
    }

    /// The value of `grant_type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::Password => "password",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }
}

/// Any path and port of this machine: what command-line programs use.
fn loopback_redirects() -> Vec<String> {
    ["http://127.0.0.1/*", "http://[::1]/*", "http://localhost/*"].map(str::to_owned).to_vec()
}

impl ClientConfig {
    /// A public client that may use every grant and come back to any port of this machine.
    #[must_use]
    pub fn public(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: None,
            keys: Vec::new(),
            acts_as: Vec::new(),
            authentication: ClientAuthentication::all(),
            redirect_uris: loopback_redirects(),
            post_logout_redirect_uris: loopback_redirects(),
            grant_types: GrantType::all(),
            require_pkce: false,
            refresh_tokens: RefreshTokens::default(),
            rotate_refresh_tokens: false,
            default_scopes: Vec::new(),
            extra_audiences: Vec::new(),
            access_tokens: AccessTokenFormat::default(),
            access_token_prefix: String::new(),
            token_lifetime_seconds: None,
        }
    }

    /// The same with a secret.
    #[must_use]
    pub fn confidential(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { secret: Some(secret.into()), ..Self::public(id) }
    }

    /// Whether it can prove itself.
    pub(crate) fn is_confidential(&self) -> bool {
        self.secret.is_some() || !self.keys.is_empty()
    }

    pub(crate) fn may_return_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|pattern| matches(pattern, uri))
    }

    pub(crate) fn may_return_after_logout_to(&self, uri: &str) -> bool {
        self.post_logout_redirect_uris.iter().any(|pattern| matches(pattern, uri))
    }
}

/// Whether `uri` is what `pattern` allows: the same scheme, host, path and query, the same port unless the host is this
/// machine, no fragment and no user information.
fn matches(pattern: &str, uri: &str) -> bool {
    let (exact, pattern) = match pattern.strip_suffix('*') {
        Some(prefix) => (false, prefix),
        None => (true, pattern),
    };
    let (Ok(allowed), Ok(asked)) = (Url::parse(pattern), Url::parse(uri)) else {
        return false;
    };
    let same_place = allowed.scheme() == asked.scheme() && allowed.host() == asked.host();
    let same_port = is_loopback(&asked) || allowed.port() == asked.port();
    let plain = asked.fragment().is_none() && asked.username().is_empty();
    let path = if exact {
        allowed.path() == asked.path() && allowed.query() == asked.query()
    } else {
        asked.path().starts_with(allowed.path())
    };
    same_place && same_port && plain && asked.password().is_none() && path
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_uris() {
        for (pattern, uri, want) in [
            ("https://app/cb", "https://app/cb", true),
            ("https://app/cb", "https://app:8443/cb", false),
            ("https://app/cb", "http://app/cb", false),
            ("https://app/cb", "https://app/cb/more", false),
            ("https://app/cb", "https://app/cb?x=1", false),
            ("https://app/cb", "https://app/cb#x", false),
            ("https://app/cb", "https://app.evil/cb", false),
            ("https://app/cb", "https://app@evil/cb", false),
            ("https://app/cb", "https://u:p@app/cb", false),
            ("https://app/*", "https://app/anything?x=1", true),
            ("https://app/*", "https://app.evil/", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:41234/cb", true), // RFC 8252, 7.3
            ("http://127.0.0.1:8000/cb", "http://127.0.0.1:41234/cb", true),
            ("http://127.0.0.1/cb", "http://localhost:41234/cb", false),
            ("http://[::1]/cb", "http://[::1]:41234/cb", true),
            ("http://localhost/*", "http://localhost:8000", true), // kubelogin's has no path
            ("http://localhost/*", "http://localhost.evil:8000/", false),
            ("http://127.0.0.1/*", "not a url", false),
        ] {
            assert_eq!(matches(pattern, uri), want, "{pattern} {uri}");
        }
    }
}
