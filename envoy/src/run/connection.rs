//! The way to kube-apiserver, and what the program itself asks there.

use serde_json::{Value, json};
use ureq::Agent;

use super::{
    http::{self, Trust},
    pair::Pair,
    rights::Right,
    source::{PairSource, Source},
};
use crate::inputs::Host;

/// Where kube-apiserver is and how the gateway proves who it is, as a pod or a kubeconfig has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Where it listens.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// The name that its certificate must have, if not `host`.
    pub server_name: Option<Host>,
    /// The bundle that signed its certificate; if absent, whoever answers is believed.
    pub ca: Option<Source>,
    /// The gateway's credential.
    pub credential: CredentialSource,
}

/// Where the gateway's credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A token.
    Token(Source),
    /// A client certificate.
    Certificate(PairSource),
}

/// The gateway's credential.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    Token(String),
    Certificate(Pair),
}

/// A client of kube-apiserver that is who the gateway is.
#[derive(Clone)]
pub(super) struct ApiServer {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// Why kube-apiserver's answer is not what was hoped for.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It does not answer, or not under the CA.
    #[error("the API server does not answer: {0}")]
    Silent(String),
    /// It does not take the credential.
    #[error("the API server does not take the gateway's credential (401)")]
    Credential,
    /// It answers something else.
    #[error("the API server answers {0}")]
    Status(u16),
    /// It answers something that is not understood.
    #[error("the API server's answer is not understood: {0}")]
    Answer(String),
}

impl ApiServer {
    /// A client with these certificates. `ca` is there if the connection has one.
    pub fn new(
        connection: &Connection,
        ca: Option<&[u8]>,
        credential: &Credential,
    ) -> Result<Self, String> {
        let Connection { host, port, server_name, .. } = connection;
        let name = match server_name.as_ref().unwrap_or(host) {
            Host::Ip(address) if address.is_ipv6() => format!("[{address}]"),
            name => name.to_string(),
        };
        let (identity, token) = match credential {
            Credential::Token(token) => (None, Some(token.clone())),
            Credential::Certificate(pair) => (Some(pair), None),
        };
        let trust = ca.map_or(Trust::Anybody, Trust::Bundle);
        let agent = http::agent(trust, identity, Some((host.to_string(), *port)), None)?;
        Ok(Self { agent, base: format!("https://{name}:{port}"), token })
    }

    /// Asks whether it takes the credential.
    pub fn takes_credential(&self) -> Result<(), AskError> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        match self.post(path, &body) {
            // A cluster before 1.28 does not have it, and one that denies it has taken the credential.
            Err(AskError::Status(403 | 404)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks whether the gateway has a right (SelfSubjectAccessReview).
    pub fn allows(&self, right: &Right) -> Result<bool, AskError> {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": right.spec(),
        });
        let answer = self.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &body)?;
        Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or_default())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, AskError> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer =
            request.send(body.to_string()).map_err(|error| AskError::Silent(error.to_string()))?;
        match answer.status().as_u16() {
            200..=299 => {}
            401 => return Err(AskError::Credential),
            status => return Err(AskError::Status(status)),
        }
        let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec();
        let body = body.map_err(|error| AskError::Answer(error.to_string()))?;
        serde_json::from_slice(&body).map_err(|error| AskError::Answer(error.to_string()))
    }
}
