//! A server in the place of kube-apiserver that answers an upgrade when it is told to, and keeps what came behind it.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sandbox::Authority;

use crate::wire::LIMIT;

/// How long a read waits before it is said that nothing is there.
const PAUSE: Duration = Duration::from_millis(2);
const END: &[u8] = b"\r\n\r\n";

/// The server.
pub struct Server {
    port: u16,
    authority: Authority,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// By the user agent of the request that began a connection.
    arrivals: Mutex<HashMap<String, Arrival>>,
    changed: Condvar,
}

/// A connection whose first request has come.
#[derive(Default)]
struct Arrival {
    behind: Vec<u8>,
    answer: Option<String>,
    /// How often nothing more was there.
    empty: u32,
    closed: bool,
}

impl Server {
    /// On a free port of 127.0.0.1, until the process ends.
    pub fn start() -> Self {
        let authority = Authority::new("stand-in").unwrap();
        let identity = authority.server(&[]).unwrap();
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (config, state) = (Arc::new(config), Arc::<State>::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, state) = (Arc::clone(&config), Arc::clone(&shared));
                thread::spawn(move || serve(socket, config, &state));
            }
        });
        Self { port, authority, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bundle that signs its certificate, PEM.
    pub fn ca(&self) -> &str {
        self.authority.pem()
    }

    /// Waits for the request of this user agent.
    pub fn wait_for(&self, agent: &str) {
        drop(self.state.wait(agent, |_| true));
    }

    /// Whether a request of this user agent has come.
    pub fn knows(&self, agent: &str) -> bool {
        self.state.arrivals.lock().unwrap().contains_key(agent)
    }

    /// What is there behind the request, once all of that has been read which had come before this call.
    pub fn behind(&self, agent: &str) -> Vec<u8> {
        let before = self.state.wait(agent, |_| true)[agent].empty;
        // A read that was under way may have begun before.
        let done = |it: &Arrival| it.closed || it.empty > before + 1;
        self.state.wait(agent, done)[agent].behind.clone()
    }

    /// Answers the request with this status and no body.
    pub fn answer(&self, agent: &str, status: u16, protocol: &str) {
        let more = match status {
            101 => format!("Connection: Upgrade\r\nUpgrade: {protocol}"),
            _ => "Content-Length: 0".to_owned(),
        };
        let mut arrivals = self.state.wait(agent, |_| true);
        let answer = format!("HTTP/1.1 {status} Answer\r\n{more}\r\n\r\n");
        arrivals.get_mut(agent).unwrap().answer = Some(answer);
    }

    /// Waits until so many bytes are there behind the request; all that are.
    pub fn wait_for_bytes(&self, agent: &str, count: usize) -> Vec<u8> {
        let done = |it: &Arrival| it.behind.len() >= count;
        self.state.wait(agent, done)[agent].behind.clone()
    }

    /// Waits for the end of the request's connection; what came behind it until then.
    pub fn wait_for_end(&self, agent: &str) -> Vec<u8> {
        self.state.wait(agent, |it| it.closed)[agent].behind.clone()
    }
}

impl State {
    #[track_caller]
    fn wait(
        &self,
        agent: &str,
        done: impl Fn(&Arrival) -> bool,
    ) -> MutexGuard<'_, HashMap<String, Arrival>> {
        let arrivals = self.arrivals.lock().unwrap();
        let waits = |all: &mut HashMap<String, Arrival>| !all.get(agent).is_some_and(&done);
        let (arrivals, result) = self.changed.wait_timeout_while(arrivals, LIMIT, waits).unwrap();
        assert!(!result.timed_out(), "it never happened to {agent}");
        arrivals
    }

    fn change<R>(&self, agent: &str, change: impl FnOnce(&mut Arrival) -> R) -> R {
        let result = change(self.arrivals.lock().unwrap().entry(agent.to_owned()).or_default());
        self.changed.notify_all();
        result
    }
}

fn serve(socket: TcpStream, config: Arc<ServerConfig>, state: &State) {
    socket.set_read_timeout(Some(PAUSE)).unwrap();
    let session = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    let mut head = Vec::new();
    let end = loop {
        match read(&mut stream) {
            Some(bytes) => head.extend(bytes),
            None => return,
        }
        if let Some(at) = head.windows(END.len()).position(|part| part == END) {
            break at + END.len();
        }
    };
    let behind = head.split_off(end);
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let agent = head.lines().find_map(|line| line.strip_prefix("user-agent: "));
    let Some(agent) = agent else { return };
    state.change(agent, |it| it.behind = behind);
    loop {
        if let Some(answer) = state.change(agent, |it| it.answer.take())
            && stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err()
        {
            break;
        }
        match read(&mut stream) {
            Some(bytes) if bytes.is_empty() => state.change(agent, |it| it.empty += 1),
            Some(bytes) => state.change(agent, |it| it.behind.extend(bytes)),
            None => break,
        }
    }
    state.change(agent, |it| it.closed = true);
}

/// What is there; `None` at the end.
fn read(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1 << 16];
    match stream.read(&mut bytes) {
        Ok(0) => None,
        Ok(count) => {
            bytes.truncate(count);
            Some(bytes)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Some(Vec::new())
        }
        Err(_) => None,
    }
}
