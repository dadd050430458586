//! ORCA (KEP-6315, alpha in Kubernetes 1.38): clients neither ask how busy kube-apiserver is, nor are told.
//!
//! The kube-apiserver of the tests has no such answer yet: a server that has stands in its place.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sandbox::Authority;
use serde_json::json;
use tokio::{net::TcpListener, runtime};
use tokio_rustls::TlsAcceptor;

use crate::{
    target::Target,
    wire::{Ask, Version},
};

const ASKED: &str = "endpoint-load-metrics-request";
const TOLD: [&str; 4] = [
    "endpoint-load-metrics",
    "endpoint-load-metrics-bin",
    "x-endpoint-load-metrics-json",
    "x-endpoint-load-metrics-bin",
];

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// Answers every request by HTTP/2 with a report in headers and in trailers, and keeps what it was asked.
fn busy(authority: &Authority, seen: Seen) -> u16 {
    let identity = authority.server(&[]).unwrap();
    let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move { serve(acceptor.accept(socket).await.ok()?, seen).await });
            }
        });
    });
    port
}

async fn serve(
    stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    seen: Seen,
) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    let report: HeaderMap = TOLD
        .map(|name| (name.parse().unwrap(), HeaderValue::from_static("TEXT cpu_utilization=0.5")))
        .into_iter()
        .collect();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        seen.lock().unwrap().push(request.headers().clone());
        let mut answer = Response::new(());
        *answer.headers_mut() = report.clone();
        let mut body = respond.send_response(answer, false).ok()?;
        body.send_data(Bytes::from_static(b"{}"), false).ok()?;
        body.send_trailers(report.clone()).ok()?;
    }
    Some(())
}

#[test]
fn break_in_13_clients_neither_ask_for_the_load_nor_see_it() {
    let authority = Authority::new("busy").unwrap();
    let seen = Seen::default();
    let port = busy(&authority, Arc::clone(&seen));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    let target = Target::start_with(&json!({}), |gateway| {
        gateway.inputs(move |inputs| {
            inputs.apiserver.port = port;
            inputs.apiserver.ca = Some(ca);
        })
    });
    for version in Version::ALL {
        for name in [ASKED, "Endpoint-Load-Metrics-Request"] {
            let ask = Ask::version().bearer(&target.token().mint()).header(name, "TEXT");
            let answer = ask.send(&target.gateway, version).unwrap();
            assert_eq!((answer.status, &*answer.body), (200, "{}"), "{version:?}: {answer:?}");
            let told = |it: &&(String, String)| it.0.contains("load-metrics");
            assert_eq!(answer.headers.iter().find(told), None, "{version:?}");
            let asked = seen.lock().unwrap().pop().expect("it came to the server");
            assert!(asked.contains_key("impersonate-user"), "{asked:?}");
            assert!(!asked.contains_key(ASKED), "{version:?}: {asked:?}");
        }
    }
}
