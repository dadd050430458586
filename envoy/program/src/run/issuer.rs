//! Whether an issuer answers under a CA.

use gateway_config::Issuer;
use gateway_kubeconfig::{Client, Pair, Trust};
use gateway_net::{Host, Proxies, Scheme, Server};
use ureq::{Proxy, ProxyProtocol};

use super::{apiserver::TIMEOUT, certificate};

/// Asks for the discovery document. Any answer will do: it is the certificate that is in question.
pub(super) fn answers(
    url: &str,
    bundle: &[u8],
    identity: Option<&Pair>,
    proxies: &Proxies,
) -> Result<(), String> {
    let server = proxies.server_for(url).map_err(|error| error.to_string())?;
    if server.is_some_and(|server| server.scheme == Scheme::Socks5) {
        // Envoy's way alone leads there, and it has no cluster for a new issuer yet.
        return Ok(());
    }
    let proxy = server.map(proxy).transpose().map_err(|error| format!("HTTPS_PROXY: {error}"))?;
    let trust = Trust::Bundle(bundle);
    let agent = Client { trust, identity, to: None, proxy, timeout: TIMEOUT }.agent()?;
    match agent.get(url).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("issuer: GET {url}: {error}")),
    }
}

fn proxy(server: &Server) -> Result<Proxy, ureq::Error> {
    let protocol =
        if server.scheme == Scheme::Https { ProxyProtocol::Https } else { ProxyProtocol::Http };
    let host = match &server.host {
        Host::Ip(address) if address.is_ipv6() => format!("[{address}]"),
        host => host.to_string(),
    };
    let builder = Proxy::builder(protocol).host(&host).port(server.port);
    match &server.credential {
        Some(credential) => {
            builder.username(&credential.user).password(&credential.password).build()
        }
        None => builder.build(),
    }
}

/// When the first certificate of an issuer's own bundle ends.
pub(super) fn expiry(issuer: &Issuer) -> Option<i64> {
    certificate::expiry(issuer.certificate_authority.as_ref()?.as_bytes())
}
