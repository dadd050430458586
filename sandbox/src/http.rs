//! HTTP to the sandbox's own servers: over TLS to kube-apiserver, over a Unix socket to Envoy's administration.

use std::{fmt, path::Path, time::Duration};

use gateway_control::UnixConnector;
use serde_json::Value;
use ureq::{
    Agent, Body, Error as HttpError,
    config::Config,
    http::Response,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
    unversioned::resolver::DefaultResolver,
};

use crate::{
    error::{Error, Result},
    pki::Identity,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer: its status and its body as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// A client of one server of the sandbox.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at `base` (`https://127.0.0.1:port`), which must have a certificate of `authority` (PEM) and
    /// is shown `identity`. With an empty `base` the paths are whole URLs.
    pub fn tls(base: &str, authority: &str, identity: Option<&Identity>) -> Result<Self> {
        let pem = |error: HttpError| Error::Invalid(format!("not a PEM file: {error}"));
        let root = Certificate::from_pem(authority.as_bytes()).map_err(pem)?;
        let client = match identity {
            None => None,
            Some(identity) => {
                let certificate =
                    Certificate::from_pem(identity.certificate.as_bytes()).map_err(pem)?;
                let key = PrivateKey::from_pem(identity.key.as_bytes()).map_err(pem)?;
                Some(ClientCert::new_with_certs(&[certificate], key))
            }
        };
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[root]))
            .client_cert(client)
            .build();
        let config = config(tls);
        Ok(Self { agent: config.new_agent(), base: base.to_owned() })
    }

    /// A client of the server that listens on a Unix socket.
    pub(crate) fn unix(socket: &Path) -> Self {
        let connector = UnixConnector { socket: socket.to_owned() };
        let config = config(TlsConfig::default());
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Self { agent, base: "http://127.0.0.1".to_owned() }
    }

    /// `GET`, whatever the status.
    pub fn get(&self, path: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.get(&url).call();
        read("GET", &url, answer)
    }

    /// `POST` without a body, whatever the status.
    pub fn post(&self, path: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.post(&url).send_empty();
        read("POST", &url, answer)
    }

    /// `GET` of a JSON document.
    ///
    /// # Errors
    /// If the status is not 2xx or the body is not JSON.
    pub fn get_json(&self, path: &str) -> Result<Value> {
        self.json("GET", path, &self.get(path)?)
    }

    /// `POST` of a JSON document, answered with one.
    pub fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.post(&url).send_json(body);
        self.json("POST", path, &read("POST", &url, answer)?)
    }

    /// `POST` of a JSON document with a bearer token, whatever the status.
    pub fn post_json_as(&self, bearer: &str, path: &str, body: &Value) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.post(&url).header("Authorization", format!("Bearer {bearer}"));
        read("POST", &url, request.send_json(body))
    }

    /// `POST` of a form, answered with a JSON document.
    pub fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.post(&url).send_form(form.iter().copied());
        self.json("POST", path, &read("POST", &url, answer)?)
    }

    /// `PATCH` with a JSON merge patch, answered with the new object.
    pub fn merge_patch(&self, path: &str, change: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let answer = self
            .agent
            .patch(&url)
            .content_type("application/merge-patch+json")
            .send(change.to_string());
        self.json("PATCH", path, &read("PATCH", &url, answer)?)
    }

    fn json(&self, method: &'static str, path: &str, answer: &Answer) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        if !(200..300).contains(&answer.status) {
            let reason = format!("{} {}", answer.status, answer.body.trim());
            return Err(Error::Http { method, url, reason });
        }
        serde_json::from_str(&answer.body).map_err(|source| Error::Json { what: url, source })
    }
}

/// Environment variables for proxies do not count: every server is on this machine.
fn config(tls: TlsConfig) -> Config {
    Config::builder()
        .tls_config(tls)
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .build()
}

fn read(
    method: &'static str,
    url: &str,
    answer: Result<Response<Body>, HttpError>,
) -> Result<Answer> {
    let failed = |e: HttpError| Error::Http { method, url: url.to_owned(), reason: e.to_string() };
    let mut answer = answer.map_err(failed)?;
    let body = answer.body_mut().with_config().limit(u64::MAX).lossy_utf8(true).read_to_string();
    Ok(Answer { status: answer.status().as_u16(), body: body.map_err(failed)? })
}
