//! From claims to a user: names, groups, uid, extra and the rules that must hold. Source: kube-apiserver's oidc plugin,
//! `AuthenticateToken` and what it calls.

use std::collections::BTreeMap;

use crate::config::{JwtAuthenticator, PrefixedClaim};
use crate::distributed::GroupsError;
use crate::json::{Object, Value};
use crate::verify::VerifiedToken;

/// The key of the extra that names the token (its `jti`) to audit logs and authorizers.
pub const CREDENTIAL_ID_KEY: &str = "authentication.kubernetes.io/credential-id";

/// Who the token says its bearer is, with the configured prefixes.
///
/// `system:authenticated` is not among the groups: who impersonates leaves it to the API server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// May be empty in claim mode, as upstream: whoever acts on it must refuse that.
    pub username: String,
    /// Empty if none is mapped.
    pub uid: String,
    /// In the token's order, with duplicates and empty names as they came.
    pub groups: Vec<String>,
    /// No value list is empty.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why a verified token gives no identity. The texts are kube-apiserver's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// The groups are elsewhere, and the token does not say where.
    #[error(transparent)]
    Distributed(#[from] GroupsError),
    /// The groups are elsewhere and were not fetched.
    #[error("oidc: could not expand distributed claims: while getting distributed claim {}", crate::go::quote(.claim))]
    GroupsPending {
        /// Name of the claim.
        claim: String,
    },
    /// The user name's claim is missing or no string.
    #[error("oidc: parse username claims {}: {reason}", crate::go::quote(.claim))]
    Username {
        /// Name of the claim.
        claim: String,
        /// What is wrong with it.
        reason: ClaimError,
    },
    /// `email_verified` is there and no boolean.
    #[error("oidc: parse 'email_verified' claim: {0}")]
    EmailVerifiedType(ClaimError),
    /// The user name is an e-mail address that the issuer did not verify.
    #[error("oidc: email not verified")]
    EmailNotVerified,
    /// The groups' claim is neither a string nor a list of strings.
    #[error("oidc: parse groups claim {}: {reason}", crate::go::quote(.claim))]
    Groups {
        /// Name of the claim.
        claim: String,
        /// What is wrong with it.
        reason: ClaimError,
    },
    /// The uid's claim is missing or no string.
    #[error("oidc: parse uid claim {}: {reason}", crate::go::quote(.claim))]
    Uid {
        /// Name of the claim.
        claim: String,
        /// What is wrong with it.
        reason: ClaimError,
    },
    /// A required claim is missing.
    #[error("oidc: required claim {0} not present in ID token")]
    RequiredClaimMissing(String),
    /// A required claim is no string.
    #[error("oidc: parse claim {claim}: {reason}")]
    RequiredClaimType {
        /// Name of the claim.
        claim: String,
        /// What is wrong with it.
        reason: ClaimError,
    },
    /// A required claim has another value.
    #[error("oidc: required claim {claim} value does not match. Got = {got}, want = {want}")]
    RequiredClaimValue {
        /// Name of the claim.
        claim: String,
        /// Its value in the token.
        got: String,
        /// The configured value.
        want: String,
    },
}

/// What is wrong with a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It is not there.
    #[error("claim not present")]
    NotPresent,
    /// It has another JSON type.
    #[error("json: cannot unmarshal {got} into Go value of type {want}")]
    Type {
        /// What it is.
        got: &'static str,
        /// Go's name of what it should be.
        want: &'static str,
    },
}

impl JwtAuthenticator {
    /// The identity that a verified token of this issuer stands for.
    ///
    /// # Errors
    /// The first mapping or rule that fails, in kube-apiserver's order (among required claims it has none; here they are
    /// taken as configured).
    pub fn identity(&self, token: &VerifiedToken) -> Result<Identity, AuthnError> {
        self.check_groups_are_here(token)?;
        let claims = token.claims();
        let username = self.username(claims)?;
        let groups = self.groups(claims)?;
        let uid = self.uid(claims)?;
        let extra = extra(claims);
        self.check_required_claims(claims)?;
        Ok(Identity { username, uid, groups, extra })
    }

    /// Distributed groups that were not fetched are never just left out.
    fn check_groups_are_here(&self, token: &VerifiedToken) -> Result<(), AuthnError> {
        match (self.groups_source(token)?, self.groups_claim()) {
            (Some(_), Some(groups)) => {
                Err(AuthnError::GroupsPending { claim: groups.claim.clone() })
            }
            _ => Ok(()),
        }
    }

    fn username(&self, claims: &Object) -> Result<String, AuthnError> {
        let PrefixedClaim { claim, prefix } = self.username_claim();
        let username = string_claim(claims, claim)
            .map_err(|reason| AuthnError::Username { claim: claim.clone(), reason })?;
        if claim == "email" {
            check_email_verified(claims)?;
        }
        Ok(format!("{prefix}{username}"))
    }

    fn groups(&self, claims: &Object) -> Result<Vec<String>, AuthnError> {
        let Some(PrefixedClaim { claim, prefix }) = self.groups_claim() else {
            return Ok(Vec::new());
        };
        let Some(value) = claims.get(claim) else {
            return Ok(Vec::new());
        };
        let groups = string_or_list(value)
            .map_err(|reason| AuthnError::Groups { claim: claim.clone(), reason })?;
        Ok(groups.into_iter().map(|group| format!("{prefix}{group}")).collect())
    }

    fn uid(&self, claims: &Object) -> Result<String, AuthnError> {
        let Some(claim) = self.uid_claim() else {
            return Ok(String::new());
        };
        let uid = string_claim(claims, claim);
        let uid = uid.map_err(|reason| AuthnError::Uid { claim: claim.to_owned(), reason })?;
        Ok(uid.to_owned())
    }

    fn check_required_claims(&self, claims: &Object) -> Result<(), AuthnError> {
        for (claim, want) in self.required_claims() {
            if claims.get(claim).is_none() {
                return Err(AuthnError::RequiredClaimMissing(claim.clone()));
            }
            let got = string_claim(claims, claim)
                .map_err(|reason| AuthnError::RequiredClaimType { claim: claim.clone(), reason })?;
            if got != want {
                return Err(AuthnError::RequiredClaimValue {
                    claim: claim.clone(),
                    got: got.to_owned(),
                    want: want.clone(),
                });
            }
        }
        Ok(())
    }
}

fn extra(claims: &Object) -> BTreeMap<String, Vec<String>> {
    let mut extra = BTreeMap::new();
    if let Some(Value::String(jti)) = claims.get("jti")
        && !jti.is_empty()
    {
        extra.insert(CREDENTIAL_ID_KEY.to_owned(), vec![format!("JTI={jti}")]);
    }
    extra
}

/// OpenID Connect Core 1.0, section 5.1: where the claim is there, it must be `true`; `null` is Go's `false`.
fn check_email_verified(claims: &Object) -> Result<(), AuthnError> {
    match claims.get("email_verified") {
        None | Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false) | Value::Null) => Err(AuthnError::EmailNotVerified),
        Some(other) => Err(AuthnError::EmailVerifiedType(wrong_type(other, "bool"))),
    }
}

fn wrong_type(value: &Value, want: &'static str) -> ClaimError {
    ClaimError::Type { got: value.kind(), want }
}

/// A string claim; `null` reads as the empty string.
fn string_claim<'a>(claims: &'a Object, name: &str) -> Result<&'a str, ClaimError> {
    string(claims.get(name).ok_or(ClaimError::NotPresent)?)
}

fn string(value: &Value) -> Result<&str, ClaimError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(""),
        other => Err(wrong_type(other, "string")),
    }
}

/// A list of strings or a single one; `null` is no list at all, but an empty string within one.
fn string_or_list(value: &Value) -> Result<Vec<&str>, ClaimError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items
            .iter()
            .map(string)
            .collect::<Result<_, _>>()
            .map_err(|_| wrong_type(value, "string")),
        single => string(single).map(|text| vec![text]),
    }
}

#[cfg(test)]
mod tests;
