//! The program's own requests over TLS: to kube-apiserver and to issuers, each with the certificates that Envoy would use.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use ureq::{
    Agent, Proxy,
    config::Config,
    http::Uri,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use super::pair::{Pair, certificates};

/// How long one answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to believe on the other side.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trust<'a> {
    /// Whom this bundle (PEM) has signed.
    Bundle(&'a [u8]),
    /// Anybody.
    Anybody,
}

/// A client for one server, or for any if `to` is absent.
pub(super) fn agent(
    trust: Trust<'_>,
    identity: Option<&Pair>,
    to: Option<(String, u16)>,
    proxy: Option<Proxy>,
) -> Result<Agent, String> {
    let tls = TlsConfig::builder();
    let tls = match trust {
        Trust::Anybody => tls.disable_verification(true),
        Trust::Bundle(pem) => {
            let roots = certificates(pem).map_err(|error| error.to_string())?;
            let roots = roots.iter().map(|der| Certificate::from_der(der).to_owned());
            tls.root_certs(RootCerts::from(roots))
        }
    };
    let identity = identity.map(client_certificate).transpose()?;
    let config = Config::builder()
        .tls_config(tls.client_cert(identity).build())
        .proxy(proxy)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("kube-oidc-gateway/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(TIMEOUT))
        .build();
    Ok(match to {
        Some((host, port)) => {
            Agent::with_parts(config, DefaultConnector::default(), Fixed { host, port })
        }
        None => config.new_agent(),
    })
}

fn client_certificate(pair: &Pair) -> Result<ClientCert, String> {
    let chain = certificates(&pair.chain).map_err(|error| error.to_string())?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key = PrivateKey::from_pem(&pair.key).map_err(|error| error.to_string())?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// Connects to one server whatever a URL names: its certificate may have another name than its address.
#[derive(Debug)]
struct Fixed {
    host: String,
    port: u16,
}

impl Resolver for Fixed {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        let addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        let addresses: Vec<SocketAddr> = addresses.take(16).collect();
        for address in addresses {
            found.push(address);
        }
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(found) }
    }
}
