//! Proxies that lead to this machine, whatever the name: one of HTTP that knows CONNECT alone (RFC 9110, section 9.3.6), one of
//! SOCKS 5 (RFC 1928). They may want a user and a password.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// The proxy. It serves until the process ends.
pub struct Tunnel {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// One of HTTP.
    pub fn start() -> Self {
        Self::with(|client, heard| serve(client, heard, None))
    }

    /// One of HTTP that wants this value of `Proxy-Authorization`.
    pub fn guarded(authorization: &'static str) -> Self {
        Self::with(move |client, heard| serve(client, heard, Some(authorization)))
    }

    /// One of SOCKS 5 that wants this user and password.
    pub fn socks(user: &'static str, password: &'static str) -> Self {
        Self::with(move |client, heard| serve_socks(client, heard, user, password))
    }

    fn with(
        serve: impl Fn(TcpStream, &Mutex<Vec<String>>) -> Option<()> + Send + Sync + 'static,
    ) -> Self {
        let serve = Arc::new(serve);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (heard, serve) = (Arc::clone(&heard), Arc::clone(&serve));
                thread::spawn(move || serve(client.unwrap(), &heard));
            }
        });
        Self { address, asked }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The hosts that were asked for, in order, each with its port.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(client: TcpStream, asked: &Mutex<Vec<String>>, wants: Option<&str>) -> Option<()> {
    let mut reader = BufReader::new(client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let port: u16 = target.rsplit_once(':')?.1.parse().ok()?;
    asked.lock().unwrap().push(target);
    let mut client = reader.into_inner();
    if wants.is_some_and(|wants| !head.contains(&format!("\r\nProxy-Authorization: {wants}\r\n"))) {
        return client.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").ok();
    }
    let server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    join(client, server)
}

fn serve_socks(
    mut client: TcpStream,
    asked: &Mutex<Vec<String>>,
    user: &str,
    password: &str,
) -> Option<()> {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).ok()?;
    let mut methods = vec![0; usize::from(greeting[1])];
    client.read_exact(&mut methods).ok()?;
    assert!(methods.contains(&2), "a password is offered");
    client.write_all(&[5, 2]).ok()?;
    let mut text = |more: usize| {
        let mut head = vec![0; more];
        client.read_exact(&mut head).ok()?;
        let mut text = vec![0; usize::from(head[more - 1])];
        client.read_exact(&mut text).ok()?;
        String::from_utf8(text).ok()
    };
    let good = text(2)? == user && text(1)? == password;
    client.write_all(&[1, u8::from(!good)]).ok()?;
    if !good {
        return None;
    }
    let mut head = [0; 5];
    client.read_exact(&mut head).ok()?;
    assert_eq!(head[..4], [5, 1, 0, 3], "names are resolved here");
    let mut target = vec![0; usize::from(head[4]) + 2];
    client.read_exact(&mut target).ok()?;
    let (host, port) = target.split_at(target.len() - 2);
    let port = u16::from_be_bytes([port[0], port[1]]);
    asked.lock().unwrap().push(format!("{}:{port}", String::from_utf8_lossy(host)));
    let server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    join(client, server)
}

fn join(mut client: TcpStream, mut server: TcpStream) -> Option<()> {
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let _ = io::copy(&mut server, &mut client);
    client.shutdown(std::net::Shutdown::Both).ok()
}
