//! kube-apiserver's structured authentication, rule for rule: an `AuthenticationConfiguration` and a token in, an
//! identity or an error out.
//!
//! Nothing here does I/O or reads a clock: keys, time and the cryptography are passed in. The rules and the texts of the
//! errors are those of k8s.io/apiserver (`plugin/pkg/authenticator/token/oidc` and `pkg/apis/apiserver/validation`) with go-oidc and
//! go-jose beneath it, by the version that [`Rules`] says; each file names its own source.
//!
//! The way of a token: [`token::UnverifiedToken::parse`], [`AuthenticationConfiguration::authenticator_for`],
//! [`JwtAuthenticator::verify`] against a [`jwks::KeySet`], [`JwtAuthenticator::identity`].

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod config;
pub mod crypto;
pub mod discovery;
pub mod distributed;
pub mod flags;
pub mod identity;
pub mod introspection;
mod jwk;
pub mod jwks;
mod key_der;
mod key_kind;
pub mod logout;
#[cfg(test)]
mod testing;
pub mod token;
pub mod verify;
mod x509;

pub use config::{AuthenticationConfiguration, JwtAuthenticator};
pub use identity::{AuthnError, Identity};
pub use kube_rules::Rules;
pub use token::UnverifiedToken;
pub use verify::{VerifiedToken, VerifyError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
