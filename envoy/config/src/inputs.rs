//! What an Envoy configuration is rendered from.
//!
//! Types here hold only what is already checked: documents are valid, a [`Host`] is an address or a DNS name. What depends on several fields, or on the file system's limits, is checked by [`render`](crate::render).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use gateway_core::portal_keys::{SHARED_VARIABLE, VARIABLE};
use gateway_net::{Host, Prefix};

use crate::{
    documents::Documents, form::FilterForm, issuers::Issuer, limits::Limits,
    modules::connections_filter, paths::ServingCertificate, portal::part::Part, traces::Traces,
};

/// Everything that the files of a gateway depend on. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Where the rendered files will lie: they refer to each other by absolute paths.
    pub directory: PathBuf,
    /// What the listener shows to clients.
    pub serving: ServingCertificate,
    /// Where requests go.
    pub apiserver: ApiServer,
    /// What the users' documents say.
    pub documents: Documents,
    /// Issuers that `documents` no longer have, and that keep their clusters until the filter's new configuration is live.
    pub leaving: Vec<Issuer>,
    /// What Envoy is to ask by before it serves with it.
    pub candidates: Candidates,
    /// The CA bundle (PEM file) for issuers without one of their own. Its directory is watched.
    pub system_ca: PathBuf,
    /// What issuers are shown if they ask for a client certificate. The directory of the chain is watched.
    pub issuer_certificate: Option<ServingCertificate>,
    /// Envoy's admin interface, a Unix socket of mode 0600; at most 107 bytes.
    pub admin_socket: PathBuf,
    /// Where Envoy writes one JSON line a request, without queries and credentials, e.g. `/dev/stdout`.
    pub access_log: PathBuf,
    /// How Envoy serves.
    pub options: Options,
    /// The portal, on the same port under a name of its own.
    pub portal: Option<Part>,
}

impl Inputs {
    /// The variables that Envoy needs in its environment: secrets that no file holds.
    #[must_use]
    pub fn variables(&self) -> Vec<&'static str> {
        let shared = self.documents.takes_shared_secret().then_some(SHARED_VARIABLE);
        shared.into_iter().chain(self.portal.iter().map(|_| VARIABLE)).collect()
    }

    /// The issuers that have clusters.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &Issuer> {
        self.documents.issuers().iter().chain(&self.leaving).chain(&self.candidates.issuers)
    }
}

/// Ways to servers for the program's questions alone, before requests take them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Issuers that nobody's token is looked at by yet, or known ones under another CA.
    pub issuers: Vec<Issuer>,
    /// A CA bundle (PEM) for kube-apiserver.
    pub apiserver_ca: Option<String>,
}

/// How Envoy serves: what a flag says and nothing else has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where clients connect (TLS, HTTP/2 and HTTP/1.1). Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// How it speaks TLS and HTTP with them.
    pub protocols: Protocols,
    /// The form of the filter.
    pub form: FilterForm,
    /// The filter's module in that form. A new module is brought in under a new path: Envoy does not look at an old one again.
    pub filter: PathBuf,
    /// Another module that counts connections than the one that belongs to the filter: beside a filter that is not the gateway's.
    pub connections_filter: Option<PathBuf>,
    /// Worker threads; one for each CPU if absent.
    pub concurrency: Option<u32>,
    /// Whether these lines are also what the audit trail is made of: with the request target's query, and with lines while
    /// requests last. Then somebody has to read them who knows what is for whom (`gateway_audit`).
    pub audit_lines: bool,
    /// How many proxies before Envoy are believed in `X-Forwarded-For`. With 0 it is the peer alone that counts.
    pub trusted_hops: u32,
    /// The proxies that are believed in `X-Forwarded-For`, by their addresses. If there are any, `trusted_hops` does not count.
    pub trusted_proxies: Vec<Prefix>,
    /// The balancers that begin each connection with a header of the PROXY protocol, version 1 or 2, by their addresses. If there
    /// are any, nobody else gets in, and the client's address is the one in the header.
    pub proxy_protocol: Vec<Prefix>,
    /// How long a request to kube-apiserver may take, if not for ever. Watches, followed logs and upgrades have no end.
    pub request_timeout: Option<Duration>,
    /// Whether who runs Envoy says whose access has ended, at a socket of its own ([`access_socket`](crate::access_socket)).
    pub access: bool,
    /// Whether it takes logout tokens, too, at another one ([`logout_socket`](crate::logout_socket)).
    pub takes_logouts: bool,
    /// Where spans of requests go, if anywhere.
    pub traces: Option<Traces>,
    /// Sizes and times.
    pub limits: Limits,
}

impl Options {
    /// As by default, on this address with this Wasm module.
    #[must_use]
    pub fn new(listen: SocketAddr, filter: PathBuf) -> Self {
        Self {
            listen,
            protocols: Protocols::default(),
            form: FilterForm::default(),
            connections_filter: None,
            filter,
            concurrency: None,
            audit_lines: false,
            trusted_hops: 0,
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            request_timeout: None,
            access: false,
            takes_logouts: false,
            traces: None,
            limits: Limits::default(),
        }
    }

    /// Whether somebody before Envoy is believed to say where a request comes from.
    #[must_use]
    pub fn knows_clients(&self) -> bool {
        self.trusted_hops > 0 || !self.trusted_proxies.is_empty() || !self.proxy_protocol.is_empty()
    }

    /// Whether connections are counted of which nobody is known.
    #[must_use]
    pub fn counts_connections(&self) -> bool {
        self.limits.counts_connections()
    }

    /// The module that counts connections, where they are counted: beside the Wasm filter, and the native filter itself.
    #[must_use]
    pub fn connections_filter(&self) -> PathBuf {
        let own = || match self.form {
            FilterForm::Wasm => connections_filter(&self.filter),
            FilterForm::Native => self.filter.clone(),
        };
        self.connections_filter.clone().unwrap_or_else(own)
    }
}

/// How the listener speaks TLS and HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocols {
    /// The least version of TLS.
    pub minimum: TlsVersion,
    /// The cipher suites for TLS 1.2 by their names in BoringSSL; Envoy's own if empty.
    pub cipher_suites: Vec<String>,
    /// The key exchanges by their names in BoringSSL, the preferred first; Envoy's own if empty.
    pub curves: Vec<String>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Certificates for names, tried before the serving certificate: for clients that ask for a name.
    pub certificates: Vec<NamedCertificate>,
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            minimum: TlsVersion::V1_2,
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            http2: true,
            certificates: Vec::new(),
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.0
    V1_0,
    /// TLS 1.1
    V1_1,
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// A certificate for clients that ask for some names (SNI).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCertificate {
    /// The pair. The directory of the chain is watched.
    pub certificate: ServingCertificate,
    /// The names: DNS names, `*.example` for all names below one. Not empty.
    pub names: Vec<String>,
}

/// The kube-apiserver behind the gateway. The directories of its files are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServer {
    /// Where it listens.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// The CA bundle that signed its certificate (PEM file); if absent, whoever answers is believed.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have, if not `host` (`tls-server-name` of a kubeconfig).
    pub server_name: Option<Host>,
    /// How the gateway proves who it is.
    pub credential: Credential,
}

/// The gateway's own credential at kube-apiserver. The directory of the file is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A ServiceAccount token: the bare token, a newline at its end is ignored.
    Token(PathBuf),
    /// A client certificate.
    Certificate(ServingCertificate),
}
