//! Tokens that a portal made: when one is good. The portal itself checks them, and the gateway where it shares the secret.
//!
//! HS256 tokens are kubehook's (aud, exp, nbf, sub, grp), so that either accepts the other's; ES256 tokens are ID tokens
//! (iss, groups), which any kube-apiserver checks by the published keys. Both have iat and jti. One rule is stricter than
//! kubehook's: a token without exp is refused, where its library let it live for ever.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use kube_authn::{Identity, crypto::SignatureVerifier};
use serde::Deserialize;
use serde_json::Value;

use crate::{access::Origin, portal_keys::KeyRing};

/// What takes an issuer's place in the records of a shared secret's tokens, and in entries against them.
pub const SHARED_SECRET: &str = "sharedSecret";

/// Bytes of a token.
const MOST: usize = 32 * 1024;

/// A good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is. `uid` is kubehook's `<audience>/<sub>`.
    pub identity: Identity,
    /// The key that signed it.
    pub key: String,
    /// `aud`
    pub audience: String,
    /// `exp`
    pub expires_at: Duration,
    /// `jti`, or empty.
    pub id: String,
    /// `sid`: the session in which it was made; or empty.
    pub session: String,
    /// `iat`, in seconds since 1970.
    pub issued_at: Option<u64>,
    /// The login with which it was made.
    pub origin: Option<Origin>,
}

/// Why a token of the portal's is not good. The texts are those of kubehook and its library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON in the first two.
    #[error("invalid JWT token: token is malformed")]
    Malformed,
    /// Neither HS256 nor one of the portal's own ES256 tokens.
    #[error("invalid JWT token: signing method is not one of this portal's")]
    Method,
    /// No key of the portal's signed it.
    #[error("invalid JWT token: signature is invalid")]
    Signature,
    /// No exp, or past it.
    #[error("invalid JWT token: Token is expired")]
    Expired,
    /// Before its nbf or iat.
    #[error("invalid JWT token: Token is not valid yet")]
    NotYet,
    /// For somebody else.
    #[error("invalid JWT audience {found} - audience {required} is required")]
    Audience {
        /// The token's.
        found: String,
        /// The portal's.
        required: String,
    },
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    aud: Value,
    #[serde(default)]
    sub: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    #[serde(default)]
    jti: Value,
    #[serde(default)]
    sid: Value,
    #[serde(default)]
    grp: Option<Vec<String>>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default, rename = "gateway.kube-oidc.dev/origin")]
    origin: Value,
}

/// Whether a token says of itself that it is of the portal that signs as this issuer; if not, another issuer may know it.
#[must_use]
pub fn is_own(token: &str, issuer: Option<&str>) -> bool {
    let Some((header, claims, _)) = parts(token) else { return false };
    let Ok(header) = decode::<Header>(header) else { return false };
    match header.alg.as_str() {
        "HS256" => true,
        "ES256" => decode::<Claims>(claims).is_ok_and(|claims| issuer == Some(claims.iss.as_str())),
        _ => false,
    }
}

/// Whether a token says that a shared secret signed it.
#[must_use]
pub fn is_hs256(token: &str) -> bool {
    parts(token)
        .and_then(|(header, _, _)| decode::<Header>(header).ok())
        .is_some_and(|header| header.alg == "HS256")
}

/// Checks a token of a portal's that makes them for this audience, and signs as this issuer if it has a key for that.
pub fn verify(
    token: &str,
    audience: &str,
    issuer: Option<&str>,
    keys: &KeyRing,
    verifier: &dyn SignatureVerifier,
    now: Duration,
) -> Result<Verified, TokenError> {
    let (header, claims, signature) = parts(token).ok_or(TokenError::Malformed)?;
    let input = token.as_bytes().get(..header.len().saturating_add(claims.len()).saturating_add(1));
    let input = input.ok_or(TokenError::Malformed)?;
    let header: Header = decode(header)?;
    if header.crit.is_some() {
        return Err(TokenError::Method);
    }
    let signature = BASE64.decode(signature).map_err(|_| TokenError::Malformed)?;
    let key = match header.alg.as_str() {
        "HS256" => keys.verify_hs256(input, &signature),
        "ES256" if keys.has_public() => keys.verify_es256(&header.kid, input, &signature, verifier),
        _ => return Err(TokenError::Method),
    };
    let key = key.ok_or(TokenError::Signature)?.to_owned();
    // Only now is anything of the claims believed.
    let claims: Claims = decode(claims)?;
    let now = now.as_secs_f64();
    let expires_at = claims.exp.filter(|exp| now <= *exp);
    let expires_at = expires_at.and_then(|exp| Duration::try_from_secs_f64(exp).ok());
    let expires_at = expires_at.ok_or(TokenError::Expired)?;
    if [claims.nbf, claims.iat].into_iter().flatten().any(|from| now < from) {
        return Err(TokenError::NotYet);
    }
    let found = match claims.aud {
        Value::String(audience) => audience,
        other => other.to_string(),
    };
    if found != audience {
        return Err(TokenError::Audience { found, required: audience.to_owned() });
    }
    let groups = if header.alg == "ES256" {
        if issuer != Some(claims.iss.as_str()) {
            return Err(TokenError::Method);
        }
        claims.groups
    } else {
        claims.grp
    };
    let identity = Identity {
        uid: format!("{found}/{}", claims.sub),
        username: claims.sub,
        // kubehook writes one empty group for "no groups".
        groups: groups.unwrap_or_default().into_iter().filter(|group| !group.is_empty()).collect(),
        ..Identity::default()
    };
    let issued_at = claims.iat.and_then(|at| Duration::try_from_secs_f64(at).ok());
    Ok(Verified {
        identity,
        key,
        audience: found,
        expires_at,
        id: text(claims.jti),
        session: text(claims.sid),
        issued_at: issued_at.map(|at| at.as_secs()),
        origin: Origin::read(&text(claims.origin)),
    })
}

/// The `sid` of a token whose signature somebody else has checked.
#[must_use]
pub fn session(token: &str) -> Option<String> {
    let (_, claims, _) = parts(token)?;
    let claims: Claims = decode(claims).ok()?;
    Some(text(claims.sid)).filter(|sid| !sid.is_empty())
}

/// When a token ends whose signature somebody else has checked.
#[must_use]
pub fn expiry(token: &str) -> Option<Duration> {
    let (_, claims, _) = parts(token)?;
    let claims: Value = decode(claims).ok()?;
    Duration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok()
}

/// A claim that is text; empty if it is something else, which names nothing.
fn text(claim: Value) -> String {
    match claim {
        Value::String(text) => text,
        _ => String::new(),
    }
}

fn parts(token: &str) -> Option<(&str, &str, &str)> {
    if token.len() > MOST {
        return None;
    }
    let mut parts = token.splitn(4, '.');
    let three = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(three)
}

fn decode<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, TokenError> {
    let bytes = BASE64.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}
