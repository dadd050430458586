//! The endpoints of an issuer and where they lie below its URL.
//!
//! Only the discovery document has a fixed place (OpenID Connect Discovery, section 4); all others are found through it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One endpoint of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// The discovery document.
    Discovery,
    /// The key set, at `jwks_uri`.
    Jwks,
    /// The authorization endpoint with its login page.
    Authorization,
    /// The token endpoint.
    Token,
    /// Where a device asks for a user code (RFC 8628, section 3.1).
    DeviceAuthorization,
    /// The page where a person enters a user code.
    DeviceVerification,
    /// The userinfo endpoint (OpenID Connect Core, section 5.3).
    Userinfo,
    /// Token revocation (RFC 7009).
    Revocation,
    /// Token introspection (RFC 7662).
    Introspection,
    /// Logout (OpenID Connect RP-Initiated Logout).
    EndSession,
    /// Distributed claims (OpenID Connect Core, section 5.6.2).
    Claims,
    /// All paths of the directory, in the forms of several products.
    Directory,
}

/// No endpoint has this name.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint is called {name:?}; there are {}", Endpoint::ALL.map(Endpoint::name).join(", "))]
pub struct UnknownEndpoint {
    name: String,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Discovery,
        Self::Jwks,
        Self::Authorization,
        Self::Token,
        Self::DeviceAuthorization,
        Self::DeviceVerification,
        Self::Userinfo,
        Self::Revocation,
        Self::Introspection,
        Self::EndSession,
        Self::Claims,
        Self::Directory,
    ];

    /// Its name in configuration and in the administrative API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
            Self::Authorization => "authorization",
            Self::Token => "token",
            Self::DeviceAuthorization => "device-authorization",
            Self::DeviceVerification => "device-verification",
            Self::Userinfo => "userinfo",
            Self::Revocation => "revocation",
            Self::Introspection => "introspection",
            Self::EndSession => "end-session",
            Self::Claims => "claims",
            Self::Directory => "directory",
        }
    }

    /// Its path below the issuer's.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Discovery => "/.well-known/openid-configuration",
            Self::Jwks => "/keys",
            Self::Authorization => "/authorize",
            Self::Token => "/token",
            Self::DeviceAuthorization => "/device_authorization",
            Self::DeviceVerification => "/device",
            Self::Userinfo => "/userinfo",
            Self::Revocation => "/revoke",
            Self::Introspection => "/introspect",
            Self::EndSession => "/logout",
            Self::Claims => "/claims",
            Self::Directory => "/directory",
        }
    }

    pub(crate) fn at(path: &str) -> Option<Self> {
        if path.strip_prefix(Self::Directory.path()).is_some_and(|rest| rest.starts_with('/')) {
            return Some(Self::Directory);
        }
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = UnknownEndpoint;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
            .ok_or_else(|| UnknownEndpoint { name: name.to_owned() })
    }
}
