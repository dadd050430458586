//! What a provider is started with: a file for the program, the same types for the library.

mod client;
mod user;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::{
    client::{AccessTokenFormat, ClientAuthentication, ClientConfig, GrantType, RefreshTokens},
    user::User,
};
use crate::keys::Algorithm;

/// A provider: where it listens and which issuers it serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where HTTPS is served. Port 0: a free one.
    pub listen: SocketAddr,
    /// The host in the issuers' URLs. The certificate is valid for it, `localhost`, `127.0.0.1` and `::1`.
    pub host: String,
    /// Where the administrative API is served, in plain HTTP and without credentials, thus on loopback only.
    pub admin: Option<SocketAddr>,
    /// Certificate and key to serve with. Absent: a new certificate authority and certificate at each start.
    pub tls: Option<TlsFiles>,
    /// The issuers, told apart by their paths.
    pub issuers: Vec<IssuerConfig>,
}

/// PEM files to serve TLS with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, then intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// The certificate authority that clients are to trust.
    pub ca: PathBuf,
}

/// One issuer (realm, tenant).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerConfig {
    /// What the library and the administrative API call it.
    pub name: String,
    /// The path of its URL, as `/auth/realms/kubernetes-sandbox`; empty for an issuer that is the host alone. With a
    /// slash at its end the issuer's URL has one too.
    pub path: String,
    /// One key for each is published; the first one signs.
    pub algorithms: Vec<Algorithm>,
    /// How long ID tokens and access tokens live, in seconds.
    pub token_lifetime_seconds: u32,
    /// How long refresh tokens live, in seconds.
    pub refresh_token_lifetime_seconds: u32,
    /// Seconds that a device has to wait between two polls.
    pub device_interval_seconds: u32,
    /// Whether ID tokens carry a `jti`.
    pub jti: bool,
    /// Whether ID tokens carry an `nbf`, equal to `iat`.
    pub nbf: bool,
    /// The scopes it knows; others are refused.
    pub scopes: Vec<String>,
    /// How it can let somebody log in (`acr`), the values that an authorization request, or a device, may ask for. Who asks for none gets a token
    /// without the claim.
    pub acr_values: Vec<String>,
    /// The `Cache-Control` value of discovery document and key set. Absent: no such header.
    pub cache_control: Option<String>,
    /// Who may ask for tokens.
    pub clients: Vec<ClientConfig>,
    /// Who may log in.
    pub users: Vec<User>,
}

/// Why a provider cannot be started with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not JSON, or not of this form.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why and where.
        source: serde_json::Error,
    },
    /// A value that makes no sense.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field, as `issuers[0].path`.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host: "127.0.0.1".to_owned(),
            admin: None,
            tls: None,
            issuers: Vec::new(),
        }
    }
}

impl Config {
    /// A provider on a free port of 127.0.0.1 with one issuer.
    #[must_use]
    pub fn of(issuer: IssuerConfig) -> Self {
        Self::default().issuer(issuer)
    }

    /// One issuer more.
    #[must_use]
    pub fn issuer(mut self, issuer: IssuerConfig) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// The configuration in a JSON file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let invalid = |field: String, problem| Err(ConfigError::Invalid { field, problem });
        if self.admin.is_some_and(|address| !address.ip().is_loopback()) {
            return invalid("admin".to_owned(), "must be a loopback address");
        }
        for (i, issuer) in self.issuers.iter().enumerate() {
            if issuer.algorithms.is_empty() {
                return invalid(format!("issuers[{i}].algorithms"), "must not be empty");
            }
            let path = &issuer.path;
            if !path.is_empty() && !path.starts_with('/') || path.contains(['?', '#']) {
                return invalid(format!("issuers[{i}].path"), "must be empty or a path");
            }
            for other in &self.issuers[..i] {
                if other.name == issuer.name {
                    return invalid(format!("issuers[{i}].name"), "stands there twice");
                }
                if other.path.trim_end_matches('/') == path.trim_end_matches('/') {
                    return invalid(format!("issuers[{i}].path"), "stands there twice");
                }
            }
        }
        Ok(())
    }
}

impl Default for IssuerConfig {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            path: String::new(),
            algorithms: vec![Algorithm::Rs256],
            token_lifetime_seconds: 300,
            refresh_token_lifetime_seconds: 1800,
            device_interval_seconds: 5,
            jti: true,
            nbf: false,
            scopes: ["openid", "profile", "email", "groups", "offline_access"]
                .map(str::to_owned)
                .to_vec(),
            acr_values: Vec::new(),
            cache_control: None,
            clients: Vec::new(),
            users: Vec::new(),
        }
    }
}

impl IssuerConfig {
    /// An RS256 issuer without clients and users.
    #[must_use]
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), ..Self::default() }
    }

    /// The algorithms to publish a key for; the first one signs.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl Into<Vec<Algorithm>>) -> Self {
        self.algorithms = algorithms.into();
        self
    }

    /// One client more.
    #[must_use]
    pub fn client(mut self, client: ClientConfig) -> Self {
        self.clients.push(client);
        self
    }

    /// One user more.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_only_what_differs_from_the_defaults() {
        let config: Config = serde_json::from_str(
            r#"{"issuers": [{"name": "a", "path": "/a", "algorithms": ["ES256"],
                 "clients": [{"id": "c", "secret": "s", "require_pkce": true}],
                 "users": [{"name": "u", "password": "p", "groups": ["g"], "claims": {"hd": "x"}}]}]}"#,
        )
        .unwrap();
        let mut user = User::new("u", "p").groups(["g"]);
        user.claims.insert("hd".to_owned(), "x".into());
        let mut client = ClientConfig::confidential("c", "s");
        client.require_pkce = true;
        let issuer = IssuerConfig::new("a", "/a").algorithms([Algorithm::Es256]);
        assert_eq!(config, Config::of(issuer.client(client).user(user)));
        assert!(config.check().is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = serde_json::from_str::<Config>(r#"{"isuers": []}"#).unwrap_err();
        assert!(unknown.to_string().contains("unknown field `isuers`"), "{unknown}");
        let a = || IssuerConfig::new("a", "/a");
        for (config, want) in [
            (
                Config { admin: Some(([10, 0, 0, 1], 1).into()), ..Config::default() },
                "admin: must be a loopback address",
            ),
            (Config::of(a().algorithms([])), "issuers[0].algorithms: must not be empty"),
            (Config::of(IssuerConfig::new("a", "a")), "issuers[0].path: must be empty or a path"),
            (
                Config::of(a()).issuer(IssuerConfig::new("a", "/b")),
                "issuers[1].name: stands there twice",
            ),
            (
                Config::of(a()).issuer(IssuerConfig::new("b", "/a/")),
                "issuers[1].path: stands there twice",
            ),
        ] {
            assert_eq!(config.check().unwrap_err().to_string(), want);
        }
    }
}
