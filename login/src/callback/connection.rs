//! One thread for each connection, so that a silent one (browsers open some ahead of need) holds up nobody.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{
    Callback, Event, peer,
    request::{HEAD_LIMIT, Malformed, Request},
    response::{self, Page},
    rules::{CONTESTED, Rules, Verdict},
};
use crate::console::plain;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a browser waits for its page while the code is exchanged.
const EXCHANGE: Duration = Duration::from_secs(120);
/// More connections than any browser opens are somebody's mischief and are closed at once.
const CONNECTIONS: usize = 64;

/// Certificate and key of an https listener.
#[derive(Clone)]
pub struct ListenerTls(Arc<ServerConfig>);

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ListenerTls")
    }
}

impl ListenerTls {
    /// Reads certificate chain and key from PEM files.
    ///
    /// # Errors
    /// A text for the person: which file, and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let read = |path: &Path| {
            fs::read(path)
                .map_err(|error| format!("{} cannot be read: {}", path.display(), plain(&error)))
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|_| format!("{} is no PEM file", certificate.display()))?;
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|_| format!("{} holds no private key in PEM form", key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map(|config| Self(Arc::new(config)))
            .map_err(|_| {
                let (certificate, key) = (certificate.display(), key.display());
                format!("{certificate} and {key} do not belong together, or are of a kind that is not known here")
            })
    }
}

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Shared {
    pub rules: Arc<Rules>,
    pub events: mpsc::Sender<Event>,
    pub tls: Option<ListenerTls>,
    pub stop: Arc<AtomicBool>,
}

/// Accepts connections until told to stop.
pub fn accept(socket: &TcpListener, shared: &Shared) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in socket.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of file descriptors or the like: it passes, and must not turn a core into heat meanwhile.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (shared, open) = (shared.clone(), Arc::clone(&open));
        thread::spawn(move || {
            // A client that goes away is no matter to the login.
            let _ = converse(stream, &shared);
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if !peer::may_connect(&stream) {
        let mut stream = stream;
        let why = "another user of this machine logs in here";
        send(&mut stream, &response::refusal(403, why))?;
        return close(&stream);
    }
    match &shared.tls {
        None => {
            let mut stream = stream;
            answer(&mut stream, shared)?;
            close(&stream)
        }
        Some(tls) => {
            let connection = ServerConnection::new(Arc::clone(&tls.0)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            answer(&mut stream, shared)?;
            stream.conn.send_close_notify();
            stream.flush()?;
            close(&stream.sock)
        }
    }
}

/// Closes so that the client reads all of the answer: a socket with unread bytes would be reset.
fn close(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut rest = [0; 4096];
    let mut stream = stream;
    for _ in 0..64 {
        if !matches!(stream.read(&mut rest), Ok(1..)) {
            break;
        }
    }
    Ok(())
}

fn answer(stream: &mut (impl Read + Write), shared: &Shared) -> io::Result<()> {
    let request = match read_head(stream)? {
        Some(Ok(request)) => request,
        Some(Err(Malformed)) => return send(stream, &response::refusal(400, "not a request")),
        None => return Ok(()),
    };
    match shared.rules.judge(&request) {
        Verdict::Start(url, cookie) => {
            send(stream, &response::redirect_with(&url, cookie.as_deref()))
        }
        Verdict::Move(url) => send(stream, &response::redirect(&url)),
        Verdict::Contested => {
            let sent = send(stream, &response::refusal(409, CONTESTED));
            // The login may be over already.
            let _ = shared.events.send(Event::Contested);
            sent
        }
        Verdict::Refuse(status, reason) => send(stream, &response::refusal(status, reason)),
        Verdict::Accept(answer) => {
            let (page, pages) = mpsc::channel();
            let (done, waiting) = mpsc::channel();
            let callback = Callback { answer, page, done: waiting };
            if shared.events.send(Event::Callback(callback)).is_err() {
                return send(stream, &response::refusal(503, "the login is over"));
            }
            let Ok((page, more)) = pages.recv_timeout(EXCHANGE) else {
                return send(stream, &response::refusal(503, "the login is over"));
            };
            if more {
                shared.rules.reopen();
            }
            let sent = send(stream, &response::page(&page));
            let _ = done.send(());
            sent
        }
    }
}

fn send(stream: &mut impl Write, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer)?;
    stream.flush()
}

/// The request's head, or `None` from a client that says nothing in time.
fn read_head(stream: &mut impl Read) -> io::Result<Option<Result<Request, Malformed>>> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 || Instant::now() > deadline {
            return Ok(None);
        }
        head.extend(chunk.iter().take(read));
        match Request::parse(&head) {
            Ok(None) if head.len() <= HEAD_LIMIT => {}
            Ok(None) => return Ok(Some(Err(Malformed))),
            Ok(Some(request)) => return Ok(Some(Ok(request))),
            Err(malformed) => return Ok(Some(Err(malformed))),
        }
    }
}

impl Page {
    /// A page of ours.
    #[must_use]
    pub fn new(status: u16, html: String, built_in: bool) -> Self {
        Self { status, html, built_in, instead: None }
    }
}
