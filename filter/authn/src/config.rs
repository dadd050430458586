//! The `AuthenticationConfiguration` that kube-apiserver takes with `--authentication-config`, decoded as strictly and
//! validated by the same rules.
//!
//! Raw types ([`raw`]) mirror the file. The checked types here cannot be built from an invalid one: [`load`] is the only
//! way in. Source of the rules: kube-apiserver, `pkg/kubeapiserver/options/authentication.go` (loading) and k8s.io/apiserver
//! `pkg/apis/apiserver/validation` (validation).

mod anonymous;
mod authenticator;
mod certificates;
mod decode;
mod error;
mod extra_key;
mod options;
#[cfg(feature = "yaml")]
mod portability;
pub mod raw;
mod validate;
#[cfg(feature = "yaml")]
mod yaml;

pub use anonymous::Anonymous;
pub use authenticator::JwtAuthenticator;
pub(crate) use authenticator::{Mapping, PrefixedClaim, Rule};
pub use error::{ConfigError, ConfigErrors, ErrorKind, FieldError};
pub use options::LoadOptions;
#[cfg(feature = "yaml")]
pub use portability::{Finding, Problem, portability};
#[cfg(feature = "yaml")]
pub use yaml::load_yaml;

use kube_rules::Rules;

use crate::token::UnverifiedToken;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct AuthenticationConfiguration {
    raw: raw::AuthenticationConfiguration,
    rules: Rules,
    jwt: Vec<JwtAuthenticator>,
    anonymous: Anonymous,
    warnings: Vec<Warning>,
}

/// Something in the file that has no effect here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The egress selector chooses a network of kube-apiserver's; there is none here.
    #[error("{path}: egress selector {value:?} is ignored")]
    EgressSelectorIgnored {
        /// The field's path.
        path: String,
        /// Its value.
        value: String,
    },
}

/// Reads a configuration in JSON.
///
/// # Errors
/// Whatever kube-apiserver would refuse, in its words and order. A file that cannot be decoded gives one error, an invalid
/// one all of them.
pub fn load(
    json: &[u8],
    options: &LoadOptions,
) -> Result<AuthenticationConfiguration, ConfigErrors> {
    let raw = decode::decode_json(json)?;
    check(raw, options)
}

/// Validates a decoded file, or what stands for one.
pub(crate) fn check(
    raw: raw::AuthenticationConfiguration,
    options: &LoadOptions,
) -> Result<AuthenticationConfiguration, ConfigErrors> {
    let jwt = validate::validate(&raw, options)?;
    let anonymous = Anonymous::new(raw.anonymous.as_ref());
    let warnings = warnings(&raw);
    Ok(AuthenticationConfiguration { raw, rules: options.rules, jwt, anonymous, warnings })
}

fn warnings(raw: &raw::AuthenticationConfiguration) -> Vec<Warning> {
    let issuers = raw.jwt.iter().map(|jwt| &jwt.issuer).enumerate();
    issuers
        .filter(|(_, issuer)| !issuer.egress_selector_type.is_empty())
        .map(|(index, issuer)| Warning::EgressSelectorIgnored {
            path: format!("jwt[{index}].issuer.egressSelectorType"),
            value: issuer.egress_selector_type.clone(),
        })
        .collect()
}

impl AuthenticationConfiguration {
    /// Whose rules the file was read by.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The authenticators in the order of the file. No two have the same issuer URL.
    #[must_use]
    pub fn jwt(&self) -> &[JwtAuthenticator] {
        &self.jwt
    }

    /// Who may come without credentials.
    #[must_use]
    pub fn anonymous(&self) -> &Anonymous {
        &self.anonymous
    }

    /// What in the file has no effect here.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The file's content, for programs that hand it on as JSON.
    #[must_use]
    pub fn raw(&self) -> &raw::AuthenticationConfiguration {
        &self.raw
    }

    /// The authenticator for a token's issuer and its place in [`Self::jwt`], or `None` for a token of nobody's.
    #[must_use]
    pub fn authenticator_for(&self, token: &UnverifiedToken) -> Option<(usize, &JwtAuthenticator)> {
        self.jwt.iter().enumerate().find(|(_, jwt)| jwt.issuer_url() == token.issuer())
    }
}

#[cfg(test)]
mod tests;
