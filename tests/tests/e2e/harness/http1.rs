//! HTTP/1.1 over TLS, byte for byte: for requests that no HTTP library would send.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use rustls::{ClientConnection, StreamOwned};

use super::{Answer, LIMIT, tls};

/// One connection.
pub struct Http1 {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Http1 {
    /// Connects to a server on 127.0.0.1 whose certificate `ca` (PEM) has signed.
    pub fn connect(port: u16, ca: &str) -> Self {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let client = ClientConnection::new(tls::config(ca, "http/1.1"), tls::name()).unwrap();
        Self { stream: BufReader::new(StreamOwned::new(client, socket)) }
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = self.stream.get_mut();
        // A server that refuses early may close before it has read everything; its answer is there all the same.
        drop(stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()));
    }

    /// Sends a `GET` of `path` with these header lines (each `name: value`), and reads the answer.
    pub fn get(&mut self, path: &str, lines: &[&[u8]]) -> Answer {
        self.request("GET", path, lines, b"")
    }

    /// Sends a request with a body, and reads the answer. `Host` and `Content-Length` are added, nothing else.
    pub fn request(&mut self, method: &str, path: &str, lines: &[&[u8]], body: &[u8]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n").into_bytes();
        for line in lines {
            request.extend_from_slice(line);
            request.extend_from_slice(b"\r\n");
        }
        if !body.is_empty() {
            request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.send(request);
        self.answer()
    }

    /// Reads an answer to its end.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    /// The same, for a server that may close the connection instead.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let length = answer.header("content-length").and_then(|value| value.parse().ok());
        let chunked = answer.header("transfer-encoding").is_some_and(|value| value == "chunked");
        answer.body = match (length, chunked) {
            (_, true) => self.chunks()?,
            (Some(length), false) => {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body)?;
                body
            }
            (None, false) if answer.status == 101 || answer.status == 204 => Vec::new(),
            (None, false) => {
                let mut body = Vec::new();
                self.stream.read_to_end(&mut body)?;
                body
            }
        };
        Ok(answer)
    }

    /// The next bytes, at most as many as `buffer` takes: behind a 101.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Status and headers of the next answer that is not a mere `100 Continue`.
    fn head(&mut self) -> io::Result<Answer> {
        loop {
            let status = self.line()?;
            let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
            let status = status.ok_or(io::ErrorKind::InvalidData)?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
                headers.push((name.to_ascii_lowercase(), value.trim().as_bytes().to_vec()));
            }
            if status != 100 {
                return Ok(Answer { status, headers, body: Vec::new() });
            }
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16);
            let size = size.map_err(|_| io::ErrorKind::InvalidData)?;
            let from = body.len();
            body.resize(from + size, 0);
            self.stream.read_exact(&mut body[from..])?;
            // The line's end behind a chunk; behind the last one the end of the (empty) trailers.
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
    }
}
