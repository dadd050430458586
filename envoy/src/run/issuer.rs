//! Whether an issuer answers under a CA.

use ureq::Proxy;

use super::{
    http::{self, Trust},
    pair::{self, Pair},
};
use crate::{inputs::Issuer, proxy::Proxies};

/// Asks for the discovery document. Any answer will do: it is the certificate that is in question.
pub(super) fn answers(
    url: &str,
    bundle: &[u8],
    identity: Option<&Pair>,
    proxies: &Proxies,
) -> Result<(), String> {
    let proxy = proxies.url_for(url).map(|proxy| Proxy::new(&proxy));
    let proxy = proxy.transpose().map_err(|error| format!("HTTPS_PROXY: {error}"))?;
    let agent = http::agent(Trust::Bundle(bundle), identity, None, proxy)?;
    match agent.get(url).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("issuer: GET {url}: {error}")),
    }
}

/// When the first certificate of an issuer's own bundle ends.
pub(super) fn expiry(issuer: &Issuer) -> Option<i64> {
    pair::expiry(issuer.certificate_authority.as_ref()?.as_bytes())
}
