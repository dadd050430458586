//! `issuer.certificateAuthority`: client-go's `cert.NewPoolFromBytes`.

use base64::{Engine, engine::general_purpose::STANDARD};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Checks that `pem` holds a certificate.
///
/// # Errors
/// With client-go's text.
pub(super) fn check(pem: &str) -> Result<(), &'static str> {
    let mut found = false;
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((body, after)) = after.split_once(END) else { break };
        rest = after;
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        found |= STANDARD.decode(body).is_ok_and(|der| !der.is_empty());
    }
    if found { Ok(()) } else { Err("data does not contain any valid RSA or ECDSA certificates") }
}
