//! Verification of a token before it is stored or handed on: signature, issuer, audience, nonce, times.
//!
//! The rules are the cluster's (OpenID Connect Core 1.0, section 3.1.3.7), and keys and signatures are read by the code the
//! gateway uses. What differs is the telling: here a person must learn what to change.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use kube_authn::{
    crypto::{self, Algorithm, SoftwareVerifier},
    jwks::KeySet,
};
use serde::Deserialize;

use crate::{
    claims::{Claims, ClaimsError},
    required::{OtherLogin, RequiredLogin},
};

/// How far a token's times may lie in our future before our clock is blamed.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// Why a token is not handed on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No JWT.
    #[error("the token cannot be used: {0}")]
    Malformed(#[from] ClaimsError),
    /// A header that says nothing we could verify.
    #[error("the token's header is not one of a signed token")]
    Header,
    /// `none`, a symmetric algorithm, or an unknown one.
    #[error(
        "the token is signed with {0:?}, which no cluster accepts (RS, PS and ES algorithms only, ML-DSA from Kubernetes 1.38 on)"
    )]
    Algorithm(String),
    /// No key of the issuer's set made the signature.
    #[error("the token's signature is by none of the issuer's {keys} keys (key ID {key_id:?})")]
    Signature {
        /// The key the token names.
        key_id: String,
        /// How many usable keys the set has.
        keys: usize,
    },
    /// Another issuer's.
    #[error("the token is issued by {found:?}, not by {expected:?}")]
    Issuer {
        /// What the settings say.
        expected: String,
        /// What the token says.
        found: String,
    },
    /// Meant for somebody else.
    #[error(
        "the token is meant for {}, not for {expected:?}; set --oidc-client-id to a client whose ID the issuer puts into \"aud\"",
        list(.found)
    )]
    Audience {
        /// The client ID.
        expected: String,
        /// What the token says.
        found: Vec<String>,
    },
    /// Of another login.
    #[error("the token belongs to another login (its nonce is not ours)")]
    Nonce,
    /// Another login than the one asked for.
    #[error(transparent)]
    Login(#[from] OtherLogin),
    /// A refreshed token of another person.
    #[error("the refreshed token belongs to another subject")]
    Subject,
    /// Our clock is wrong, so the times cannot be judged.
    #[error("this machine's clock is {} {} the issuer's, so the token seems {seems}; set the clock", span(*.by), if *.ahead { "ahead of" } else { "behind" })]
    Skew {
        /// By how much.
        by: TimeDelta,
        /// Our clock is later than theirs.
        ahead: bool,
        /// What the token looks like because of it.
        seems: &'static str,
    },
    /// Too old.
    #[error("the token expired at {}", time(*.0))]
    Expired(DateTime<Utc>),
    /// Too young, by its `nbf`.
    #[error("the token is not valid before {}", time(*.0))]
    NotYetValid(DateTime<Utc>),
}

/// What a token must say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// One of `aud`; `None` for an access token, whose audience is the cluster's business.
    pub audience: Option<&'a str>,
    /// `nonce` of the authorization request.
    pub nonce: Option<&'a str>,
    /// A refreshed token may leave the nonce out.
    pub nonce_may_be_absent: bool,
    /// `sub` of the token before the refresh.
    pub subject: Option<&'a str>,
    /// What the login must be like.
    pub login: Option<&'a RequiredLogin>,
}

/// The clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Ours.
    pub now: DateTime<Utc>,
    /// How far the issuer's is ahead of it, if known.
    pub skew: Option<TimeDelta>,
}

/// Less than this is the way of an answer, and a `Date` that knows no fractions.
const NOTICEABLE: TimeDelta = TimeDelta::seconds(5);

impl Clocks {
    /// How far the issuer's clock is ahead of ours, as it says or as the claims of a token show that it just made.
    #[must_use]
    pub fn issuer_ahead(self, claims: &Claims) -> Option<TimeDelta> {
        let made = || claims.issued_at().map(|issued| issued - self.now);
        self.skew.or_else(made).filter(|skew| *skew >= NOTICEABLE)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// Verifies `token` and returns its claims.
///
/// # Errors
/// The first check that fails.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    clocks: Clocks,
) -> Result<Claims, VerifyError> {
    let claims = Claims::of(token)?;
    check_signature(token, keys)?;
    check_claims(&claims, expected)?;
    check_times(&claims, clocks)?;
    if let Some(login) = expected.login {
        // The issuer's clock says when somebody logged in there.
        login.check(&claims, clocks.now + clocks.skew.unwrap_or_default())?;
    }
    Ok(claims)
}

fn check_signature(token: &str, keys: &KeySet) -> Result<(), VerifyError> {
    let (signed, signature) = token.rsplit_once('.').ok_or(VerifyError::Header)?;
    let (header, _) = signed.split_once('.').ok_or(VerifyError::Header)?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| VerifyError::Header);
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| VerifyError::Header)?;
    // An extension that must be understood is not: nothing of the kind is in an ID token.
    if header.crit.is_some() {
        return Err(VerifyError::Header);
    }
    let algorithm: Algorithm =
        header.alg.parse().map_err(|_| VerifyError::Algorithm(header.alg.clone()))?;
    let signature = decode(signature)?;
    let good = keys.candidates(&header.kid).any(|key| {
        crypto::verify(&SoftwareVerifier, algorithm, key, signed.as_bytes(), &signature)
            .unwrap_or(false)
    });
    if good { Ok(()) } else { Err(VerifyError::Signature { key_id: header.kid, keys: keys.len() }) }
}

fn check_claims(claims: &Claims, expected: &Expected<'_>) -> Result<(), VerifyError> {
    let issuer = claims.text("iss").unwrap_or_default();
    // Google's tokens may leave the scheme out, and kube-apiserver lets them.
    let googles =
        expected.issuer == "https://accounts.google.com" && issuer == "accounts.google.com";
    if issuer != expected.issuer && !googles {
        let (expected, found) = (expected.issuer.to_owned(), issuer.to_owned());
        return Err(VerifyError::Issuer { expected, found });
    }
    if let Some(audience) = expected.audience {
        let found = claims.audiences();
        if !found.contains(&audience) {
            let found = found.into_iter().map(str::to_owned).collect();
            return Err(VerifyError::Audience { expected: audience.to_owned(), found });
        }
    }
    if let Some(nonce) = expected.nonce {
        match claims.text("nonce") {
            Some(found) if found == nonce => {}
            None if expected.nonce_may_be_absent => {}
            _ => return Err(VerifyError::Nonce),
        }
    }
    if expected.subject.is_some_and(|subject| claims.text("sub") != Some(subject)) {
        return Err(VerifyError::Subject);
    }
    Ok(())
}

fn check_times(claims: &Claims, clocks: Clocks) -> Result<(), VerifyError> {
    let now = clocks.now;
    // The issuer's own clock, else the time at which it says it made a token that we just got.
    let ahead_of_us = clocks.skew.or_else(|| claims.issued_at().map(|issued| issued - now));
    let behind = ahead_of_us.filter(|skew| *skew > LEEWAY);
    let ahead = clocks.skew.map(|skew| -skew).filter(|skew| *skew > LEEWAY);
    if claims.expiry() <= now {
        return Err(match ahead {
            Some(by) => VerifyError::Skew { by, ahead: true, seems: "expired" },
            None => VerifyError::Expired(claims.expiry()),
        });
    }
    let not_before = claims.all().get("nbf").and_then(serde_json::Value::as_i64);
    let not_before = not_before.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    if let Some(not_before) = not_before.filter(|time| *time > now + LEEWAY) {
        return Err(match behind {
            Some(by) => VerifyError::Skew { by, ahead: false, seems: "not yet valid" },
            None => VerifyError::NotYetValid(not_before),
        });
    }
    Ok(())
}

/// A length of time as a person says it.
#[must_use]
pub fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().unsigned_abs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn list(audiences: &[String]) -> String {
    if audiences.is_empty() { "nobody".to_owned() } else { format!("{audiences:?}") }
}
