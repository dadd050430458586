//! Connections on which a test writes bytes, whatever HTTP has to say of them.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::Rig;

const LIMIT: Duration = Duration::from_secs(30);

/// A connection with TLS.
pub struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// The port that it comes from, by which a log's line is known as its own.
    pub port: u16,
}

impl Raw {
    /// Opens one to the gateway, for `http/1.1` or `h2`.
    pub fn open(rig: &Rig, protocol: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(rig.authority.pem().as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(rig.address()).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let port = socket.local_addr().unwrap().port();
        Self { stream: StreamOwned::new(connection, socket), port }
    }

    /// Writes a request of HTTP/1.1; the status of the answer, or nothing if the connection ended without one.
    pub fn ask(&mut self, request: &[u8]) -> Option<u16> {
        // Who refuses early may close while the rest is on its way.
        let _ = self.stream.write_all(request);
        let mut answer = Vec::new();
        let mut some = [0; 4096];
        while answer.len() < "HTTP/1.1 200".len() {
            match self.stream.read(&mut some) {
                Ok(0) | Err(_) => return None,
                Ok(read) => answer.extend_from_slice(&some[..read]),
            }
        }
        std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()
    }
}

/// A connection of HTTP/2 (RFC 9113) that compresses nothing but what it is told to.
pub struct Frames {
    raw: Raw,
    next: u32,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered.
    Answered,
    /// Its stream, or the connection, ends without an answer.
    Ended,
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const MOST: usize = 16_384;

impl Frames {
    /// Opens one.
    pub fn open(rig: &Rig) -> Self {
        let mut raw = Raw::open(rig, "h2");
        raw.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut frames = Self { raw, next: 1 };
        frames.write(SETTINGS, 0, 0, &[]).unwrap();
        // All the window there can be: nobody reads for flow control here.
        frames.write(8, 0, 0, &(i32::MAX as u32 - 65_535).to_be_bytes()).unwrap();
        frames
    }

    /// The port that it comes from.
    pub fn port(&self) -> u16 {
        self.raw.port
    }

    /// Asks with a block of headers; says what became of it.
    pub fn ask(&mut self, block: &[u8]) -> Outcome {
        let stream = self.next;
        self.next += 2;
        let mut parts = block.chunks(MOST).peekable();
        let mut kind = HEADERS;
        while let Some(part) = parts.next() {
            let end_headers = if parts.peek().is_none() { 4 } else { 0 };
            let end_stream = u8::from(kind == HEADERS);
            if self.write(kind, end_headers | end_stream, stream, part).is_err() {
                break;
            }
            kind = CONTINUATION;
        }
        loop {
            match self.read() {
                Err(_) | Ok((GOAWAY, ..)) => return Outcome::Ended,
                Ok((RST_STREAM, _, id)) if id == stream => return Outcome::Ended,
                Ok((HEADERS, _, id)) if id == stream => return Outcome::Answered,
                Ok((SETTINGS, 0, _)) => drop(self.write(SETTINGS, 1, 0, &[])),
                Ok(_) => {}
            }
        }
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.raw.stream.write_all(&frame)
    }

    fn read(&mut self) -> io::Result<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.raw.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.raw.stream.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(stream)))
    }
}

/// A block of headers (RFC 7541), each literally and without compression.
pub fn block(headers: &[(&str, &[u8])]) -> Vec<u8> {
    headers.iter().fold(Vec::new(), |mut block, (name, value)| {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value);
        block
    })
}

/// Likewise, and each is put into the connection's table.
pub fn indexed(headers: &[(&str, &[u8])]) -> Vec<u8> {
    headers.iter().fold(Vec::new(), |mut block, (name, value)| {
        block.push(0x40);
        string(&mut block, name.as_bytes());
        string(&mut block, value);
        block
    })
}

/// The last `count` headers of the connection's table: one byte for each.
pub fn again(count: u8) -> Vec<u8> {
    (62..62 + count).rev().map(|index| 0x80 | index).collect()
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    // An integer with a prefix of seven bits; the eighth says that nothing is compressed.
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend_from_slice(text);
}
