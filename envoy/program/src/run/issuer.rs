//! Whether an issuer answers under a CA.

use gateway_client::{Client, Pair, Trust};
use gateway_config::{Issuer, cluster_name};
use gateway_control::{Probe, ProbeError, Question};
use gateway_net::{Host, Proxies, Scheme, Server};
use kube_authn::discovery::Endpoint;
use ureq::{Proxy, ProxyProtocol};

use super::{apiserver::TIMEOUT, certificate};

/// Bytes of an answer, which nobody reads.
const MOST: u64 = 1 << 20;

/// Asks for the discovery document by Envoy's cluster for the issuer. Any answer will do: it is the way that is in question.
///
/// # Errors
/// If there is none, or no Envoy.
pub(super) fn answers_envoy(issuer: &Issuer, probe: &Probe) -> Result<(), ProbeError> {
    let url = Endpoint::parse(&issuer.discovery_url)
        .map_err(|error| ProbeError::Envoy(error.to_string()))?;
    let question =
        Question { authority: url.authority(), path: url.target(), ..Question::default() };
    match probe.ask(&cluster_name(issuer), &question, MOST) {
        Ok(_) | Err(ProbeError::Body(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same by a client of the program's own.
pub(super) fn answers_program(
    issuer: &Issuer,
    bundle: &[u8],
    identity: Option<&Pair>,
    proxies: &Proxies,
) -> Result<(), String> {
    let url = Endpoint::parse(&issuer.discovery_url).map_err(|error| error.to_string())?;
    let server = proxies.server_for(&issuer.discovery_url).map_err(|error| error.to_string())?;
    if server.is_some_and(|server| server.scheme == Scheme::Socks5) {
        // Envoy's way alone leads there.
        return Ok(());
    }
    let proxy = server.map(proxy).transpose().map_err(|error| format!("HTTPS_PROXY: {error}"))?;
    let trust = Trust::Bundle(bundle);
    let agent = Client { trust, identity, to: None, proxy, timeout: TIMEOUT }.agent()?;
    agent.get(url.to_string()).call().map(drop).map_err(|error| error.to_string())
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
