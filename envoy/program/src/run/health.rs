//! The port for probes and metrics, plain HTTP: `/livez`, `/readyz`, kube-oidc-proxy's `/ready`, `/metrics`.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, thread, time::Duration};

use gateway_control::Admin;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime, task,
    time::timeout,
};

use super::{
    metrics::{Metrics, with_help},
    places::Places,
    readiness::Readiness,
};

/// Connections at once: a probe or two, and a few scrapers. One more ends the oldest, so that nobody can keep probes out.
const CONNECTIONS: usize = 256;

/// How long a client may take to ask.
const HEADERS: Duration = Duration::from_secs(1);

/// How long a connection may last, and then how long its last answer: who reads too slowly would keep its place from probes.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the answers are made of.
pub(super) struct Health {
    pub readiness: Arc<Readiness>,
    pub metrics: Arc<Metrics>,
    pub admin: Admin,
}

/// Serves until the program ends.
///
/// # Errors
/// If the address cannot be had.
pub(super) fn serve(address: SocketAddr, health: Health) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let health = Arc::new(health);
    thread::spawn(move || runtime.block_on(accept(listener, health)));
    Ok(())
}

async fn accept(listener: TcpListener, health: Arc<Health>) {
    let mut places = Places::new(CONNECTIONS);
    loop {
        let Ok((stream, client)) = listener.accept().await else {
            // Out of open files, most likely: not a reason to spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let health = Arc::clone(&health);
        let task = tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&health), request));
            converse(stream, service, PATIENCE).await;
        });
        places.give(client.ip(), task.abort_handle());
        // Who has asked already is answered before many others come.
        task::yield_now().await;
    }
}

/// Serves one client until it goes away or has had its time, which is its own affair.
async fn converse<I, S>(stream: I, service: S, patience: Duration)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    if timeout(patience, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(patience, connection).await;
    }
}

async fn answer(
    health: Arc<Health>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let verbose = request.uri().query().is_some_and(|query| {
        query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="))
    });
    Ok(match request.uri().path() {
        "/livez" | "/healthz" => text(StatusCode::OK, "ok".to_owned()),
        "/readyz" | "/ready" => {
            let (ready, report) = health.readiness.report();
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(status, if ready && !verbose { "ok".to_owned() } else { report })
        }
        "/metrics" => {
            let numbers = task::spawn_blocking(move || {
                // Without Envoy there are still the program's own.
                let envoy = health.admin.prometheus().unwrap_or_default();
                format!("{}{}", health.metrics.text(), with_help(&envoy))
            });
            text(StatusCode::OK, numbers.await.unwrap_or_default())
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n".to_owned()),
    })
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        path::Path,
        sync::atomic::{AtomicBool, Ordering},
    };

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Break-in row 6: 400 connections without a request made `/livez` time out, and kubelet restarted the gateway.
    #[test]
    fn break_in_6_half_open_connections_keep_no_probe_out() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health {
            readiness: Arc::default(),
            metrics: Arc::default(),
            admin: Admin::new(Path::new("/nowhere")),
        };
        thread::spawn(move || runtime.block_on(accept(listener, Arc::new(health))));
        let connect = || TcpStream::connect(address).unwrap();
        let mut held: Vec<_> = (0..400).map(|_| connect()).collect();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // The places that are lost are taken again at once, the oldest first.
            scope.spawn(|| {
                for index in (0..held.len()).cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
                    held[index] = connect();
                }
            });
            for _ in 0..50 {
                let mut probe = connect();
                // As long as the chart's probes wait: where connections come in faster than they are taken, a new one is tried
                // again by TCP after a second.
                probe.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                probe
                    .write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                    .unwrap();
                let mut read = String::new();
                probe.read_to_string(&mut read).unwrap_or_default();
                if !read.starts_with("HTTP/1.1 200 ") {
                    over.store(true, Ordering::Relaxed);
                    panic!("{read:?}");
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    async fn big(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(text(StatusCode::OK, "0123456789".repeat(10_000)))
    }

    #[tokio::test]
    async fn who_reads_nothing_loses_its_place() {
        let (mut client, server) = duplex(1024);
        client.write_all(ASKED).await.unwrap();
        converse(server, service_fn(big), Duration::from_millis(10)).await;
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert!(read.len() <= 1024, "{}", read.len());
    }

    #[tokio::test]
    async fn who_reads_has_it_all() {
        let (mut client, server) = duplex(1024);
        let served = tokio::spawn(converse(server, service_fn(big), PATIENCE));
        client.write_all(ASKED).await.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert!(read.ends_with(b"56789") && read.len() > 100_000, "{}", read.len());
        served.await.unwrap();
    }
}
