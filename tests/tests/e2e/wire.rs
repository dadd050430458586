//! Requests as an attacker writes them: any header, any body, trailers, over HTTP/1.1 and HTTP/2, with TLS.

mod h1;
mod h2;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use sandbox::Gateway;
use serde_json::Value;

pub use self::{
    h1::Connection,
    h2::{Session, Tunnel, send_all, send_many},
};

/// How long an answer may take: longer than every deadline of the gateway.
pub const LIMIT: Duration = Duration::from_secs(40);

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::H1, Self::H2];
}

/// Where a gateway listens, on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    port: u16,
    ca: &'a str,
}

impl<'a> Door<'a> {
    /// That of a server with a certificate of this CA.
    pub fn of(port: u16, ca: &'a str) -> Self {
        Self { port, ca }
    }

    /// The second gateway in the Envoy of this one.
    pub fn beside(gateway: &'a Gateway) -> Self {
        Self { port: gateway.port_beside().expect("it has one"), ca: gateway.ca() }
    }
}

impl<'a> From<&'a Gateway> for Door<'a> {
    fn from(gateway: &'a Gateway) -> Self {
        Self { port: gateway.port(), ca: gateway.ca() }
    }
}

/// A request. Its user agent is its own, so that the audit log can be asked for it.
#[derive(Clone, Debug)]
pub struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(String, String)>,
    upgrade: Option<String>,
    agent: String,
}

/// What came back; a connection or stream that ended without an answer is an error instead.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case; over HTTP/2 trailers stand behind the headers.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
}

impl Ask {
    /// A request of this method and target.
    pub fn new(method: &'static str, path: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let agent = format!("e2e-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let (path, headers) = (path.to_owned(), vec![]);
        Self { method, path, headers, body: None, trailers: vec![], upgrade: None, agent }
    }

    /// `GET /version`, which every user may.
    pub fn version() -> Self {
        Self::new("GET", "/version")
    }

    /// A command in a pod: an upgrade to `protocol`, by `GET` for a WebSocket and `POST` for SPDY, as kubectl does.
    /// The pod need not exist: the API server's log has the request all the same.
    pub fn exec(protocol: &str) -> Self {
        let method = if protocol == "websocket" { "GET" } else { "POST" };
        let path = "/api/v1/namespaces/default/pods/any/exec?command=id&stdout=true";
        let ask = Self { upgrade: Some(protocol.to_owned()), ..Self::new(method, path) };
        if protocol == "websocket" {
            ask.header("Sec-WebSocket-Version", "13")
        } else {
            ask.header("X-Stream-Protocol-Version", "v4.channel.k8s.io")
        }
    }

    /// Makes it an upgrade.
    pub fn upgrade(mut self, protocol: &str) -> Self {
        self.upgrade = Some(protocol.to_owned());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds headers.
    pub fn headers<'a>(self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        headers.into_iter().fold(self, |ask, (name, value)| ask.header(name, value))
    }

    /// Adds `Authorization: Bearer`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Gives it a body.
    pub fn body(mut self, body: &str) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Gives it trailers, and a body to stand before them.
    pub fn trailers<'a>(mut self, trailers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        self.trailers = trailers.into_iter().map(owned).collect();
        self.body.get_or_insert_with(|| b"{}".to_vec());
        self
    }

    /// Its user agent.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Sends it on a connection of its own.
    ///
    /// # Errors
    /// If the connection or the stream ended without an answer, with the reason.
    pub fn send<'a>(&self, to: impl Into<Door<'a>>, version: Version) -> Result<Answer, String> {
        match version {
            Version::H1 => Connection::open(to)?.ask(self),
            Version::H2 => h2::send(to.into(), self),
        }
    }
}

impl Answer {
    /// The first value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The body as JSON, `null` if it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// TLS towards a gateway, for one protocol.
fn tls(to: Door<'_>, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(to.ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}
