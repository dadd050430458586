//! An issuer that talks to those alone who show a client certificate: discovery and keys, both over mutual TLS.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, OnceLock},
    thread,
};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use sandbox::Authority;
use serde_json::{Value, json};

/// The issuer. It serves until the process ends.
pub struct Mutual {
    address: SocketAddr,
    keys: Arc<OnceLock<Value>>,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Mutual {
    /// Starts one whose certificate, and those of its clients, are of `authority`.
    pub fn start(authority: &Authority) -> Self {
        let identity = authority.server(&[]).unwrap();
        let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![chain], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (keys, shown) =
            (Arc::<OnceLock<Value>>::default(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let (config, served, seen) = (Arc::new(config), Arc::clone(&keys), Arc::clone(&shown));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (config, served, seen) =
                    (Arc::clone(&config), Arc::clone(&served), Arc::clone(&seen));
                thread::spawn(move || serve(client.unwrap(), config, address, &served, &seen));
            }
        });
        Self { address, keys, shown }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Has it serve these keys.
    pub fn publish(&self, keys: Value) {
        self.keys.set(keys).unwrap();
    }

    /// Whether somebody has shown this certificate (PEM).
    pub fn has_seen(&self, certificate: &str) -> bool {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        self.shown.lock().unwrap().iter().any(|shown| *shown == *certificate)
    }
}

fn url(address: SocketAddr) -> String {
    format!("https://{address}")
}

fn serve(
    client: TcpStream,
    config: Arc<ServerConfig>,
    address: SocketAddr,
    keys: &OnceLock<Value>,
    shown: &Mutex<Vec<Vec<u8>>>,
) -> Option<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let certificate = stream.conn.peer_certificates()?.first()?.to_vec();
    let head = String::from_utf8(head).ok()?;
    let issuer = url(address);
    let body = if head.contains("openid-configuration") {
        json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})
    } else {
        // The filter's own fetches, not those of whoever tries whether the issuer answers.
        shown.lock().unwrap().push(certificate);
        keys.get().cloned().unwrap_or_else(|| json!({"keys": []}))
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}
