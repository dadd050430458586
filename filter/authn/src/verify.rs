//! Verification of a token against one authenticator: go-oidc's `IDTokenVerifier.Verify` and kube-apiserver's audience
//! check behind it, in their order. Source: go-oidc v2.5.0 `verify.go`, `jwks.go`; kube-apiserver, `oidc.go`.

use std::{sync::Arc, time::Duration};

use go_compat::{
    json::{Object, Value},
    strconv,
};

use kube_rules::{Difference, Rules};

use crate::{
    config::JwtAuthenticator,
    crypto::{self, Algorithm, SignatureVerifier},
    jwk::KeyFit,
    jwks::{KeySet, PublicKey},
    token::{HeaderError, IdToken, IdTokenError, Time, UnverifiedToken, is_issuer},
};

/// How long before its `nbf` a token is accepted. `exp` has no leeway.
fn not_before_leeway(rules: Rules) -> Duration {
    Duration::from_mins(if rules.has(Difference::NotBeforeLeeway) { 5 } else { 1 })
}

/// How many keys are tried for one token (a deliberate difference). More than one comes into question only for a token
/// without a `kid`, or if keys share theirs; then those that say that they are for the token's algorithm come first, those
/// that are for another one or for encryption last.
pub const MOST_TRIED: usize = 4;

/// A token whose signature, issuer, audience and times hold.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    claims: Arc<Object>,
    expires_at: Duration,
    /// What it says itself, if its issuer was asked about it.
    signed: Option<Arc<Object>>,
}

impl VerifiedToken {
    pub(crate) fn new(claims: Arc<Object>, expires_at: Duration) -> Self {
        Self { claims, expires_at, signed: None }
    }

    /// When the token expires, since 1970. The token is good up to and including this instant.
    #[must_use]
    pub fn expires_at(&self) -> Duration {
        self.expires_at
    }

    /// All claims as sent.
    #[must_use]
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// This token with `claim` set to `value`, which comes from somebody who is trusted with it.
    #[must_use]
    pub fn with_claim(&self, claim: &str, value: Value) -> Self {
        let mut claims = Object::clone(&self.claims);
        claims.set(claim, value);
        Self { claims: Arc::new(claims), ..self.clone() }
    }

    /// This token, which expires at `end` if not before.
    pub(crate) fn until(self, end: Duration) -> Self {
        Self { expires_at: self.expires_at.min(end), ..self }
    }

    /// What the issuer says, who was asked about `token`: that expires when it says so itself, if not before.
    #[must_use]
    pub fn about(self, token: Self) -> Self {
        Self { signed: Some(token.claims), ..self }.until(token.expires_at)
    }

    /// A claim by which the token is known: as its issuer says, or else as it says itself (RFC 7662, section 2.2: an answer may leave out
    /// `jti` and all others).
    #[must_use]
    pub fn name(&self, claim: &str) -> Option<&Value> {
        let said = self.claims.get(claim).filter(|value| !matches!(value, Value::Null));
        said.or_else(|| self.signed.as_ref()?.get(claim))
    }
}

/// Why a token is refused. The texts are kube-apiserver's, for the log; a client is told none of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oidc: verify token: {0}")]
pub struct VerifyError(VerifyProblem);

/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VerifyProblem {
    #[error("oidc: malformed jwt: {0}")]
    Malformed(HeaderError),
    #[error(
        "oidc: id token signed with unsupported algorithm, expected {} got {}{}",
        strconv::quote_list(.expected), strconv::quote(.got), known_since(*.since)
    )]
    Algorithm { expected: Vec<&'static str>, got: String, since: Option<Rules> },
    #[error("failed to verify signature: failed to verify id token signature{}", detail(.unknown_key.as_deref(), .crypto.as_deref(), .skipped))]
    NoKeyVerified { unknown_key: Option<String>, crypto: Option<String>, skipped: String },
    #[error(transparent)]
    Claims(#[from] IdTokenError),
    #[error(
        "oidc: id token issued by a different provider, expected {} got {}",
        strconv::quote(.expected), strconv::quote(.got)
    )]
    Issuer { expected: String, got: String },
    #[error("oidc: expected audience {} got {}", strconv::quote(.expected), strconv::quote_list(.got))]
    Audience { expected: String, got: Vec<String> },
    #[error("oidc: token is expired (Token Expiry: {0})")]
    Expired(String),
    #[error("oidc: current time {now} before the nbf (not before) time: {not_before}")]
    NotYetValid { now: String, not_before: String },
    #[error("oidc: expected audience in {} got {}", strconv::quote_list(.expected), strconv::quote_list(.got))]
    NoAudience { expected: Vec<String>, got: Vec<String> },
    #[error("introspection: it is a refresh token, which is for its issuer alone")]
    RefreshToken,
}

impl From<VerifyProblem> for VerifyError {
    fn from(problem: VerifyProblem) -> Self {
        Self(problem)
    }
}

/// The later version that knows an algorithm which this one does not.
fn since(algorithm: &str, rules: Rules) -> Option<Rules> {
    let is_known = |rules| Algorithm::named(algorithm, rules).is_ok();
    let mut later = Rules::ALL.into_iter().filter(|later| *later > rules);
    later.find(|later| !is_known(rules) && is_known(*later))
}

/// What kube-apiserver does not tell, though it helps.
fn known_since(since: Option<Rules>) -> String {
    since.map_or_else(String::new, |since| {
        format!(" (known by the rules of Kubernetes {since}, see kubernetesRules)")
    })
}

/// What kube-apiserver does not tell, though it helps.
fn detail(unknown_key: Option<&str>, crypto: Option<&str>, skipped: &str) -> String {
    let unknown =
        unknown_key.map(|key_id| format!("no key {} in the key set", strconv::quote(key_id)));
    let reasons = [unknown.as_deref().or(crypto).unwrap_or_default(), skipped];
    let reasons: Vec<_> = reasons.into_iter().filter(|reason| !reason.is_empty()).collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

/// The keys that may be the token's and are not used, each with what spoils it; empty if there is none.
fn skipped(keys: &KeySet, key_id: &str) -> String {
    const MOST: usize = 3;
    let mut skipped = keys.skipped_candidates(key_id);
    let named: Vec<_> = skipped.by_ref().take(MOST).map(ToString::to_string).collect();
    match (named.as_slice(), skipped.count()) {
        ([], _) => String::new(),
        (named, 0) => format!("not used: {}", named.join(", ")),
        (named, more) => format!("not used: {}, and {more} more", named.join(", ")),
    }
}

impl VerifyError {
    /// Whether no key of the set verified the token, for whatever reason: where kube-apiserver would fetch the key set again.
    #[must_use]
    pub fn is_no_key_verified(&self) -> bool {
        matches!(self.0, VerifyProblem::NoKeyVerified { .. })
    }

    /// Whether the set has no key to try: none with the token's `kid`, or none at all. The keys may have been rotated.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        matches!(self.0, VerifyProblem::NoKeyVerified { unknown_key: Some(_), .. })
    }

    /// Whether the token was good once.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self.0, VerifyProblem::Expired(_))
    }
}

impl JwtAuthenticator {
    /// Checks that `token` is this issuer's, meant for one of its audiences, and valid at `now` (since 1970).
    ///
    /// `allowed` are the algorithms that count, [`Algorithm::ALL`] for a configuration from a file.
    ///
    /// # Errors
    /// The first check that fails, in kube-apiserver's order.
    pub fn verify(
        &self,
        token: &UnverifiedToken,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
        now: Duration,
        allowed: &[Algorithm],
    ) -> Result<VerifiedToken, VerifyError> {
        self.check(self.issuer_url(), token, keys, verifier, now, allowed).map_err(VerifyError)
    }

    /// [`Self::verify`] for a token of `issuer`.
    pub(crate) fn check(
        &self,
        issuer: &str,
        token: &UnverifiedToken,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
        now: Duration,
        allowed: &[Algorithm],
    ) -> Result<VerifiedToken, VerifyProblem> {
        check_signature(token, keys, verifier, allowed, self.rules())?;
        let id_token = IdToken::parse(token.claims())?;
        if !is_issuer(&id_token.issuer, issuer) {
            let expected = issuer.to_owned();
            return Err(VerifyProblem::Issuer { expected, got: id_token.issuer });
        }
        self.check_only_audience(&id_token)?;
        let expires_at = check_times(&id_token, now, self.rules())?;
        self.check_audiences(&id_token)?;
        Ok(VerifiedToken::new(Arc::clone(token.claims()), expires_at))
    }

    /// Where one audience is configured, go-oidc checks it before the times.
    pub(crate) fn check_only_audience(&self, token: &IdToken) -> Result<(), VerifyProblem> {
        match self.audiences() {
            [only] if !token.audience.contains(only) => {
                Err(VerifyProblem::Audience { expected: only.clone(), got: token.audience.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Of several, kube-apiserver checks them after the times.
    pub(crate) fn check_audiences(&self, token: &IdToken) -> Result<(), VerifyProblem> {
        if self.audiences().iter().any(|audience| token.audience.contains(audience)) {
            return Ok(());
        }
        let mut expected: Vec<&str> = self.audiences().iter().map(String::as_str).collect();
        expected.sort_unstable();
        let expected = expected.into_iter().map(str::to_owned).collect();
        Err(VerifyProblem::NoAudience { expected, got: token.audience.clone() })
    }
}

pub(crate) fn check_signature(
    token: &UnverifiedToken,
    keys: &KeySet,
    verifier: &dyn SignatureVerifier,
    allowed: &[Algorithm],
    rules: Rules,
) -> Result<(), VerifyProblem> {
    let jws = token.jws().map_err(|error| VerifyProblem::Malformed(error.clone()))?;
    let header = &jws.header;
    let mut allowed = allowed.iter().copied().filter(|algorithm| algorithm.is_known(rules));
    let algorithm = allowed.clone().find(|known| known.as_str() == header.algorithm);
    let Some(algorithm) = algorithm else {
        let expected = allowed.by_ref().map(Algorithm::as_str).collect();
        let got = header.algorithm.clone();
        return Err(VerifyProblem::Algorithm { expected, since: since(&got, rules), got });
    };
    let unknown_key =
        keys.candidates(&header.key_id).next().is_none().then(|| header.key_id.clone());
    // What the header demands must be understood before any key is worth trying.
    let may_verify = |key: &&PublicKey| {
        header.critical_understood && crypto::could_be(key.kind(), algorithm, &jws.signature)
    };
    let candidates: Vec<_> = keys.candidates(&header.key_id).filter(may_verify).collect();
    let mut crypto = (candidates.len() > MOST_TRIED)
        .then(|| format!("{MOST_TRIED} of {} keys were tried", candidates.len()));
    let best_first = KeyFit::BEST_FIRST
        .into_iter()
        .flat_map(|fit| candidates.iter().filter(move |key| key.suits(algorithm) == fit));
    for key in best_first.take(MOST_TRIED) {
        match crypto::verify(verifier, algorithm, key, &jws.signing_input, &jws.signature) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => crypto = Some(error.to_string()),
        }
    }
    let skipped = skipped(keys, &header.key_id);
    Err(VerifyProblem::NoKeyVerified { unknown_key, crypto, skipped })
}

/// Checks `exp` and `nbf`, and returns when the token expires. A token without `exp` expired in the year 1.
pub(crate) fn check_times(
    token: &IdToken,
    now: Duration,
    rules: Rules,
) -> Result<Duration, VerifyProblem> {
    let expiry = match token.expiry {
        Some(expiry) if !expiry.is_before(now) => expiry.since_epoch(),
        Some(expiry) => {
            return Err(VerifyProblem::Expired(expiry.to_string()));
        }
        None => return Err(VerifyProblem::Expired("0001-01-01 00:00:00 +0000 UTC".to_owned())),
    };
    check_not_before(token, now, rules)?;
    Ok(expiry)
}

pub(crate) fn check_not_before(
    token: &IdToken,
    now: Duration,
    rules: Rules,
) -> Result<(), VerifyProblem> {
    match token.not_before {
        Some(not_before) if not_before.is_after(now.saturating_add(not_before_leeway(rules))) => {
            Err(VerifyProblem::NotYetValid {
                now: Time::from_duration(now).to_string(),
                not_before: not_before.to_string(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
