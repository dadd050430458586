//! Distributed groups (OpenID Connect Core 1.0, section 5.6.2): a token may say that its groups claim is to be fetched
//! elsewhere, as a second token. Source: kube-apiserver's oidc plugin, `claimResolver`.
//!
//! Fetching is the caller's, and so is deciding which hosts may be asked: the endpoint stands in a signed token, but the
//! issuer chose it. Until the groups are there the token gives no identity at all.

use std::{collections::BTreeMap, fmt, time::Duration};

use go_compat::{
    json::{Object, Value, field_matches},
    strconv,
};

use crate::{
    config::JwtAuthenticator,
    crypto::{Algorithm, SignatureVerifier},
    jwks::KeySet,
    token::UnverifiedToken,
    verify::{VerifiedToken, VerifyProblem},
};

const CLAIM_NAMES: &str = "_claim_names";
const CLAIM_SOURCES: &str = "_claim_sources";

/// Where a token's groups are.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupsSource {
    /// The URL to GET, as the token has it: nothing about it is checked.
    pub endpoint: String,
    /// The bearer token to send along; empty means none. A secret.
    pub access_token: String,
}

impl fmt::Debug for GroupsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupsSource").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Why distributed groups cannot be had. The texts are kube-apiserver's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oidc: could not expand distributed claims: {0}")]
pub struct GroupsError(GroupsProblem);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum GroupsProblem {
    #[error("oidc: error parsing distributed claim names: {0}")]
    Names(String),
    #[error("oidc: no claim sources")]
    NoSources,
    #[error("oidc: could not parse claim sources: {0}")]
    Sources(String),
    #[error("id token _claim_names contained a source {0} missing in _claims_sources")]
    MissingSource(String),
    #[error("verify distributed claim token: {0}")]
    Token(VerifyProblem),
    #[error(
        "jwt returned by distributed claim endpoint {} did not contain claim: {claim}",
        strconv::quote(.endpoint)
    )]
    NoClaim { endpoint: String, claim: String },
}

impl GroupsError {
    /// Whether no key of the set verified the groups' token: its issuer's keys may have been rotated.
    #[must_use]
    pub fn is_no_key_verified(&self) -> bool {
        matches!(self.0, GroupsProblem::Token(VerifyProblem::NoKeyVerified { .. }))
    }
}

impl JwtAuthenticator {
    /// Where the groups of `token` must be fetched, or `None` if they stand in it or are not mapped by a claim.
    ///
    /// # Errors
    /// If the token announces distributed claims and does not say where they are.
    pub fn groups_source(
        &self,
        token: &VerifiedToken,
    ) -> Result<Option<GroupsSource>, GroupsError> {
        let Some(groups) = self.groups_claim() else { return Ok(None) };
        source_of(token.claims(), &groups.claim).map_err(GroupsError)
    }

    /// Checks a token that came from [`GroupsSource::endpoint`]. It may be of any issuer, `keys` are that issuer's, found
    /// by discovery from [`UnverifiedToken::issuer`]; audiences and times are checked as for the bearer's own token.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_groups_token(
        &self,
        token: &UnverifiedToken,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
        now: Duration,
        allowed: &[Algorithm],
    ) -> Result<VerifiedToken, GroupsError> {
        self.check(token.issuer(), token, keys, verifier, now, allowed)
            .map_err(|problem| GroupsError(GroupsProblem::Token(problem)))
    }

    /// `token` with the groups of `groups_token`, which was fetched from `source`. It expires with the first of the two.
    ///
    /// # Errors
    /// If `groups_token` has no groups claim.
    pub fn with_groups(
        &self,
        token: &VerifiedToken,
        source: &GroupsSource,
        groups_token: &VerifiedToken,
    ) -> Result<VerifiedToken, GroupsError> {
        let Some(groups) = self.groups_claim() else { return Ok(token.clone()) };
        let value = groups_token.claims().get(&groups.claim).ok_or_else(|| {
            let (endpoint, claim) = (source.endpoint.clone(), groups.claim.clone());
            GroupsError(GroupsProblem::NoClaim { endpoint, claim })
        })?;
        Ok(token.with_claim(&groups.claim, value.clone()).until(groups_token.expires_at()))
    }
}

fn source_of(claims: &Object, claim: &str) -> Result<Option<GroupsSource>, GroupsProblem> {
    let Some(names) = claims.get(CLAIM_NAMES).filter(|_| claims.get(claim).is_none()) else {
        return Ok(None);
    };
    let names = source_names(names).map_err(GroupsProblem::Names)?;
    let sources = claims.get(CLAIM_SOURCES).ok_or(GroupsProblem::NoSources)?;
    let mut sources = sources_by_name(sources).map_err(GroupsProblem::Sources)?;
    let Some(name) = names.get(claim) else { return Ok(None) };
    let source = sources.remove(*name);
    let source = source.ok_or_else(|| GroupsProblem::MissingSource((*name).to_owned()))?;
    // Without an endpoint it may be an aggregated claim, which upstream ignores.
    Ok(Some(source).filter(|source| !source.endpoint.is_empty()))
}

fn source_names(names: &Value) -> Result<BTreeMap<&str, &str>, String> {
    let Some(members) = map_members(names, "map[string]string")? else {
        return Ok(BTreeMap::new());
    };
    let mut names = BTreeMap::new();
    for (claim, source) in members.members() {
        let source = match source {
            Value::String(source) => &**source,
            Value::Null => "",
            other => return Err(cannot_unmarshal(other, "string")),
        };
        names.insert(claim, source);
    }
    Ok(names)
}

fn sources_by_name(sources: &Value) -> Result<BTreeMap<&str, GroupsSource>, String> {
    let Some(members) = map_members(sources, "map[string]oidc.endpoint")? else {
        return Ok(BTreeMap::new());
    };
    let mut found = BTreeMap::new();
    for (name, source) in members.members() {
        found.insert(name, endpoint(source)?);
    }
    Ok(found)
}

/// A Go struct of strings: names fold, the last one counts, `null` changes nothing.
fn endpoint(source: &Value) -> Result<GroupsSource, String> {
    let mut found = GroupsSource { endpoint: String::new(), access_token: String::new() };
    let members = match source {
        Value::Object(members) => members,
        Value::Null => return Ok(found),
        other => return Err(cannot_unmarshal(other, "oidc.endpoint")),
    };
    let mut jwt = String::new();
    for (name, value) in members.members() {
        let field = match name {
            name if field_matches(name, "endpoint") => &mut found.endpoint,
            name if field_matches(name, "access_token") => &mut found.access_token,
            name if field_matches(name, "jwt") => &mut jwt,
            _ => continue,
        };
        match value {
            Value::String(text) => *field = text.to_string(),
            Value::Null => {}
            other => return Err(cannot_unmarshal(other, "string")),
        }
    }
    Ok(found)
}

/// The members of what is decoded into a Go map, or `None` for `null`.
fn map_members<'a>(value: &'a Value, go_type: &str) -> Result<Option<&'a Object>, String> {
    match value {
        Value::Object(members) => Ok(Some(members)),
        Value::Null => Ok(None),
        other => Err(cannot_unmarshal(other, go_type)),
    }
}

fn cannot_unmarshal(value: &Value, go_type: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {go_type}", value.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SoftwareVerifier;
    use crate::identity::AuthnError;
    use crate::testing::{HEADER, NOW, authenticator, key_set, token};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const MAPPINGS: &str = r#""claimMappings":{"username":{"claim":"sub","prefix":""},
        "groups":{"claim":"groups","prefix":"g:"}}"#;
    const SOURCE: &str = r#""_claim_names":{"groups":"s"},
        "_claim_sources":{"s":{"endpoint":"https://graph.example/","access_token":"secret"}}"#;

    fn verified(jwt: &JwtAuthenticator, claims: &str) -> VerifiedToken {
        let payload = format!(
            r#"{{"iss":"https://issuer.example","aud":"kubernetes","exp":1800000060,"sub":"s",{claims}}}"#
        );
        let token = token(HEADER, &payload);
        jwt.verify(&token, &key_set(), &SoftwareVerifier, NOW, &Algorithm::ALL).expect("verified")
    }

    #[test]
    fn sources() {
        let jwt = authenticator(MAPPINGS);
        let names = "error parsing distributed claim names: json: cannot unmarshal";
        let found = || Ok(Some("https://graph.example/".to_owned()));
        for (claims, want) in [
            (SOURCE.to_owned(), found()),
            (format!(r#""groups":null,{SOURCE}"#), Ok(None)), // a normal claim wins, even this one
            (r#""x":1"#.to_owned(), Ok(None)),
            (r#""_claim_sources":{}"#.to_owned(), Ok(None)),
            (r#""_claim_names":{},"_claim_sources":{}"#.to_owned(), Ok(None)),
            (r#""_claim_names":{}"#.to_owned(), Err("no claim sources".to_owned())),
            (r#""_claim_names":null"#.to_owned(), Err("no claim sources".to_owned())),
            (SOURCE.replace("\"groups\"", "\"other\""), Ok(None)),
            // An aggregated claim is ignored, as upstream.
            (SOURCE.replace("endpoint", "JWT"), Ok(None)),
            (SOURCE.replace("endpoint", "EndPoint"), found()),
        ] {
            let token = verified(&jwt, &claims);
            let got = jwt.groups_source(&token).map(|source| source.map(|source| source.endpoint));
            let want = want.map_err(|error| {
                format!("oidc: could not expand distributed claims: oidc: {error}")
            });
            assert_eq!(got.map_err(|error| error.to_string()), want, "{claims}");
        }
        assert!(source_names(&Value::Array(Vec::new())).is_err(), "{names}");
    }

    /// Overage at Entra ID: a user with too many groups must not silently have none.
    #[test]
    fn groups_that_were_not_fetched_are_an_error() {
        let jwt = authenticator(MAPPINGS);
        let error = jwt.identity(&verified(&jwt, SOURCE)).expect_err("groups are missing");
        assert_eq!(error, AuthnError::GroupsPending { claim: "groups".to_owned() });
        let unmapped = authenticator(r#""claimMappings":{"username":{"claim":"sub","prefix":""}}"#);
        assert_eq!(unmapped.identity(&verified(&unmapped, SOURCE)).map(|i| i.groups), Ok(vec![]));
    }

    #[test]
    fn fetched_groups_are_mapped() {
        let jwt = authenticator(MAPPINGS);
        let bearer = verified(&jwt, SOURCE);
        let source = jwt.groups_source(&bearer).expect("a source").expect("a source");
        for (payload, want) in [
            (
                r#"{"iss":"https://other.example","aud":"kubernetes","exp":1800000060,"groups":["a"]}"#,
                Ok(vec!["g:a".to_owned()]),
            ),
            (
                r#"{"iss":"https://other.example","aud":"kubernetes","exp":1800000060}"#,
                Err(
                    r#"jwt returned by distributed claim endpoint "https://graph.example/" did not contain claim: groups"#,
                ),
            ),
            (
                r#"{"iss":"https://other.example","aud":"x","exp":1800000060,"groups":[]}"#,
                Err(
                    r#"verify distributed claim token: oidc: expected audience "kubernetes" got ["x"]"#,
                ),
            ),
            (
                r#"{"iss":"https://other.example","aud":"kubernetes","exp":1,"groups":[]}"#,
                Err(
                    "verify distributed claim token: oidc: token is expired (Token Expiry: 1970-01-01 00:00:01 +0000 UTC)",
                ),
            ),
        ] {
            let inner = token(HEADER, payload);
            let keys = key_set();
            let got = jwt
                .verify_groups_token(&inner, &keys, &SoftwareVerifier, NOW, &Algorithm::ALL)
                .and_then(|groups| jwt.with_groups(&bearer, &source, &groups))
                .map(|token| jwt.identity(&token).expect("an identity").groups);
            let want =
                want.map_err(|error| format!("oidc: could not expand distributed claims: {error}"));
            assert_eq!(got.map_err(|error| error.to_string()), want, "{payload}");
        }
    }

    /// RafPe/kube-oidc-proxy#55: credentials do not belong into logs.
    #[test]
    fn the_access_token_is_not_printed() {
        let source = GroupsSource { endpoint: "e".to_owned(), access_token: "secret".to_owned() };
        assert!(!format!("{source:?}").contains("secret"));
    }
}
