//! HTTP/2 over TLS for tunnels by extended CONNECT (RFC 8441).

use std::{future::Future, net::Ipv4Addr};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
    ext::Protocol,
};
use http::{HeaderMap, Method, Request, Uri};
use tokio::{
    net::TcpStream,
    runtime::{self, Runtime},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Answer, LIMIT, tls};

/// One connection.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Header fields besides the pseudo ones.
    pub headers: HeaderMap,
}

/// A tunnel by extended CONNECT.
pub struct Tunnel<'a> {
    runtime: &'a Runtime,
    /// Held open: without it the tunnel would end.
    _send: SendStream<Bytes>,
    receive: RecvStream,
}

impl Message {
    /// A `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// One header field more; its value may be any bytes that HTTP allows, those beyond ASCII included.
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(name, value.as_ref().try_into().unwrap());
        self
    }

    /// With a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    fn request(&self) -> Request<()> {
        let uri = Uri::builder().scheme("https").authority("gateway");
        let uri = uri.path_and_query(self.path.as_str()).build().unwrap();
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Http2 {
    /// Connects to a server on 127.0.0.1 whose certificate `ca` (PEM) has signed.
    pub fn connect(port: u16, ca: &str) -> Self {
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = tls::config(ca, "h2");
        let sender = within(&runtime, async {
            let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let stream = TlsConnector::from(config).connect(tls::name(), socket).await.unwrap();
            let mut builder = client::Builder::new();
            builder.max_header_list_size(1 << 20);
            let (sender, connection) = builder.handshake(stream).await.unwrap();
            // Its end shows in the requests that wait for it.
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// Opens a tunnel by extended CONNECT (`protocol` such as `websocket`). The answer has no body if the server agrees.
    ///
    /// # Errors
    /// If the stream or the connection is reset.
    pub fn tunnel(
        &self,
        protocol: &'static str,
        message: Message,
    ) -> Result<(Answer, Tunnel<'_>), h2::Error> {
        let (answer, send, receive) = within(&self.runtime, async {
            let mut sender = self.sender.clone().ready().await?;
            // The server's settings, which allow it, come right behind the handshake.
            while !sender.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
            let mut request = Message { method: Method::CONNECT, ..message }.request();
            request.extensions_mut().insert(Protocol::from_static(protocol));
            let (answer, send) = sender.send_request(request, false)?;
            let (parts, mut receive) = answer.await?.into_parts();
            let mut answer = head(&parts);
            if !parts.status.is_success() {
                answer.body = drain(&mut receive).await?;
            }
            Ok::<_, h2::Error>((answer, send, receive))
        })?;
        Ok((answer, Tunnel { runtime: &self.runtime, _send: send, receive }))
    }
}

impl Tunnel<'_> {
    /// Reads until the bytes so far satisfy `enough`, or the tunnel ends.
    pub fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let Self { runtime, receive, .. } = self;
        within(runtime, async {
            let mut bytes = Vec::new();
            while !enough(&bytes) {
                let Some(Ok(data)) = receive.data().await else { break };
                drop(receive.flow_control().release_capacity(data.len()));
                bytes.extend_from_slice(&data);
            }
            bytes
        })
    }
}

async fn drain(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body)
}

fn head(parts: &http::response::Parts) -> Answer {
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Answer { status: parts.status.as_u16(), headers: headers.collect(), body: Vec::new() }
}

fn within<T>(runtime: &Runtime, work: impl Future<Output = T>) -> T {
    runtime.block_on(async { timeout(LIMIT, work).await.expect("an answer in time") })
}
