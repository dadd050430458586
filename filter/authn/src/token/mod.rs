//! A bearer token before anybody believes it.
//!
//! Parsing follows kube-apiserver's dispatch (`untrustedIssuer` in its oidc plugin): only what decides whose token it is
//! is read with authority here. What go-jose would say about the header is kept and comes out of
//! [`crate::JwtAuthenticator::verify`], because a token of nobody's is passed on and not refused for its header.

mod header;
mod id_token;

use std::sync::Arc;

use crate::base64url;
use crate::json::{self, JsonError, Limits, Object, Value, field_matches};

pub(crate) use header::{Header, HeaderError};
pub(crate) use id_token::{IdToken, IdTokenError};

const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_WITHOUT_SCHEME: &str = "accounts.google.com";

/// Bounds on a token, checked before anything is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    /// Size in bytes of the token as sent.
    pub bytes: usize,
    /// Nesting of the JSON in header and claims.
    pub depth: usize,
    /// JSON values in header or claims, nested ones included.
    pub values: usize,
}

impl Default for TokenLimits {
    /// Several times what providers issue (Entra ID stops at 200 groups, about 10 KiB).
    fn default() -> Self {
        Self { bytes: 32 * 1024, depth: 32, values: 4096 }
    }
}

/// Why bytes are not looked at any further as a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`TokenLimits::bytes`].
    #[error("token of {0} bytes is too large")]
    TooLarge(usize),
    /// Header or claims are beyond [`TokenLimits::depth`] or [`TokenLimits::values`].
    #[error("token is too complex: {0}")]
    TooComplex(JsonError),
    /// Not a JWT that any issuer could claim: kube-apiserver passes such a token on to its other authenticators without a
    /// word.
    #[error("not a JWT: {0}")]
    NotJwt(&'static str),
}

impl TokenError {
    /// Whether a bound was hit (431), as against a token that is none (401).
    #[must_use]
    pub fn is_limit(&self) -> bool {
        !matches!(self, Self::NotJwt(_))
    }
}

/// A token that has an issuer, nothing verified.
#[derive(Debug, Clone)]
pub struct UnverifiedToken {
    issuer: String,
    claims: Arc<Object>,
    jws: Result<Jws, HeaderError>,
}

/// The parts of the JWS that verification needs.
#[derive(Debug, Clone)]
pub(crate) struct Jws {
    pub(crate) header: Header,
    pub(crate) signing_input: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl UnverifiedToken {
    /// Takes a compact JWS apart.
    ///
    /// # Errors
    /// If it is beyond `limits` or nothing that has an issuer.
    pub fn parse(token: &[u8], limits: &TokenLimits) -> Result<Self, TokenError> {
        if token.len() > limits.bytes {
            return Err(TokenError::TooLarge(token.len()));
        }
        if token.trim_ascii_start().starts_with(b"{") {
            return Err(TokenError::NotJwt("token is not compact JWT"));
        }
        let (header, payload, signature) =
            split(token).ok_or(TokenError::NotJwt("malformed token"))?;
        let payload = base64url::decode(payload);
        let payload = payload.map_err(|_| TokenError::NotJwt("error decoding token"))?;
        let json_limits = Limits { depth: limits.depth, values: limits.values };
        let claims = match json::parse(&payload, json_limits) {
            Ok(Value::Object(claims)) => claims,
            Ok(Value::Null) => Object::default(),
            Ok(_) => return Err(TokenError::NotJwt("claims are not an object")),
            Err(error) if error.is_limit() => return Err(TokenError::TooComplex(error)),
            Err(_) => return Err(TokenError::NotJwt("claims are not JSON")),
        };
        let issuer = issuer(&claims).ok_or(TokenError::NotJwt("issuer is not a string"))?;
        let jws = Jws::parse(header, &payload, signature, json_limits);
        if let Err(HeaderError::Json(error)) = &jws
            && error.is_limit()
        {
            return Err(TokenError::TooComplex(error.clone()));
        }
        Ok(Self { issuer, claims: Arc::new(claims), jws })
    }

    /// The `iss` claim, by which the authenticator is chosen. Google's is completed to its URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The header's `kid`, if it has one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header().map(|header| header.key_id.as_str()).filter(|key_id| !key_id.is_empty())
    }

    /// The header's `alg` as sent, which may be anything; `None` if the header is malformed or has none.
    #[must_use]
    pub fn algorithm(&self) -> Option<&str> {
        self.header().map(|header| header.algorithm.as_str()).filter(|name| !name.is_empty())
    }

    pub(crate) fn claims(&self) -> &Arc<Object> {
        &self.claims
    }

    pub(crate) fn jws(&self) -> Result<&Jws, &HeaderError> {
        self.jws.as_ref()
    }

    fn header(&self) -> Option<&Header> {
        self.jws.as_ref().ok().map(|jws| &jws.header)
    }
}

impl Jws {
    /// What go-jose makes of the token. It strips white space first, and signs over its own spelling of the parts, so
    /// the input of the signature is encoded anew.
    fn parse(
        header: &[u8],
        payload: &[u8],
        signature: &[u8],
        limits: Limits,
    ) -> Result<Self, HeaderError> {
        let raw_header = decode_stripped(header)?;
        let signature = decode_stripped(signature)?;
        let header = Header::parse(&raw_header, limits)?;
        let mut signing_input = base64url::encode(&raw_header).into_bytes();
        signing_input.push(b'.');
        if header.payload_is_base64 {
            signing_input.extend_from_slice(base64url::encode(payload).as_bytes());
        } else {
            signing_input.extend_from_slice(payload);
        }
        Ok(Self { header, signing_input, signature })
    }
}

fn decode_stripped(part: &[u8]) -> Result<Vec<u8>, HeaderError> {
    match base64url::decode(part) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let text = std::str::from_utf8(part).map_err(|_| error)?;
            let stripped: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            Ok(base64url::decode(stripped.as_bytes())?)
        }
    }
}

/// The three parts, if there are exactly two dots.
fn split(token: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut parts = token.splitn(4, |&byte| byte == b'.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Some((header, payload, signature)),
        _ => None,
    }
}

/// The issuer by Go's rules for a struct field: the name folds, the last one counts, `null` changes nothing, anything but
/// a string spoils the claims. Absent is the empty string.
fn issuer(claims: &Object) -> Option<String> {
    let mut issuer = "";
    for (_, value) in claims.members().filter(|(name, _)| field_matches(name, "iss")) {
        match value {
            Value::String(text) => issuer = text,
            Value::Null => {}
            _ => return None,
        }
    }
    Some(if issuer == GOOGLE_WITHOUT_SCHEME { GOOGLE } else { issuer }.to_owned())
}

/// Whether go-oidc takes `claimed` for the issuer `configured`: exactly, but for Google's missing scheme.
pub(crate) fn is_issuer(claimed: &str, configured: &str) -> bool {
    claimed == configured || (configured == GOOGLE && claimed == GOOGLE_WITHOUT_SCHEME)
}
