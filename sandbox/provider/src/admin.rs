//! The administrative API: what the library's handles do, for who runs the provider as a program.
//!
//! Plain HTTP with JSON, no credentials, loopback only. Changes answer 204, refusals `{"error": "…"}`.
//!
//! ```text
//! GET    /healthz                                      200 as soon as it runs
//! GET    /ca.pem                                       the certificate authority to trust
//! GET    /issuers                                      [{"name": …, "url": …}]
//! POST   /issuers                                      one issuer more, as in the configuration
//! POST   /down, /up                                    refuse connections, accept them again
//! ```
//!
//! Below `/issuers/NAME` see [`issuer`].

mod issuer;

use std::{convert::Infallible, net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    config::IssuerConfig,
    provider::Control,
    reply::{self, Reply},
};

const LARGEST_BODY: usize = 16 << 20;

/// A change that was not made.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    why: String,
}

/// A request, read to its end.
struct Order {
    method: Method,
    /// Decoded, without empty ones.
    segments: Vec<String>,
    body: Bytes,
}

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, control: Control) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let others give some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let control = control.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(control.clone(), request));
            let mut server = http1::Builder::new();
            let connection = server.timer(TokioTimer::new());
            // A client that went away is its own business.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(
    control: Control,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = answer(control, request)
        .await
        .unwrap_or_else(|refused| reply::json(refused.status, &json!({"error": refused.why})));
    Ok(reply.map(Full::new))
}

async fn answer(control: Control, request: Request<Incoming>) -> Result<Reply, Refused> {
    if !is_for_us(&request) {
        return Err(Refused::new(StatusCode::FORBIDDEN, "not for browsers or other hosts"));
    }
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY)
        .collect()
        .await
        .map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))?;
    let segments = parts.uri.path().split('/').filter(|segment| !segment.is_empty());
    let order = Order {
        method: parts.method,
        segments: segments
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect(),
        body: body.to_bytes(),
    };
    // Going down waits for the server, which runs on this runtime.
    tokio::task::spawn_blocking(move || route(&control, &order))
        .await
        .unwrap_or_else(|error| Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error)))
}

fn route(control: &Control, order: &Order) -> Result<Reply, Refused> {
    let segments: Vec<_> = order.segments.iter().map(String::as_str).collect();
    match (order.method.as_str(), segments.as_slice()) {
        ("GET", ["healthz"]) => Ok(reply::text(StatusCode::OK, "ok")),
        ("GET", ["ca.pem"]) => Ok(reply::text(StatusCode::OK, control.ca.trim_end())),
        ("GET", ["issuers"]) => {
            let issuers = control.issuers.all();
            let list =
                issuers.iter().map(|known| json!({"name": known.name(), "url": known.url()}));
            Ok(reply::json(StatusCode::OK, &list.collect::<Value>()))
        }
        ("POST", ["issuers"]) => {
            let config: IssuerConfig = order.json()?;
            let issuer = control.add_issuer(config).map_err(Refused::bad)?;
            let body = json!({"name": issuer.name(), "url": issuer.url()});
            Ok(reply::json(StatusCode::CREATED, &body))
        }
        ("POST", ["down"]) => control.go_down().map(|()| done()).map_err(Refused::internal),
        ("POST", ["up"]) => control.come_up().map(|()| done()).map_err(Refused::internal),
        (_, ["issuers", name, rest @ ..]) => {
            let issuer = control.issuer(name).ok_or_else(|| {
                Refused::new(StatusCode::NOT_FOUND, format!("no issuer is called {name:?}"))
            })?;
            issuer::route(&issuer, order, rest)
        }
        _ => Err(Refused::unknown(order)),
    }
}

/// No web page may give orders: neither from another origin nor by a name that was rebound to this machine.
fn is_for_us(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let local = name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    local && !request.headers().contains_key(header::ORIGIN)
}

fn done() -> Reply {
    reply::empty(StatusCode::NO_CONTENT)
}

impl Order {
    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Refused> {
        serde_json::from_slice(&self.body).map_err(Refused::bad)
    }
}

impl Refused {
    #[expect(clippy::needless_pass_by_value, reason = "`map_err` gives errors by value")]
    fn new(status: StatusCode, why: impl ToString) -> Self {
        Self { status, why: why.to_string() }
    }

    fn bad(why: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    fn missing(why: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, why)
    }

    fn internal(why: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }

    fn unknown(order: &Order) -> Self {
        let path = order.segments.join("/");
        Self::missing(format!("there is no {} /{path} here", order.method))
    }
}
