//! Mapping by claim: names are literal and top-level, values are strings, `null` is Go's zero value.

use go_compat::json::{Object, Value};

use super::{AuthnError, ClaimError};
use crate::config::{JwtAuthenticator, PrefixedClaim};

pub(super) fn username(claims: &Object, mapping: &PrefixedClaim) -> Result<String, AuthnError> {
    let PrefixedClaim { claim, prefix } = mapping;
    let username = string_claim(claims, claim)
        .map_err(|reason| AuthnError::Username { claim: claim.clone(), reason })?;
    if claim == "email" {
        check_email_verified(claims)?;
    }
    Ok([prefix, username].concat())
}

pub(super) fn groups(claims: &Object, mapping: &PrefixedClaim) -> Result<Vec<String>, AuthnError> {
    let PrefixedClaim { claim, prefix } = mapping;
    let Some(value) = claims.get(claim) else { return Ok(Vec::new()) };
    let groups = string_or_list(value)
        .map_err(|reason| AuthnError::Groups { claim: claim.clone(), reason })?;
    Ok(groups.into_iter().map(|group| [prefix, group].concat()).collect())
}

pub(super) fn uid(claims: &Object, claim: &str) -> Result<String, AuthnError> {
    let uid = string_claim(claims, claim);
    let uid = uid.map_err(|reason| AuthnError::Uid { claim: claim.to_owned(), reason })?;
    Ok(uid.to_owned())
}

impl JwtAuthenticator {
    /// All but the one that is `missing`.
    pub(super) fn check_required_claims(
        &self,
        claims: &Object,
        missing: Option<&str>,
    ) -> Result<(), AuthnError> {
        let required = self.required_claims().iter();
        for (claim, want) in required.filter(|(claim, _)| missing != Some(claim.as_str())) {
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
