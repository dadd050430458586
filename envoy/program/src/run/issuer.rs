//! Whether an issuer answers under a CA.

use gateway_config::Issuer;
use gateway_kubeconfig::{Client, Pair, Trust};
use gateway_net::Proxies;
use ureq::Proxy;

use super::{apiserver::TIMEOUT, certificate};

/// Asks for the discovery document. Any answer will do: it is the certificate that is in question.
pub(super) fn answers(
    url: &str,
    bundle: &[u8],
    identity: Option<&Pair>,
    proxies: &Proxies,
) -> Result<(), String> {
    let proxy = proxies.url_for(url).map(|proxy| Proxy::new(&proxy));
    let proxy = proxy.transpose().map_err(|error| format!("HTTPS_PROXY: {error}"))?;
    let trust = Trust::Bundle(bundle);
    let agent = Client { trust, identity, to: None, proxy, timeout: TIMEOUT }.agent()?;
    match agent.get(url).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("issuer: GET {url}: {error}")),
    }
}

/// When the first certificate of an issuer's own bundle ends.
pub(super) fn expiry(issuer: &Issuer) -> Option<i64> {
    certificate::expiry(issuer.certificate_authority.as_ref()?.as_bytes())
}
