//! What the program itself asks kube-apiserver.

use std::time::Duration;

use gateway_config::Right;
use gateway_kubeconfig::{Client, Connection, Pair, Trust};
use gateway_net::Host;
use serde_json::{Value, json};
use ureq::Agent;

/// How long one answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

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
        let to = Some((host.to_string(), *port));
        let agent = Client { trust, identity, to, proxy: None, timeout: TIMEOUT }.agent()?;
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
