//! Questions to servers by the way that requests go: through Envoy, by the listener `probe`.

use std::{path::Path, time::Duration};

use gateway_config::probe_socket;
use ureq::{
    Agent, SendBody,
    config::Config,
    http::{Method, Request, Response, header},
    unversioned::resolver::DefaultResolver,
};

use crate::unix::UnixConnector;

/// Longer than Envoy waits for any answer: it is Envoy's reason that is wanted.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Says by which cluster to ask.
const CLUSTER: &str = "x-gateway-cluster";

/// Marks what Envoy says in a server's place.
const ENVOY: &str = "x-gateway-envoy";

/// What Envoy answers to a question by a cluster for which it has no route, or a route alone.
const NO_CLUSTER: [&str; 2] = ["direct_response", "cluster_not_found"];

/// A client of servers that Envoy reaches.
#[derive(Debug, Clone)]
pub struct Probe {
    agent: Agent,
}

/// A question.
#[derive(Debug, Clone, Default)]
pub struct Question<'a> {
    /// The host and port of its URL, as in the header `Host`.
    pub authority: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// A bearer token of whoever asks.
    pub token: Option<&'a str>,
    /// A JSON document to send (POST).
    pub json: Option<String>,
}

/// A server's own answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The value of `Location`, if there is one.
    pub location: Option<String>,
    /// The value of `Content-Type`, or an empty text.
    pub content_type: String,
    /// The value of `Content-Encoding`, or an empty text.
    pub content_encoding: String,
    /// The value of `Date`, if there is one: the server's clock.
    pub date: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer of the server's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No Envoy listens, or it does not answer.
    #[error("Envoy does not answer")]
    NoEnvoy,
    /// It knows no such cluster.
    #[error("Envoy has no cluster for it")]
    NoCluster,
    /// Envoy cannot reach the server, in its words.
    #[error("{0}")]
    Envoy(String),
    /// The answer ended too early, or is too large.
    #[error("the answer cannot be read: {0}")]
    Body(String),
}

impl Probe {
    /// By the Envoy with this administration socket.
    #[must_use]
    pub fn new(admin_socket: &Path) -> Self {
        let config = Config::builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("kube-oidc-gateway/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(TIMEOUT));
        let connector = UnixConnector { socket: probe_socket(admin_socket) };
        Self { agent: Agent::with_parts(config.build(), connector, DefaultResolver::default()) }
    }

    /// Asks by a cluster, as nobody but who the question's token says. `most` is the size of an answer in bytes.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn ask(
        &self,
        cluster: &str,
        question: &Question<'_>,
        most: u64,
    ) -> Result<Answer, ProbeError> {
        let Question { authority, path, token, json } = question;
        let method = if json.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder()
            .method(method)
            // The name is never looked up: the connector knows one socket.
            .uri(format!("http://127.0.0.1{path}"))
            .header(header::HOST, *authority)
            .header(header::ACCEPT, "application/json, */*")
            .header(CLUSTER, cluster);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let mut answer = match json {
            Some(json) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                request.body(json.clone()).map(|request| self.agent.run(request))
            }
            None => request.body(SendBody::none()).map(|request| self.agent.run(request)),
        }
        .map_err(|error| ProbeError::Envoy(error.to_string()))?
        .map_err(|_| ProbeError::NoEnvoy)?;
        let body = answer.body_mut().with_config().limit(most).read_to_vec();
        if let Some(details) = text(&answer, ENVOY) {
            if NO_CLUSTER.contains(&&*details) {
                return Err(ProbeError::NoCluster);
            }
            // The first value is Envoy's word for what happened, a second what the connection says.
            let second = answer.headers().get_all(ENVOY).iter().nth(1);
            let second = second.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            let transport = second.filter(|text| !matches!(text.as_str(), "" | "-"));
            let body = body.unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            return Err(ProbeError::Envoy(reason(&details, transport.as_deref().unwrap_or(&body))));
        }
        Ok(Answer {
            status: answer.status().as_u16(),
            location: text(&answer, "location"),
            content_type: text(&answer, "content-type").unwrap_or_default(),
            content_encoding: text(&answer, "content-encoding").unwrap_or_default(),
            date: text(&answer, "date"),
            body: body.map_err(|error| ProbeError::Body(error.to_string()))?,
        })
    }
}

fn text<T>(answer: &Response<T>, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Envoy's reason without what says nothing: its details where it has no text.
fn reason(details: &str, body: &str) -> String {
    let body = body.trim();
    if body.is_empty() {
        return details.to_owned();
    }
    let body = body.rsplit_once("reset reason: ").map_or(body, |(_, reason)| reason);
    let body = body.rsplit_once("transport failure reason: ").map_or(body, |(_, reason)| reason);
    // Its blanks are written so where it becomes a header.
    if let Some(reason) = body.strip_prefix("delayed_connect_error:_") {
        return reason.replace('_', " ");
    }
    let body = body.trim_end_matches("TLS_error_end").trim_end_matches([':', '|']);
    body.trim_start_matches("TLS_error:|").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_s_reason_is_short() {
        let before = "upstream connect error or disconnect/reset before headers. ";
        for (body, want) in [
            ("", "details"),
            ("upstream request timeout", "upstream request timeout"),
            ("reset reason: connection timeout", "connection timeout"),
            ("delayed_connect_error:_Connection_refused", "Connection refused"),
            (
                "reset reason: remote connection failure, transport failure reason: \
                 delayed connect error: Connection refused",
                "delayed connect error: Connection refused",
            ),
            (
                "reset reason: remote connection failure, transport failure reason: \
                 TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end",
                "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED",
            ),
        ] {
            let body =
                if body.starts_with("reset") { format!("{before}{body}") } else { body.to_owned() };
            assert_eq!(reason("details", &body), want, "{body}");
        }
    }
}
