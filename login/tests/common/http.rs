//! Raw HTTP, for what no browser sends, and a small server for what the provider is not.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
};

use url::Url;

/// Sends bytes as they are to the host of `url` and returns the whole answer.
pub fn send(url: &str, request: &str) -> String {
    let url = Url::parse(url).expect("an address");
    let port = url.port_or_known_default().expect("a port");
    // The listener is on both addresses of localhost; this is the one every machine has.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the listener answers");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A GET with the right host; status and the whole answer.
pub fn get(url: &str) -> (u16, String) {
    get_with(url, "")
}

/// The same with more header lines, each with its end.
pub fn get_with(url: &str, headers: &str) -> (u16, String) {
    let parsed = Url::parse(url).expect("an address");
    let host = &parsed[url::Position::BeforeHost..url::Position::AfterPort];
    let target = &parsed[url::Position::BeforePath..url::Position::AfterQuery];
    let answer = send(url, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"));
    (status(&answer), answer)
}

pub fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {answer:?}"));
    word.parse().expect("a status")
}

/// The value of a header.
pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// An HTTP server on this machine that answers every request with what `answer` makes of it.
pub struct Server {
    pub address: SocketAddr,
    pub requests: Receiver<String>,
}

impl Server {
    pub fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("accepted");
                let request = read_request(&mut stream);
                let body = answer(&request);
                let length = body.len();
                let status = if body.starts_with("{\"kind\":\"Status\"") { 401 } else { 201 };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).expect("read");
        request.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        if read == 0 {
            return text;
        }
    }
}
