//! HTTP/2, upgrades as extended CONNECT (RFC 8441).

use bytes::Bytes;
use h2::{
    SendStream,
    client::{self, ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    runtime::{self, Runtime},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Answer, Ask, Door, LIMIT, tls};

/// Sends a request on a connection of its own.
pub fn send(to: Door<'_>, ask: &Ask) -> Result<Answer, String> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    runtime.block_on(async {
        let sent = async { exchange(connect(to).await?, ask).await };
        timeout(LIMIT, sent).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    })
}

/// A connection for one request after the other.
pub struct Session {
    runtime: Runtime,
    send: SendRequest<Bytes>,
}

impl Session {
    /// Connects to a gateway.
    pub fn open<'a>(to: impl Into<Door<'a>>) -> Result<Self, String> {
        // A thread of its own answers what the other side asks meanwhile.
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (runtime, to) = (runtime.map_err(text)?, to.into());
        let send = runtime.block_on(connect(to))?;
        Ok(Self { runtime, send })
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, ask: &Ask) -> Result<Answer, String> {
        let sent = async {
            let send = self.send.clone().ready().await.map_err(text)?;
            exchange(send, ask).await
        };
        let sent = self.runtime.block_on(async { timeout(LIMIT, sent).await });
        sent.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

/// Sends a request without a body so many times on one connection, all at the same time; the statuses of the answers.
pub fn send_many<'a>(to: impl Into<Door<'a>>, ask: &Ask, count: usize) -> Result<Vec<u16>, String> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let to = to.into();
    runtime.block_on(async {
        let mut send = connect(to).await?;
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            send = send.ready().await.map_err(text)?;
            answers.push(send.send_request(request(ask)?, true).map_err(text)?.0);
        }
        let mut statuses = Vec::with_capacity(count);
        for answer in answers {
            let answer = timeout(LIMIT, answer).await.map_err(text)?;
            statuses.push(answer.map_err(text)?.status().as_u16());
        }
        Ok(statuses)
    })
}

/// Sends requests at the same time, on so many connections; their answers, in the same order.
pub fn send_all<'a>(
    to: impl Into<Door<'a>>,
    asks: &[Ask],
    connections: usize,
) -> Result<Vec<Answer>, String> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let to = to.into();
    runtime.map_err(text)?.block_on(async {
        let mut sends = Vec::with_capacity(connections);
        for _ in 0..connections {
            sends.push(connect(to).await?);
        }
        let mut tasks = JoinSet::new();
        for (number, (ask, send)) in asks.iter().zip(sends.iter().cycle()).enumerate() {
            let (ask, send) = (ask.clone(), send.clone());
            tasks.spawn(async move {
                let sent = async { exchange(send.ready().await.map_err(text)?, &ask).await };
                let answer = timeout(LIMIT, sent).await.map_err(text)??;
                Ok::<_, String>((number, answer))
            });
        }
        let mut answers = Vec::with_capacity(asks.len());
        while let Some(answer) = tasks.join_next().await {
            answers.push(answer.map_err(text)??);
        }
        answers.sort_unstable_by_key(|(number, _)| *number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    })
}

async fn connect(to: Door<'_>) -> Result<SendRequest<Bytes>, String> {
    let socket = TcpStream::connect(("127.0.0.1", to.port)).await.map_err(text)?;
    let name = ServerName::try_from("localhost").map_err(text)?;
    let connector = TlsConnector::from(tls(to, b"h2"));
    let stream = connector.connect(name, socket).await.map_err(text)?;
    let (send, connection) = client::handshake(stream).await.map_err(text)?;
    tokio::spawn(connection);
    send.ready().await.map_err(text)
}

/// An extended CONNECT on a connection of its own, on which a client may send before it has an answer.
pub struct Tunnel {
    runtime: Runtime,
    answer: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Tunnel {
    /// Asks for it.
    pub fn open<'a>(to: impl Into<Door<'a>>, ask: &Ask) -> Result<Self, String> {
        // A thread of its own sends what is queued.
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (runtime, to) = (runtime.map_err(text)?, to.into());
        let (answer, body) = runtime.block_on(async {
            let mut send = connect(to).await?;
            while !send.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
            send.send_request(request(ask)?, false).map_err(text)
        })?;
        Ok(Self { runtime, answer, body })
    }

    /// Queues these bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.body.send_data(Bytes::copy_from_slice(bytes), false).map_err(text)
    }

    /// Queues trailers, the end of what the client sends.
    pub fn send_trailers(&mut self) -> Result<(), String> {
        let trailers = HeaderMap::from_iter([pair("x-trailer", b"1")?]);
        self.body.send_trailers(trailers).map_err(text)
    }

    /// The status of the answer.
    pub fn status(&mut self) -> Result<u16, String> {
        let Self { runtime, answer, .. } = self;
        let answer = runtime.block_on(async { timeout(LIMIT, answer).await });
        Ok(answer.map_err(text)?.map_err(text)?.status().as_u16())
    }
}

async fn exchange(mut send: SendRequest<Bytes>, ask: &Ask) -> Result<Answer, String> {
    // The server's settings, which allow extended CONNECT, come right behind the handshake.
    while ask.upgrade.is_some() && !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let ends = ask.body.is_none() && ask.upgrade.is_none();
    let (answer, mut body) = send.send_request(request(ask)?, ends).map_err(text)?;
    if let Some(bytes) = &ask.body {
        // An answer may come, and the stream end, before all of it is sent.
        let _ = body.send_data(Bytes::from(bytes.clone()), ask.trailers.is_empty());
        if !ask.trailers.is_empty() {
            let trailers = ask.trailers.iter().map(|(name, value)| pair(name, value.as_bytes()));
            let _ = body.send_trailers(trailers.collect::<Result<_, _>>()?);
        }
    }
    let (head, mut stream) = answer.await.map_err(text)?.into_parts();
    let mut bytes = Vec::new();
    // A stream that was upgraded has no end.
    while ask.upgrade.is_none() || head.status != 200 {
        let Some(data) = stream.data().await else { break };
        let data = data.map_err(text)?;
        let _ = stream.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    let trailers = if ask.upgrade.is_none() {
        stream.trailers().await.map_err(text)?.unwrap_or_default()
    } else {
        HeaderMap::new()
    };
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers.iter().chain(&trailers).map(header).collect(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

fn request(ask: &Ask) -> Result<Request<()>, String> {
    let uri: Uri = format!("https://localhost{}", ask.path).parse().map_err(text)?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.method_mut() = ask.method.parse().map_err(text)?;
    if let Some(protocol) = &ask.upgrade {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol.as_str()));
    }
    let mut headers = HeaderMap::new();
    headers.append("user-agent", HeaderValue::from_str(&ask.agent).map_err(text)?);
    for (name, value) in &ask.headers {
        // HTTP/2 has no such header (RFC 9113, section 8.2.2).
        if !name.eq_ignore_ascii_case("connection") {
            let (name, value) = pair(name, value)?;
            headers.append(name, value);
        }
    }
    *request.headers_mut() = headers;
    Ok(request)
}

fn pair(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(text)?;
    Ok((name, HeaderValue::from_bytes(value).map_err(text)?))
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err calls it")]
fn text(error: impl ToString) -> String {
    error.to_string()
}
