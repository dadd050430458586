//! The port for probes and metrics, plain HTTP: `/livez`, `/readyz`, kube-oidc-proxy's `/ready`, `/metrics`.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, thread, time::Duration};

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
    runtime,
    sync::Semaphore,
    task,
    time::timeout,
};

use super::{
    admin::Admin,
    metrics::{Metrics, with_help},
    readiness::Readiness,
};

/// Connections at once: a probe or two, and a few scrapers.
const CONNECTIONS: usize = 64;

/// How long a client may take to ask.
const HEADERS: Duration = Duration::from_secs(5);

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
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of open files, most likely: not a reason to spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&health), request));
            converse(stream, service, PATIENCE).await;
            drop(place);
        });
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

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
