//! The HTTP client of the programs: for kube-apiserver, issuers, webhooks and probes.

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

use crate::pair::{Pair, certificates};

/// Whom to believe on the other side.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Whom this bundle (PEM) has signed.
    Bundle(&'a [u8]),
    /// Whom the system believes.
    System,
    /// Anybody.
    Anybody,
}

/// How servers are spoken to. No redirect is followed, and every status is an answer.
#[derive(Debug, Clone)]
pub struct Client<'a> {
    /// Whom to believe.
    pub trust: Trust<'a>,
    /// What is shown to who asks for a client certificate.
    pub identity: Option<&'a Pair>,
    /// The only server, whatever host a URL names: its certificate may have another name than its address.
    pub to: Option<(String, u16)>,
    /// The way.
    pub proxy: Option<Proxy>,
    /// How long one answer may take.
    pub timeout: Duration,
}

impl Client<'_> {
    /// The client, ready to be used.
    ///
    /// # Errors
    /// If a certificate or a key is none.
    pub fn agent(self) -> Result<Agent, String> {
        let tls = TlsConfig::builder();
        let tls = match self.trust {
            Trust::Anybody => tls.disable_verification(true),
            Trust::System => tls.root_certs(RootCerts::PlatformVerifier),
            Trust::Bundle(pem) => {
                let roots = certificates(pem).map_err(|error| error.to_string())?;
                let roots = roots.iter().map(|der| Certificate::from_der(der).to_owned());
                tls.root_certs(RootCerts::from(roots))
            }
        };
        let identity = self.identity.map(client_certificate).transpose()?;
        let config = Config::builder()
            .tls_config(tls.client_cert(identity).build())
            .proxy(self.proxy)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("kube-oidc-gateway/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(self.timeout))
            .build();
        Ok(match self.to {
            Some((host, port)) => {
                Agent::with_parts(config, DefaultConnector::default(), Fixed { host, port })
            }
            None => config.new_agent(),
        })
    }
}

fn client_certificate(pair: &Pair) -> Result<ClientCert, String> {
    let chain = certificates(&pair.chain).map_err(|error| error.to_string())?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key = PrivateKey::from_pem(&pair.key).map_err(|error| error.to_string())?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// Connects to one server whatever a URL names.
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
