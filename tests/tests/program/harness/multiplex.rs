//! Many requests at once on one HTTP/2 connection: the cheapest way to ask a thousand times a second.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, runtime};
use tokio_rustls::TlsConnector;

use super::Rig;

/// A connection.
pub struct Multiplex {
    runtime: runtime::Runtime,
    requests: SendRequest<Bytes>,
}

impl Multiplex {
    /// Opens one to the gateway.
    pub fn open(rig: &Rig) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(rig.authority.pem().as_bytes()).unwrap();
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let requests = runtime.block_on(async {
            let socket = TcpStream::connect(rig.address()).await.unwrap();
            let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let tls = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
            let (requests, connection) = client::handshake(tls).await.unwrap();
            tokio::spawn(connection);
            requests
        });
        Self { runtime, requests }
    }

    /// Asks for a path with each of these tokens, at once; the status of each answer.
    pub fn ask(&mut self, path: &str, tokens: &[String]) -> Vec<u16> {
        let requests = &mut self.requests;
        self.runtime.block_on(async {
            let mut answers = Vec::new();
            for token in tokens {
                let request = Request::get(format!("https://localhost{path}"))
                    .header("authorization", format!("Bearer {token}"))
                    .body(())
                    .unwrap();
                *requests = requests.clone().ready().await.unwrap();
                answers.push(requests.send_request(request, true).unwrap().0);
            }
            let mut statuses = Vec::new();
            for answer in answers {
                statuses.push(answer.await.unwrap().status().as_u16());
            }
            statuses
        })
    }
}
