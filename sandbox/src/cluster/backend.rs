//! What answers in the sandbox's pods: an echo on port 7 (RFC 862) and a page on port 80, for port forwarding.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use crate::error::{Context, Result};

/// Serves until the process ends; the threads hold nothing but their sockets.
pub(super) struct Backend {
    pub echo: SocketAddr,
    pub http: SocketAddr,
}

impl Backend {
    pub fn start() -> Result<Self> {
        let start = || Ok(Self { echo: serve(echo)?, http: serve(page)? });
        start().context(|| "serve for the pods on 127.0.0.1".to_owned())
    }
}

fn serve(handle: fn(TcpStream) -> io::Result<()>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("pod backend".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is no failure of the server.
            thread::spawn(move || drop(handle(stream)));
        }
    })?;
    Ok(address)
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut input = stream.try_clone()?;
    io::copy(&mut input, &mut stream)?;
    stream.shutdown(Shutdown::Write)
}

/// Answers with the request's first line.
fn page(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let body = format!("a pod of the sandbox was asked: {request}\n");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.shutdown(Shutdown::Write)
}
