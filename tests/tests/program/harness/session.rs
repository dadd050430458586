//! A TLS client that shows every server whatever session it has, also one of another name's. Others keep them apart.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{LIMIT, Rig};

#[derive(Debug, Default)]
struct Anybodys {
    session: Mutex<Option<Tls12ClientSessionValue>>,
    tickets: Mutex<VecDeque<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Anybodys {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.session.lock().unwrap() = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.session.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tickets.lock().unwrap().push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets.lock().unwrap().pop_back()
    }
}

/// The client, with no certificate of its own.
pub struct Sessions(Arc<ClientConfig>);

impl Sessions {
    /// Speaks this version and trusts these authorities (PEM).
    pub fn new(version: &'static SupportedProtocolVersion, trusted: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        for pem in trusted {
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::store(Arc::new(Anybodys::default()));
        Self(Arc::new(config))
    }

    /// Asks under a name: whether that went on with a session, and the answer; `None` if there is none.
    pub fn ask(&self, rig: &Rig, name: &'static str) -> Option<(bool, String)> {
        let socket = TcpStream::connect(rig.address()).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let server = ServerName::try_from(name).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.0), server).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        let request = format!("GET /whoami HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        // What matters is whether there is anything before it ends, not how it ends.
        let _ = stream.read_to_end(&mut answer);
        let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        (!answer.is_empty()).then(|| (resumed, String::from_utf8_lossy(&answer).into_owned()))
    }
}
