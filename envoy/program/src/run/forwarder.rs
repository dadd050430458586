//! The way through proxies that Envoy cannot take itself: with a user and a password, by TLS, or by SOCKS.
//!
//! Envoy asks for a tunnel (CONNECT) at a Unix socket that only this user opens; here it is asked for at the proxy. So the proxy's
//! password is in no configuration that Envoy could show, and no port of this machine lends the proxy to others. What goes through the
//! tunnel is TLS between Envoy and the issuer.
//!
//! Sources: RFC 9110, section 9.3.6 (CONNECT) and 11.7 (Proxy-Authorization); RFC 1928 (SOCKS 5) and 1929 (its passwords).

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_client::certificates;
use gateway_net::{Credential, Host, Scheme, Server};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpStream, UnixListener, UnixStream},
    runtime,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tracing::warn;

/// From a request for a tunnel to the tunnel.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the head of a request or of an answer.
const MOST_HEAD: usize = 16 << 10;

/// Leads to a proxy.
pub(crate) struct Forwarder {
    pub server: Server,
    /// Whom to believe that it is the proxy, where it speaks TLS: the system's bundle.
    pub system_ca: PathBuf,
}

/// Why there is no tunnel. No text holds a credential.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("it answers {0}")]
    Status(String),
    #[error("it does not take the user name and the password")]
    Credential,
    #[error("it speaks no SOCKS 5 that this program knows")]
    Socks,
    #[error("it refuses the connection (SOCKS reply {0})")]
    Refused(u8),
    #[error("its certificate cannot be checked: {0}")]
    Trust(String),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Serves until the program ends.
///
/// # Errors
/// If the socket cannot be had.
pub(crate) fn serve(socket: &Path, forwarder: Forwarder) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let _ = fs::remove_file(socket);
    let listener = {
        let _guard = runtime.enter();
        UnixListener::bind(socket)?
    };
    // The folder is this user's alone: nobody has come in between.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let forwarder = Arc::new(forwarder);
    thread::spawn(move || runtime.block_on(accept(listener, forwarder)));
    Ok(())
}

async fn accept(listener: UnixListener, forwarder: Arc<Forwarder>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of open files, most likely: not a reason to spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let forwarder = Arc::clone(&forwarder);
        tokio::spawn(async move { forwarder.serve(client).await });
    }
}

impl Forwarder {
    async fn serve(&self, mut client: UnixStream) {
        let Ok(Ok(Some(target))) = timeout(PATIENCE, asked(&mut client)).await else { return };
        let tunnel = timeout(PATIENCE, self.tunnel(&target)).await;
        match tunnel.unwrap_or(Err(TunnelError::Late)) {
            Ok(mut server) => {
                if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            }
            Err(error) => {
                warn!("no way to {target} through the proxy {}: {error}", self.server.url());
                let _ = client
                    .write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        }
    }

    async fn tunnel(&self, target: &str) -> Result<Box<dyn Stream>, TunnelError> {
        let Server { scheme, host, port, credential } = &self.server;
        let stream = TcpStream::connect((host.to_string(), *port)).await?;
        stream.set_nodelay(true)?;
        let credential = credential.as_ref();
        match scheme {
            Scheme::Http => connect(Box::new(stream), target, credential).await,
            Scheme::Https => {
                let name = match host {
                    Host::Ip(address) => ServerName::from(*address),
                    Host::Dns(name) => ServerName::try_from(name.as_str().to_owned())
                        .map_err(|error| TunnelError::Trust(error.to_string()))?,
                };
                let connector = TlsConnector::from(Arc::new(self.tls()?));
                connect(Box::new(connector.connect(name, stream).await?), target, credential).await
            }
            Scheme::Socks5 => socks(Box::new(stream), target, credential).await,
        }
    }

    /// Made anew for each connection: the bundle may have changed.
    fn tls(&self) -> Result<ClientConfig, TunnelError> {
        let trust = |error: String| TunnelError::Trust(error);
        let mut roots = RootCertStore::empty();
        let bundle =
            certificates(&fs::read(&self.system_ca)?).map_err(|error| trust(error.to_string()))?;
        roots.add_parsable_certificates(bundle);
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| trust(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The host and port that a tunnel is asked for.
async fn asked(client: &mut UnixStream) -> io::Result<Option<String>> {
    let head = head(client).await?;
    let mut words = head.split(' ');
    let target = (words.next() == Some("CONNECT")).then(|| words.next()).flatten();
    Ok(target.map(str::to_owned))
}

/// Reads up to the empty line, and not a byte further.
async fn head(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MOST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData.into())
}

async fn connect(
    mut stream: Box<dyn Stream>,
    target: &str,
    credential: Option<&Credential>,
) -> Result<Box<dyn Stream>, TunnelError> {
    let authorization = credential.map_or(String::new(), |Credential { user, password }| {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    });
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let head = head(&mut stream).await?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(stream),
        "407" => Err(TunnelError::Credential),
        _ => Err(TunnelError::Status(status.chars().take(3).collect())),
    }
}

async fn socks(
    mut stream: Box<dyn Stream>,
    target: &str,
    credential: Option<&Credential>,
) -> Result<Box<dyn Stream>, TunnelError> {
    const VERSION: u8 = 5;
    const BY_PASSWORD: u8 = 2;
    let methods: &[u8] = if credential.is_some() { &[0, BY_PASSWORD] } else { &[0] };
    let length = |text: &str| u8::try_from(text.len()).map_err(|_| TunnelError::Socks);
    let greeting = [&[VERSION, u8::try_from(methods.len()).unwrap_or(1)], methods].concat();
    stream.write_all(&greeting).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    match (answer, credential) {
        ([VERSION, 0], _) => {}
        ([VERSION, BY_PASSWORD], Some(Credential { user, password })) => {
            let login =
                [&[1, length(user)?], user.as_bytes(), &[length(password)?], password.as_bytes()];
            stream.write_all(&login.concat()).await?;
            stream.read_exact(&mut answer).await?;
            if answer[1] != 0 {
                return Err(TunnelError::Credential);
            }
        }
        ([VERSION, _], _) => return Err(TunnelError::Credential),
        _ => return Err(TunnelError::Socks),
    }
    let (host, port) = target.rsplit_once(':').ok_or(TunnelError::Socks)?;
    let port: u16 = port.parse().map_err(|_| TunnelError::Socks)?;
    // Connect, by a name, which the proxy resolves.
    let request = [&[VERSION, 1, 0, 3, length(host)?], host.as_bytes(), &port.to_be_bytes()];
    stream.write_all(&request.concat()).await?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await?;
    let [version, result, _, kind] = reply;
    if version != VERSION {
        return Err(TunnelError::Socks);
    }
    if result != 0 {
        return Err(TunnelError::Refused(result));
    }
    let length = match kind {
        1 => 4,
        3 => stream.read_u8().await?.into(),
        4 => 16,
        _ => return Err(TunnelError::Socks),
    };
    let mut bound = vec![0; length + 2];
    stream.read_exact(&mut bound).await?;
    Ok(stream)
}
