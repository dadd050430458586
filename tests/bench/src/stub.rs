//! A stand-in for the API server: one more Envoy, which answers at once with a namespace.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use sandbox::{Authority, Port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Server;

/// A running stand-in.
pub struct Stub {
    _server: Server,
    port: Port,
    ca: String,
    _folder: TempDir,
}

impl Stub {
    /// Starts it.
    pub fn start(envoy: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let authority = Authority::new("bench stub")?;
        let files = authority.server(&[])?.write(folder.path(), "tls")?;
        let port = Port::reserve()?;
        let configuration = configuration(&port, &files.certificate, &files.key);
        let path = folder.path().join("envoy.yaml");
        fs::write(&path, configuration.to_string()).context("cannot write a configuration")?;
        let mut command = Command::new(envoy);
        command.args(["--concurrency", "1", "--disable-hot-restart", "-c"]).arg(&path);
        let address = port.address();
        let server = Server::start(command, &folder.path().join("log"), || {
            std::net::TcpStream::connect(address).is_ok()
        })?;
        Ok(Self { _server: server, port, ca: authority.pem().to_owned(), _folder: folder })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The CA that signed its certificate, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }
}

fn configuration(port: &Port, certificate: &Path, key: &Path) -> Value {
    let namespace = json!({
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {
            "name": "default",
            "uid": "8b3ae4f9-9f5b-4d5c-8f4e-2f2d3f6a7d10",
            "resourceVersion": "39",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kubernetes.io/metadata.name": "default"},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "stub",
        // A user may be in a thousand groups, each a header.
        "max_request_headers_kb": 1024,
        "common_http_protocol_options": {"max_headers_count": 4096},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
            "match": {"prefix": "/"},
            "direct_response": {"status": 200, "body": {"inline_string": namespace.to_string()}},
            "response_headers_to_add": [
                {"header": {"key": "content-type", "value": "application/json"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
                {"header": {"key": "audit-id", "value": "%REQ(audit-id)%"}},
            ],
        }]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    json!({"static_resources": {"listeners": [{
        "name": "stub",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port.number()}},
        "filter_chains": [{
            "transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificates": [{
                        "certificate_chain": {"filename": certificate},
                        "private_key": {"filename": key},
                    }],
                },
            }},
            "filters": [{"name": "manager", "typed_config": manager}],
        }],
    }]}})
}
