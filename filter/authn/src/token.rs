//! A bearer token before anybody believes it.
//!
//! Parsing follows kube-apiserver's dispatch (`untrustedIssuer` in its oidc plugin): only what decides whose token it is
//! is read with authority here. What go-jose would say about the header is kept and comes out of
//! [`crate::JwtAuthenticator::verify`], because a token of nobody's is passed on and not refused for its header.

mod header;
mod id_token;

use std::{borrow::Cow, sync::Arc};

use go_compat::{
    base64::{self, Base64Error, Decoded},
    json::{self, JsonError, Limits, Object, Value, field_matches},
};

pub(crate) use header::{Header, HeaderError};
pub(crate) use id_token::{IdToken, IdTokenError, Time};

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
        let payload =
            Part::payload(payload).map_err(|_| TokenError::NotJwt("error decoding token"))?;
        let json_limits = Limits { depth: limits.depth, values: limits.values };
        let claims = match json::parse(&payload.bytes, json_limits) {
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

    /// The header's `typ`, if it has one.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.header().map(|header| header.kind.as_str()).filter(|kind| !kind.is_empty())
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
    /// What go-jose makes of the token. It signs over its own spelling of the parts, not over the one that was sent.
    fn parse(
        header: &[u8],
        payload: &Part<'_>,
        signature: &[u8],
        limits: Limits,
    ) -> Result<Self, HeaderError> {
        let raw_header = Part::stripped(header)?;
        let signature = Part::stripped(signature)?.bytes;
        let header = Header::parse(&raw_header.bytes, limits)?;
        let payload = if header.payload_is_base64 {
            payload.spelling()
        } else {
            Cow::Borrowed(payload.bytes.as_slice())
        };
        let signing_input = [&raw_header.spelling(), b".".as_slice(), &payload].concat();
        Ok(Self { header, signing_input, signature })
    }
}

/// A part of the token, decoded.
struct Part<'a> {
    bytes: Vec<u8>,
    /// The part as sent, if that is its one canonical spelling.
    sent: Option<&'a [u8]>,
}

impl<'a> Part<'a> {
    /// The payload, which the dispatch decodes as it is.
    fn payload(part: &'a [u8]) -> Result<Self, Base64Error> {
        let Decoded { bytes, canonical } = base64::decode_spelling(part)?;
        Ok(Self { bytes, sent: canonical.then_some(part) })
    }

    /// Another part, from which go-jose strips white space first.
    fn stripped(part: &'a [u8]) -> Result<Self, Base64Error> {
        Self::payload(part).or_else(|error| {
            let text = std::str::from_utf8(part).map_err(|_| error)?;
            let stripped: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            Ok(Self { bytes: base64::decode(stripped.as_bytes())?, sent: None })
        })
    }

    fn spelling(&self) -> Cow<'a, [u8]> {
        match self.sent {
            Some(sent) => Cow::Borrowed(sent),
            None => Cow::Owned(base64::encode(&self.bytes).into_bytes()),
        }
    }
}

/// Whether a token that is no JWT was made as one: it begins with the header of a signed one (RFC 7515, section 4.1.1). An encrypted one
/// (RFC 7516), which is opaque to all but its reader, is none.
#[must_use]
pub fn is_damaged_jwt(token: &[u8]) -> bool {
    let header = memchr::memchr(b'.', token).and_then(|end| token.get(..end));
    let header = header.and_then(|header| Part::stripped(header).ok());
    let limits = TokenLimits::default();
    let limits = Limits { depth: limits.depth, values: limits.values };
    let parsed = header.and_then(|header| json::parse(&header.bytes, limits).ok());
    let Some(Value::Object(header)) = parsed else { return false };
    matches!(header.get("alg"), Some(Value::String(_))) && header.get("enc").is_none()
}

/// The three parts, if there are exactly two dots.
fn split(token: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut dots = memchr::memchr_iter(b'.', token);
    let (first, second) = (dots.next()?, dots.next()?);
    let parts = (token.get(..first)?, token.get(first + 1..second)?, token.get(second + 1..)?);
    dots.next().is_none().then_some(parts)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HEADER, sign};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const LIMITS: TokenLimits = TokenLimits { bytes: 1000, depth: 4, values: 20 };

    fn parse(token: &str) -> Result<UnverifiedToken, TokenError> {
        UnverifiedToken::parse(token.as_bytes(), &LIMITS)
    }

    #[test]
    fn issuers() {
        let not_jwt = |reason| Err(TokenError::NotJwt(reason));
        for (claims, want) in [
            (r#"{"iss":"https://a"}"#, Ok("https://a")),
            (r#"{"iss":"a","iss":"b"}"#, Ok("b")),
            (r#"{"iss":"a","ISS":"b"}"#, Ok("b")), // Go folds names
            (r#"{"iss":"a","iſs":"b"}"#, Ok("b")),
            (r#"{"iss":"a","iss":null}"#, Ok("a")),
            (r#"{"iss":"accounts.google.com"}"#, Ok("https://accounts.google.com")),
            ("{}", Ok("")),
            ("null", Ok("")),
            (r#"{"iss":1,"iss":"a"}"#, not_jwt("issuer is not a string")),
            ("[]", not_jwt("claims are not an object")),
            ("", not_jwt("claims are not JSON")),
            (r#"{"iss":"a"}x"#, not_jwt("claims are not JSON")),
        ] {
            let got = parse(&sign(HEADER, claims)).map(|token| token.issuer().to_owned());
            assert_eq!(got, want.map(str::to_owned), "{claims}");
        }
    }

    /// CVE-2025-27144: the dots are counted before anything is decoded.
    #[test]
    fn shapes() {
        let token = sign(HEADER, r#"{"iss":"a"}"#);
        let (rest, signature) = token.rsplit_once('.').expect("a signature");
        let (header, claims) = rest.split_once('.').expect("claims");
        let malformed = Some(TokenError::NotJwt("malformed token"));
        for (token, want) in [
            (token.clone(), None),
            (rest.to_owned(), malformed.clone()),
            (format!("{token}."), malformed.clone()),
            (format!("{token}.a"), malformed.clone()),
            (".".repeat(999), malformed.clone()),
            (String::new(), malformed.clone()),
            ("opaque".to_owned(), malformed),
            (format!(" {{{token}"), Some(TokenError::NotJwt("token is not compact JWT"))),
            (
                format!("{header}.{claims}=.{signature}"),
                Some(TokenError::NotJwt("error decoding token")),
            ),
            (
                format!("{header}.{claims} .{signature}"),
                Some(TokenError::NotJwt("error decoding token")),
            ),
            (format!("{header}.{claims}\n.{signature}"), None), // Go skips line ends in base64
            // Header and signature are another library's business, which comes after the issuer's.
            (format!("!.{claims}.!"), None),
            (
                format!("{token}{}", "A".repeat(1000)),
                Some(TokenError::TooLarge(token.len() + 1000)),
            ),
        ] {
            assert_eq!(parse(&token).err(), want, "{token:.60}");
        }
    }

    #[test]
    fn limits_hold_for_both_parts() {
        let deep = r#"{"iss":"a","x":[[[[1]]]]}"#;
        let wide = format!(r#"{{"iss":"a","x":[{}1]}}"#, "1,".repeat(20));
        for (header, claims, want) in [
            (HEADER, deep, JsonError::TooDeep),
            (HEADER, wide.as_str(), JsonError::TooManyValues),
            (deep, r#"{"iss":"a"}"#, JsonError::TooDeep),
        ] {
            let error = parse(&sign(header, claims)).expect_err("a limit");
            assert_eq!(error, TokenError::TooComplex(want));
            assert!(error.is_limit());
        }
    }

    #[test]
    fn header_fields() {
        for (header, algorithm, key_id) in [
            (HEADER, Some("ES256"), Some("key-1")),
            (r#"{"alg":"x","kid":""}"#, Some("x"), None),
            ("{}", None, None),
            ("not JSON", None, None),
            (r#"{"alg":1}"#, None, None),
        ] {
            let token = parse(&sign(header, "{}")).expect("a token");
            assert_eq!((token.algorithm(), token.key_id()), (algorithm, key_id), "{header}");
        }
    }

    /// go-jose signs over its own spelling: white space and unused bits in the sent one do not matter.
    #[test]
    fn the_signing_input_is_canonical() {
        let token = sign(r#"{"alg": "ES256"}"#, r#"{"iss":"ab"}"#);
        let input = token.rsplit_once('.').expect("a signature").0.as_bytes();
        let spaced = token.replacen("ey", "e\u{a0} y", 1);
        let unused_bits = token.replacen("fQ.", "fR.", 1); // `}` at the end of the header
        for spelling in [&token, &spaced, &unused_bits] {
            let parsed = parse(spelling).expect("a token");
            assert_eq!(
                parsed.jws().map(|jws| jws.signing_input.as_slice()),
                Ok(input),
                "{spelling}"
            );
        }
        assert_ne!(unused_bits, token);
    }

    /// RFC 7797: the payload is signed as it is.
    #[test]
    fn unencoded_payload() {
        let token = parse(&sign(r#"{"alg":"ES256","b64":false}"#, r#"{"iss":"a"}"#));
        let token = token.expect("a token");
        let input = &token.jws().expect("a header").signing_input;
        assert!(input.ends_with(br#".{"iss":"a"}"#));
    }
}
