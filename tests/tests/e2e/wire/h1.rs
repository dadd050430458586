//! HTTP/1.1, written by hand: no library would send what these tests send.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use rustls::{ClientConnection, StreamOwned};

use super::{Answer, Ask, Door, LIMIT, tls};

/// A connection with TLS that takes any bytes.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection {
    /// Connects to a gateway.
    pub fn open<'a>(to: impl Into<Door<'a>>) -> Result<Self, String> {
        let to = to.into();
        let socket = TcpStream::connect(("127.0.0.1", to.port)).map_err(text)?;
        socket.set_read_timeout(Some(LIMIT)).map_err(text)?;
        socket.set_nodelay(true).map_err(text)?;
        let name = "localhost".try_into().map_err(text)?;
        let session = ClientConnection::new(tls(to, b"http/1.1"), name).map_err(text)?;
        Ok(Self { stream: BufReader::new(StreamOwned::new(session, socket)) })
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, ask: &Ask) -> Result<Answer, String> {
        // A server that refuses early may close before it has read everything; its answer is there all the same.
        drop(self.send(&ask.bytes()));
        self.answer()
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(text)
    }

    /// Reads one answer. After a 101 the rest of the stream is left alone.
    pub fn answer(&mut self) -> Result<Answer, String> {
        let (status, headers) = self.head()?;
        let mut answer = Answer { status, headers, body: String::new() };
        if status == 101 || status == 204 || status == 304 {
            return Ok(answer);
        }
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            body.resize(length.parse().map_err(text)?, 0);
            self.stream.read_exact(&mut body).map_err(text)?;
        } else {
            self.stream.read_to_end(&mut body).map_err(text)?;
        }
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    /// Reads the status and the headers of an answer, and nothing of its body.
    pub fn head(&mut self) -> Result<(u16, Vec<(String, String)>), String> {
        let first = self.line()?;
        let code = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = code.ok_or_else(|| format!("not HTTP: {first:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => return Ok((status, headers)),
            }
        }
    }

    /// Reads one chunk of a chunked body, `None` after the last.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, String> {
        let size = usize::from_str_radix(&self.line()?, 16).map_err(text)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).map_err(text)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(text)?;
        if line.is_empty() {
            return Err("the connection ended".to_owned());
        }
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }
}

impl Ask {
    /// The request as HTTP/1.1 has it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |parts: &[&[u8]]| bytes.extend(parts.concat());
        let (method, path) = (self.method.as_bytes(), self.path.as_bytes());
        put(&[method, b" ", path, b" HTTP/1.1\r\nHost: localhost\r\n"]);
        put(&[b"User-Agent: ", self.agent.as_bytes(), b"\r\n"]);
        for (name, value) in &self.headers {
            put(&[name.as_bytes(), b": ", value, b"\r\n"]);
        }
        if let Some(protocol) = &self.upgrade {
            if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
                put(&[b"Connection: Upgrade\r\n"]);
            }
            put(&[b"Upgrade: ", protocol.as_bytes(), b"\r\n"]);
            if protocol == "websocket" {
                put(&[b"Sec-WebSocket-Key: dGVzdHRlc3R0ZXN0dGVzdA==\r\n"]);
            }
        }
        match &self.body {
            None if self.method == "GET" => put(&[b"\r\n"]),
            None => put(&[b"Content-Length: 0\r\n\r\n"]),
            Some(body) if self.trailers.is_empty() => {
                put(&[format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body]);
            }
            Some(body) => {
                let names: Vec<_> = self.trailers.iter().map(|(name, _)| &**name).collect();
                let names = names.join(", ");
                put(&[b"Transfer-Encoding: chunked\r\nTrailer: ", names.as_bytes(), b"\r\n\r\n"]);
                put(&[format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n"]);
                for (name, value) in &self.trailers {
                    put(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
                }
                put(&[b"\r\n"]);
            }
        }
        bytes
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err calls it")]
fn text(error: impl ToString) -> String {
    error.to_string()
}
