//! What the program itself asks kube-apiserver.
//!
//! Whether it serves is asked by Envoy's own way ([`Probe`]), so that what every request meets is met here too: its TLS, its
//! name resolution, its times. So is a new token, and a new CA, by a cluster that nothing else uses. A client of the program's own
//! asks where no Envoy answers, and where it is a client certificate that is in question.

use std::time::Duration;

use gateway_client::{Client, Connection, Pair, Trust};
use gateway_config::{PROBE_CLUSTER, Right};
use gateway_control::{Probe, ProbeError, Question};
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
    authority: String,
    token: Option<String>,
}

/// By which way kube-apiserver is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    /// The program's own client.
    Own,
    /// Envoy's, which requests take: by this cluster.
    Envoy(&'a Probe, &'static str),
}

/// Why kube-apiserver's answer is not what was hoped for.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It does not answer, or not under the CA.
    #[error("the API server does not answer: {0}")]
    Silent(String),
    /// There is no Envoy to ask by.
    #[error(transparent)]
    NoEnvoy(ProbeError),
    /// It does not take the credential.
    #[error("the API server does not take the gateway's credential (401)")]
    Credential,
    /// It answers something else.
    #[error("the API server answers {0}")]
    Status(u16),
    /// It answers something that is not understood.
    #[error("the API server's answer is not understood: {0}")]
    Answer(String),
    /// One of these, where it is not Envoy that was told.
    #[error("{0}; the program asked by itself, and its TLS is not Envoy's")]
    ByProgram(Box<Self>),
}

impl AskError {
    /// What a client of the program's own was told.
    pub fn by_program(self) -> Self {
        Self::ByProgram(Box::new(self))
    }
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
        Ok(Self { agent, authority: format!("{name}:{port}"), token })
    }

    /// Asks whether requests would be answered: by the way that they go, and with the gateway's credential.
    pub fn serves(&self, probe: &Probe) -> Result<(), AskError> {
        if self.token.is_some() {
            return self.takes_credential(Way::Envoy(probe, PROBE_CLUSTER));
        }
        // A certificate is shown by the connection itself, and Envoy's for questions shows none.
        self.answers(probe, PROBE_CLUSTER)?;
        match self.takes_credential(Way::Own) {
            // Envoy speaks some TLS that this program does not.
            Err(AskError::Silent(_)) => Ok(()),
            result => result.map_err(AskError::by_program),
        }
    }

    /// Asks, as nobody, whether it answers at all.
    pub fn answers(&self, probe: &Probe, cluster: &str) -> Result<(), AskError> {
        let authority = &self.authority;
        by_envoy(probe, cluster, &Question { authority, path: "/version", ..Question::default() })
            .map(drop)
    }

    /// Asks whether it takes the credential.
    pub fn takes_credential(&self, way: Way<'_>) -> Result<(), AskError> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        match self.post(way, path, &body) {
            // A cluster before 1.28 does not have it, and one that denies it has taken the credential.
            Err(AskError::Status(403 | 404)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks whether the gateway has a right (SelfSubjectAccessReview).
    pub fn allows(&self, probe: &Probe, right: &Right) -> Result<bool, AskError> {
        let way = if self.token.is_some() { Way::Envoy(probe, PROBE_CLUSTER) } else { Way::Own };
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": right.spec(),
        });
        let answer =
            self.post(way, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &body);
        let answer = match way {
            Way::Own => answer.map_err(AskError::by_program)?,
            Way::Envoy(..) => answer?,
        };
        Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or_default())
    }

    fn post(&self, way: Way<'_>, path: &str, body: &Value) -> Result<Value, AskError> {
        let (status, body) = match way {
            Way::Own => self.post_directly(path, body)?,
            Way::Envoy(probe, cluster) => {
                let (authority, token) = (self.authority.as_str(), self.token.as_deref());
                let json = Some(body.to_string());
                by_envoy(probe, cluster, &Question { authority, path, token, json })?
            }
        };
        match status {
            200..=299 => {}
            401 => return Err(AskError::Credential),
            status => return Err(AskError::Status(status)),
        }
        serde_json::from_slice(&body).map_err(|error| AskError::Answer(error.to_string()))
    }

    fn post_directly(&self, path: &str, body: &Value) -> Result<(u16, Vec<u8>), AskError> {
        let mut request = self
            .agent
            .post(format!("https://{}{path}", self.authority))
            .header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer =
            request.send(body.to_string()).map_err(|error| AskError::Silent(error.to_string()))?;
        let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec();
        let body = body.map_err(|error| AskError::Answer(error.to_string()))?;
        Ok((answer.status().as_u16(), body))
    }
}

fn by_envoy(
    probe: &Probe,
    cluster: &str,
    question: &Question<'_>,
) -> Result<(u16, Vec<u8>), AskError> {
    match probe.ask(cluster, question, 1 << 20) {
        Ok(answer) => Ok((answer.status, answer.body)),
        Err(error @ (ProbeError::NoEnvoy | ProbeError::NoCluster)) => Err(AskError::NoEnvoy(error)),
        Err(error) => Err(AskError::Silent(error.to_string())),
    }
}
