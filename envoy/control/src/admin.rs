//! Envoy's administration interface, over its Unix socket.

use std::{path::Path, time::Duration};

use ureq::{Agent, config::Config, unversioned::resolver::DefaultResolver};

use crate::unix::UnixConnector;

/// Envoy's main thread answers at once, or has a configuration to load.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The counters and gauges that tell what became of the filter's configuration.
const TAKEN: &str = "extension_config_discovery.http_filter.gateway.config_reload";
const REFUSED: [&str; 2] = [
    "extension_config_discovery.http_filter.gateway.config_fail",
    "extension_config_discovery.http_filter.gateway.update_rejected",
];
/// The usable keys of an issuer, by the name that the filter gives the gauge.
const KEYS: &str = "gateway_issuer_keys.issuer.";
/// Whether an issuer's last fetch failed, by the name that the filter gives the gauge; then the reason, and the issuer.
const FAILING: &str = "gateway_issuer_failing.reason.";
/// The listener has its certificate.
const SERVES: &str = "server_ssl_socket_factory.ssl_context_update_by_sds";
/// Open connections of clients, of the gateway and of a portal.
const CONNECTIONS: [&str; 2] =
    ["http.gateway.downstream_cx_active", "http.portal.downstream_cx_active"];

/// A client of the interface.
#[derive(Debug, Clone)]
pub struct Admin {
    agent: Agent,
}

/// Some of Envoy's numbers at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// How many configurations the filter took.
    pub taken: u64,
    /// How many it refused.
    pub refused: u64,
    /// Usable keys by the issuers' label values.
    pub keys: Vec<(String, u64)>,
    /// Why fetching keys fails, in the filter's word, by the label values of the issuers of which it does.
    pub failing: Vec<(String, String)>,
    /// Whether the listener has a certificate to show.
    pub serves: bool,
    /// Open connections of clients.
    pub connections: u64,
}

impl Admin {
    /// Of the Envoy with this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        let config =
            Config::builder().proxy(None).http_status_as_error(false).timeout_global(Some(TIMEOUT));
        let connector = UnixConnector { socket: socket.to_owned() };
        Self { agent: Agent::with_parts(config.build(), connector, DefaultResolver::default()) }
    }

    /// Whether Envoy serves: its own word for it.
    pub fn ready(&self) -> Result<(), String> {
        let (status, body) = self.get("/ready")?;
        if status == 200 { Ok(()) } else { Err(body.trim().to_owned()) }
    }

    /// The numbers now.
    pub fn numbers(&self) -> Result<Numbers, String> {
        let filter = "extension_config_discovery%7Cgateway_issuer_keys%7Cgateway_issuer_failing\
                      %7Cssl_context_update_by_sds%7Cdownstream_cx_active";
        Ok(parse(&self.get(&format!("/stats?histogram_buckets=none&filter={filter}"))?.1))
    }

    /// All numbers in Prometheus' text format.
    pub fn prometheus(&self) -> Result<String, String> {
        Ok(self.get("/stats/prometheus")?.1)
    }

    /// Asks for something to be done.
    pub fn post(&self, path: &str) -> Result<(), String> {
        let answer = self.agent.post(format!("http://127.0.0.1{path}")).send_empty();
        match answer.map_err(|error| error.to_string())?.status().as_u16() {
            200 => Ok(()),
            status => Err(format!("POST {path}: {status}")),
        }
    }

    fn get(&self, path: &str) -> Result<(u16, String), String> {
        let failed = |error: ureq::Error| error.to_string();
        let mut answer =
            self.agent.get(format!("http://127.0.0.1{path}")).call().map_err(failed)?;
        let status = answer.status().as_u16();
        let body =
            answer.body_mut().with_config().limit(64 << 20).lossy_utf8(true).read_to_string();
        Ok((status, body.map_err(failed)?))
    }
}

/// Lines `name: value`.
fn parse(text: &str) -> Numbers {
    let mut numbers = Numbers::default();
    for line in text.lines() {
        let Some((name, value)) = line.rsplit_once(": ") else { continue };
        let Ok(value) = value.parse::<u64>() else { continue };
        if name.ends_with(TAKEN) {
            numbers.taken += value;
        } else if REFUSED.iter().any(|refused| name.ends_with(refused)) {
            numbers.refused += value;
        } else if let Some((_, issuer)) = name.split_once(KEYS) {
            numbers.keys.push((issuer.to_owned(), value));
        } else if let Some((_, rest)) = name.split_once(FAILING) {
            if let Some((reason, issuer)) = rest.split_once(".issuer.").filter(|_| value > 0) {
                numbers.failing.push((issuer.to_owned(), reason.to_owned()));
            }
        } else if name.ends_with(SERVES) {
            numbers.serves |= value > 0;
        } else if CONNECTIONS.contains(&name) {
            numbers.connections += value;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let text = "\
extension_config_discovery.http_filter.gateway.config_reload: 2
extension_config_discovery.http_filter.gateway.config_fail: 1
extension_config_discovery.http_filter.gateway.update_rejected: 1
extension_config_discovery.http_filter.strip.config_fail: 7
wasmcustom.gateway_issuer_keys.issuer.issuer_example: 3
wasmcustom.gateway_issuer_keys.issuer.other_example: 0
wasmcustom.gateway_issuer_failing.reason.refused.issuer.other_example: 1
wasmcustom.gateway_issuer_failing.reason.tls.issuer.other_example: 0
listener.0.0.0.0_6443.server_ssl_socket_factory.ssl_context_update_by_sds: 1
http.gateway.downstream_cx_active: 5
http.admin.downstream_cx_active: 1
a.text: \"x\"
";
        let want = Numbers {
            taken: 2,
            refused: 2,
            keys: vec![("issuer_example".to_owned(), 3), ("other_example".to_owned(), 0)],
            failing: vec![("other_example".to_owned(), "refused".to_owned())],
            serves: true,
            connections: 5,
        };
        assert_eq!(parse(text), want);
    }
}
