//! Connections over TLS, of one version of HTTP.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
    header::{AUTHORIZATION, HOST, HeaderValue},
    http::{
        request::Parts,
        uri::{Authority, Scheme},
    },
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, task::spawn_local};
use tokio_rustls::TlsConnector;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// How much of an answer the client takes in before it must have been read.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Bytes of a stream.
    pub stream: u32,
    /// Bytes of a connection.
    pub connection: u32,
}

/// Go's, which kubectl and every controller has (net/http, `transportDefaultStreamFlow` and `transportDefaultConnFlow`).
pub const GO: Window = Window { stream: 4 << 20, connection: 1 << 30 };

/// A server to connect to.
#[derive(Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    tls: Rc<[TlsConnector; 2]>,
}

impl Server {
    /// One whose certificate an authority (PEM) signed.
    pub fn new(address: SocketAddr, authority: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(certificate.context("the CA is no PEM")?)?;
        }
        let tls = |protocol: &[u8]| -> Result<TlsConnector> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Self { address, tls: Rc::new([tls(b"http/1.1")?, tls(b"h2")?]) })
    }

    /// Opens a connection.
    pub async fn connect(&self, version: Version, window: Window) -> Result<Connection> {
        let tcp = TcpStream::connect(self.address).await.context("cannot connect")?;
        tcp.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let [h1, h2] = &*self.tls;
        Ok(match version {
            Version::H1 => {
                let io = TokioIo::new(h1.connect(name, tcp).await.context("TLS")?);
                let (sender, connection) = http1::handshake(io).await?;
                spawn_local(connection.with_upgrades());
                Connection { sender: Sender::H1(sender), address: self.address }
            }
            Version::H2 => {
                let io = TokioIo::new(h2.connect(name, tcp).await.context("TLS")?);
                let (sender, connection) = http2::Builder::new(Local)
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(window.stream)
                    .initial_connection_window_size(window.connection)
                    .handshake(io)
                    .await?;
                spawn_local(connection);
                Connection { sender: Sender::H2(sender), address: self.address }
            }
        })
    }
}

/// Tasks of a connection run beside it, on this thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// An open connection.
pub struct Connection {
    sender: Sender,
    address: SocketAddr,
}

impl Connection {
    /// Another stream of the same connection; `None` for HTTP/1.1, which has but one.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        match &self.sender {
            Sender::H1(_) => None,
            Sender::H2(sender) => {
                Some(Self { sender: Sender::H2(sender.clone()), address: self.address })
            }
        }
    }

    /// Whether a request can still be sent on it, once it has room.
    pub async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::H1(sender) => sender.ready().await.is_ok(),
            Sender::H2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request whose URI is a path; gives the answer's head, whatever the status.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<Response<Incoming>> {
        let (mut parts, body) = request.into_parts();
        match &self.sender {
            Sender::H1(_) => {
                parts.headers.insert(HOST, HeaderValue::try_from(self.address.to_string())?);
            }
            Sender::H2(_) => self.make_absolute(&mut parts)?,
        }
        let request = Request::from_parts(parts, Full::new(body));
        Ok(match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    fn make_absolute(&self, parts: &mut Parts) -> Result<()> {
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(Authority::try_from(self.address.to_string())?);
        parts.uri = uri.try_into()?;
        Ok(())
    }

    /// Sends a `GET`; gives the answer's head, whatever the status.
    pub async fn ask(
        &mut self,
        path: &str,
        authorization: HeaderValue,
    ) -> Result<Response<Incoming>> {
        let request = Request::get(path)
            .header(AUTHORIZATION, authorization)
            .header("user-agent", "kubectl/v1.36.3 (linux/amd64) kubernetes/bench")
            .header("accept", "application/json");
        self.send(request.body(Bytes::new())?).await
    }

    /// Asks, and demands 200.
    pub async fn must(
        &mut self,
        path: &str,
        authorization: HeaderValue,
    ) -> Result<Response<Incoming>> {
        let answer = self.ask(path, authorization).await?;
        if answer.status() == 200 {
            return Ok(answer);
        }
        let status = answer.status();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await?.to_bytes();
        bail!("{path}: {status}: {}", String::from_utf8_lossy(&body).trim());
    }
}

/// Gives up on a future that takes longer than any answer may.
pub async fn within<T>(limit: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, future)
        .await
        .with_context(|| format!("no answer within {} s", limit.as_secs()))?
}
