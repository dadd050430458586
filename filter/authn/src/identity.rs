//! From claims to a user: names, groups, uid, extra and the rules that must hold. Source: kube-apiserver's oidc plugin,
//! `AuthenticateToken` and what it calls.

mod claims;
mod expressions;

use std::collections::BTreeMap;

pub use expressions::{ExpressionError, RuleError};

use apiserver_cel::NotStrings;
use go_compat::json::{Object, Value};

use crate::{
    config::{JwtAuthenticator, Mapping},
    distributed::GroupsError,
    verify::VerifiedToken,
};

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
    #[error("oidc: could not expand distributed claims: while getting distributed claim {}", go_compat::strconv::quote(.claim))]
    GroupsPending {
        /// Name of the claim.
        claim: String,
    },
    /// The user name's claim is missing or no string.
    #[error("oidc: parse username claims {}: {reason}", go_compat::strconv::quote(.claim))]
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
    #[error("oidc: parse groups claim {}: {reason}", go_compat::strconv::quote(.claim))]
    Groups {
        /// Name of the claim.
        claim: String,
        /// What is wrong with it.
        reason: ClaimError,
    },
    /// The uid's claim is missing or no string.
    #[error("oidc: parse uid claim {}: {reason}", go_compat::strconv::quote(.claim))]
    Uid {
        /// Name of the claim.
        claim: String,
        /// What is wrong with it.
        reason: ClaimError,
    },
    /// The user name's expression gives no string.
    #[error("oidc: error evaluating username claim expression: {0}")]
    UsernameExpression(ExpressionError),
    /// The user name's expression gives the empty string.
    #[error("oidc: empty username via CEL expression is not allowed")]
    EmptyUsername,
    /// The groups' expression gives no strings.
    #[error("oidc: error evaluating group claim expression: {0}")]
    GroupsExpression(ExpressionError),
    /// The uid's expression gives no string.
    #[error("oidc: error evaluating uid claim expression: {0}")]
    UidExpression(ExpressionError),
    /// The expression of an extra attribute fails.
    #[error(transparent)]
    ExtraExpression(ExpressionError),
    /// The expression of an extra attribute gives no strings.
    #[error("oidc: error evaluating extra claim expression: {expression}: {reason}")]
    ExtraValue {
        /// The source, as configured.
        expression: String,
        /// What is wrong with its value.
        reason: NotStrings,
    },
    /// A rule about the claims does not hold.
    #[error("oidc: error evaluating claim validation expression: {0}")]
    ClaimRule(RuleError),
    /// A rule about the user does not hold.
    #[error("oidc: error evaluating user info validation rule: {0}")]
    UserRule(RuleError),
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
        let extra = self.extra(claims)?;
        let identity = Identity { username, uid, groups, extra };
        self.check_required_claims(claims, None)?;
        self.check_claim_rules(claims, None)?;
        self.check_user_rules(&identity)?;
        Ok(identity)
    }

    /// What [`Self::identity`] checks apart from `missing`, a claim whose value is still to be had: nobody need be asked about whom this
    /// refuses. Gives the user's name, unless that depends on the claim.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn check_without(
        &self,
        token: &VerifiedToken,
        missing: &str,
    ) -> Result<Option<String>, AuthnError> {
        let claims = token.claims();
        let is_read = match self.username_mapping() {
            Mapping::Claim(claim) => claim.claim == missing,
            Mapping::Expression(program) => program.claims().includes(missing),
        };
        let username = (!is_read).then(|| self.username(claims)).transpose()?;
        self.check_required_claims(claims, Some(missing))?;
        self.check_claim_rules(claims, Some(missing))?;
        Ok(username)
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
        match self.username_mapping() {
            Mapping::Claim(claim) => claims::username(claims, claim),
            Mapping::Expression(program) => expressions::username(claims, program),
        }
    }

    fn groups(&self, claims: &Object) -> Result<Vec<String>, AuthnError> {
        match self.groups_mapping() {
            None => Ok(Vec::new()),
            Some(Mapping::Claim(claim)) => claims::groups(claims, claim),
            Some(Mapping::Expression(program)) => expressions::groups(claims, program),
        }
    }

    fn uid(&self, claims: &Object) -> Result<String, AuthnError> {
        match self.uid_mapping() {
            None => Ok(String::new()),
            Some(Mapping::Claim(claim)) => claims::uid(claims, claim),
            Some(Mapping::Expression(program)) => expressions::uid(claims, program),
        }
    }

    fn extra(&self, claims: &Object) -> Result<BTreeMap<String, Vec<String>>, AuthnError> {
        let mut extra = expressions::extra(claims, self.extra_mappings())?;
        if let Some(Value::String(jti)) = claims.get("jti")
            && !jti.is_empty()
        {
            extra.insert(CREDENTIAL_ID_KEY.to_owned(), vec![format!("JTI={jti}")]);
        }
        Ok(extra)
    }
}

#[cfg(test)]
mod tests;
