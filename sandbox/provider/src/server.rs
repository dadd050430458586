//! The HTTPS server: accepts connections, finds the issuer, and can go down and come up on the same port.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, mpsc::SyncSender},
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc::UnboundedReceiver,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    call::Call,
    endpoint::Endpoint,
    endpoints,
    misbehaviour::{Body, Cut, InForce, whole},
    reply::{self, Reply},
    state::IssuerShared,
};

const LARGEST_BODY: usize = 1 << 20;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const LISTENER_GONE_WITHIN: Duration = Duration::from_secs(5);
const BACKLOG: u32 = 1024;

/// The issuers of a server.
#[derive(Default)]
pub(crate) struct Issuers(RwLock<Vec<Arc<IssuerShared>>>);

/// What the server can be told; the senders hear when it is done.
pub(crate) enum Command {
    /// Stop listening and cut all connections.
    Down(SyncSender<io::Result<()>>),
    /// Listen again.
    Up(SyncSender<io::Result<()>>),
    /// End.
    Stop,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tls: TlsAcceptor,
    pub(crate) issuers: Arc<Issuers>,
}

/// A listener, or the port kept while nobody listens on it.
enum Port {
    Open(TcpListener),
    Kept(TcpSocket),
}

impl Issuers {
    pub(crate) fn add(&self, issuer: Arc<IssuerShared>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(issuer);
    }

    pub(crate) fn all(&self) -> Vec<Arc<IssuerShared>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The issuer and the endpoint that a path names. Never two: what follows an issuer's path is an endpoint's whole.
    fn find(&self, path: &str) -> Option<(Arc<IssuerShared>, Endpoint)> {
        self.all().into_iter().find_map(|issuer| {
            let endpoint = Endpoint::at(path.strip_prefix(issuer.path())?)?;
            Some((issuer, endpoint))
        })
    }
}

impl Server {
    /// Serves until it is told to stop, or nobody is left to tell it.
    pub(crate) async fn run(self, listener: TcpListener, mut commands: UnboundedReceiver<Command>) {
        let mut port = Port::Open(listener);
        let mut connections = JoinSet::new();
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                accepted = port.accept() => {
                    if let Ok(stream) = accepted {
                        connections.spawn(serve(stream, self.tls.clone(), self.issuers.clone()));
                    }
                    while connections.try_join_next().is_some() {}
                    continue;
                }
            };
            let (done, result) = match command {
                Some(Command::Down(done)) => {
                    let kept = match port {
                        Port::Open(listener) => {
                            drop(listener);
                            keep(self.address).await
                        }
                        Port::Kept(socket) => Ok(socket),
                    };
                    connections.shutdown().await;
                    match kept {
                        Ok(socket) => port = Port::Kept(socket),
                        Err(error) => return tell(&done, Err(error)),
                    }
                    (done, Ok(()))
                }
                Some(Command::Up(done)) => match port.open() {
                    Ok(open) => {
                        port = open;
                        (done, Ok(()))
                    }
                    Err(error) => return tell(&done, Err(error)),
                },
                Some(Command::Stop) | None => return,
            };
            tell(&done, result);
        }
    }
}

impl Port {
    async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Kept(_) => std::future::pending().await,
        }
    }

    fn open(self) -> io::Result<Self> {
        match self {
            Self::Open(listener) => Ok(Self::Open(listener)),
            Self::Kept(socket) => Ok(Self::Open(socket.listen(BACKLOG)?)),
        }
    }
}

/// Binds the port without listening: connections are refused, and the system gives the port to nobody who asks for a
/// free one. While this process starts another one, the child may hold the old listener open for a moment.
async fn keep(address: SocketAddr) -> io::Result<TcpSocket> {
    let until = Instant::now() + LISTENER_GONE_WITHIN;
    loop {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn tell(done: &SyncSender<io::Result<()>>, result: io::Result<()>) {
    // Whoever asked may have stopped waiting.
    let _ = done.send(result);
}

/// Errors of one connection are the client's business: it went away, or does not trust us.
async fn serve(stream: TcpStream, tls: TlsAcceptor, issuers: Arc<Issuers>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await else {
        return;
    };
    let service = service_fn(|request| handle(issuers.clone(), request));
    let server = auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(issuers: Arc<Issuers>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let Some((issuer, endpoint)) = issuers.find(request.uri().path()) else {
        return Ok(whole(reply::text(StatusCode::NOT_FOUND, "no issuer has such an endpoint")));
    };
    issuer.requests.count(endpoint);
    let misbehaviour = issuer.lock().misbehaviours.get_mut(&endpoint).and_then(InForce::next);
    let good = good_answer(&issuer, endpoint, request).await;
    match misbehaviour {
        Some(misbehaviour) => misbehaviour.spoil(good).await,
        None => Ok(whole(good)),
    }
}

async fn good_answer(
    issuer: &Arc<IssuerShared>,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Reply {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return reply::text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let call = Call::new(
        parts.method,
        parts.uri.path(),
        parts.headers,
        parts.uri.query(),
        &body.to_bytes(),
    );
    endpoints::answer(issuer, endpoint, &call)
}
