//! Whether an issuer answers under a CA.

use super::{
    http::{self, Trust},
    pair::{self, Pair},
};
use crate::inputs::Issuer;

/// Asks for the discovery document. Any answer will do: it is the certificate that is in question.
pub(super) fn answers(url: &str, bundle: &[u8], identity: Option<&Pair>) -> Result<(), String> {
    let agent = http::agent(Trust::Bundle(bundle), identity, None, None)?;
    match agent.get(url).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("issuer: GET {url}: {error}")),
    }
}

/// When the first certificate of an issuer's own bundle ends.
pub(super) fn expiry(issuer: &Issuer) -> Option<i64> {
    pair::expiry(issuer.certificate_authority.as_ref()?.as_bytes())
}
