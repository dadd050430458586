//! A small OpenID provider for the sandbox and the tests: real logins, real keys, and any bad token or bad answer to
//! order.
//!
//! ```
//! use oidc_provider::{ClientConfig, Config, IssuerConfig, Provider, SignWith, User};
//!
//! let provider = Provider::start(Config::of(
//!     IssuerConfig::new("main", "/auth/realms/main")
//!         .client(ClientConfig::public("kubernetes"))
//!         .user(User::new("alice", "secret").groups(["developers"])),
//! ))?;
//! let issuer = provider.issuer();
//! let good = issuer.token("alice", "kubernetes").mint();
//! let expired = issuer.token("alice", "kubernetes").expires_in(-10).mint();
//! let unsigned = issuer.token("alice", "kubernetes").sign(SignWith::None).mint();
//! # Ok::<(), oidc_provider::StartError>(())
//! ```

mod admin;
mod browser;
mod call;
mod claims;
mod client_key;
mod config;
mod encoding;
mod endpoint;
mod endpoints;
mod expiring;
mod issuer;
mod keys;
mod logins;
mod mint;
mod misbehaviour;
mod pages;
mod preset;
mod provider;
mod reply;
mod requests;
mod server;
mod state;
mod tls;

pub use crate::{
    browser::{Browser, BrowserError, Page},
    client_key::ClientKey,
    config::{
        AccessTokenFormat, ClientAuthentication, ClientConfig, Config, ConfigError, GrantType,
        IssuerConfig, RefreshTokens, TlsFiles, User,
    },
    endpoint::{Endpoint, UnknownEndpoint},
    endpoints::token::issue::Tokens,
    issuer::{InvalidMisbehaviour, Issuer, UnknownUser},
    keys::{Algorithm, PublicKey, Rotation, SigningKey},
    mint::{MintError, PublicKeyForm, SignWith, TokenBuilder},
    misbehaviour::{Answer, Misbehaviour},
    preset::Preset,
    provider::{ControlError, Provider, StartError},
    tls::TlsError,
};
