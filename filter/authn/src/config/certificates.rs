//! `issuer.certificateAuthority`: client-go's `cert.NewPoolFromBytes`.

use crate::pem;
use crate::x509::Certificate;

/// Checks that `text` holds a certificate and none that is malformed. Blocks with headers and other blocks do not count.
///
/// # Errors
/// With client-go's text.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut found = false;
    for block in pem::blocks(text.as_bytes()) {
        if block.label == b"CERTIFICATE" && !block.has_headers {
            Certificate::from_der(&block.bytes).map_err(|error| error.to_string())?;
            found = true;
        }
    }
    if found {
        Ok(())
    } else {
        Err("data does not contain any valid RSA or ECDSA certificates".to_owned())
    }
}
