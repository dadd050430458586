//! What proves a client without a secret: a token that somebody else makes, or one that the client's key signs
//! (`private_key_jwt`; RFC 7523, sections 2.2 and 3, OpenID Connect Core 1.0, section 9).

use std::fs;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use oauth2::CsrfToken;
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;

use crate::{console::plain, settings::Assertion};

/// The type of assertion that all of them are.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long one is good, in seconds: it is used at once, and some issuers take none that lasts longer.
const LIFETIME: i64 = 60;

/// Algorithms of JWTs, with the length of each half of an ECDSA signature.
const SCHEMES: [(SignatureScheme, &str, usize); 3] = [
    (SignatureScheme::RSA_PKCS1_SHA256, "RS256", 0),
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ES256", 32),
    (SignatureScheme::ECDSA_NISTP384_SHA384, "ES384", 48),
];

/// A fresh assertion of the client for this issuer, by whose clock it is `now`.
pub fn assertion(
    how: &Assertion,
    client: &str,
    issuer: &str,
    now: DateTime<Utc>,
) -> Result<String, String> {
    let (file, id, audience) = match how {
        Assertion::Ready(source) => return source.text().map_err(|error| error.to_string()),
        Assertion::Key { file, id, audience } => (file, id, audience),
    };
    let unusable = |why: &str| {
        format!(
            "the key file {} {why}; --client-assertion-key-file wants a private key in PEM form (RSA, P-256 or P-384)",
            file.display()
        )
    };
    let pem =
        fs::read(file).map_err(|error| unusable(&format!("cannot be read: {}", plain(&error))))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable("holds none"))?;
    let key = any_supported_type(&key).map_err(|_| unusable("holds one of another kind"))?;
    let chosen = SCHEMES
        .iter()
        .find_map(|(scheme, name, width)| Some((key.choose_scheme(&[*scheme])?, *name, *width)));
    let (signer, algorithm, width) = chosen.ok_or_else(|| unusable("holds one of another kind"))?;
    let mut header = json!({ "alg": algorithm, "typ": "JWT" });
    if let Some(id) = id {
        header["kid"] = json!(id);
    }
    let claims = json!({
        "iss": client,
        "sub": client,
        "aud": audience.as_deref().unwrap_or(issuer),
        "jti": CsrfToken::new_random().secret(),
        "iat": now.timestamp(),
        "exp": now.timestamp() + LIFETIME,
    });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = signer.sign(signed.as_bytes()).map_err(|_| unusable("cannot sign"))?;
    let signature = match width {
        0 => signature,
        width => halves(&signature, width).ok_or_else(|| unusable("cannot sign"))?,
    };
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// An ECDSA signature as JWTs have it (RFC 7518, section 3.4), of one as certificates have it (RFC 3279, section 2.2.3): two numbers,
/// each of `width` bytes.
fn halves(der: &[u8], width: usize) -> Option<Vec<u8>> {
    let [0x30, length, rest @ ..] = der else { return None };
    if usize::from(*length) != rest.len() {
        return None;
    }
    let mut rest = rest;
    let mut both = Vec::with_capacity(2 * width);
    for _ in 0..2 {
        let [0x02, length, after @ ..] = rest else { return None };
        let (number, after) = after.split_at_checked(usize::from(*length))?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        both.resize(both.len() + width.checked_sub(number.len())?, 0);
        both.extend_from_slice(number);
        rest = after;
    }
    rest.is_empty().then_some(both)
}
