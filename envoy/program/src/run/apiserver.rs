//! What the program itself asks kube-apiserver.
//!
//! Whether it serves is asked by Envoy's own way ([`Probe`]), so that what every request meets is met here too: its TLS, its
//! name resolution, its times. So is a new token, and a new CA, by a cluster that nothing else uses. A client of the program's own
//! asks where no Envoy answers, and where it is a client certificate that is in question.

use std::{io::Read, time::Duration};

use gateway_client::{Client, Connection, Pair, Trust};
use gateway_config::{PROBE_CLUSTER, Right};
use gateway_control::{Answer, Probe, ProbeError, Question};
use gateway_net::Host;
use serde_json::{Value, json};
use ureq::{Agent, Body, RequestBuilder, http::Response};

/// How long one answer may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway's credential.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Token(String),
    Certificate(Pair),
}

/// A client of kube-apiserver that is who the gateway is.
#[derive(Clone)]
pub(crate) struct ApiServer {
    agent: Agent,
    authority: String,
    token: Option<String>,
}

/// What kube-apiserver says of itself.
pub(crate) struct Version {
    /// Its version, as it writes it; `None` if it does not say.
    pub name: Option<String>,
    /// Its clock (`Date` of its answer), if it told.
    pub date: Option<String>,
}

/// By which way kube-apiserver is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// The program's own client.
    Own,
    /// Envoy's, which requests take: by this cluster.
    Envoy(&'a Probe, &'static str),
}

/// Why kube-apiserver's answer is not what was hoped for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
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
        self.who(way).map(drop)
    }

    /// Asks whose the credential is. `None` if it is taken and the server does not say.
    pub fn who(&self, way: Way<'_>) -> Result<Option<String>, AskError> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        match self.post(way, path, &body) {
            Ok(answer) => {
                let name = answer.pointer("/status/userInfo/username").and_then(Value::as_str);
                Ok(name.map(str::to_owned))
            }
            // A cluster before 1.28 does not have it, and one that denies it has taken the credential.
            Err(AskError::Status(403 | 404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The way for questions with the credential: a certificate is shown by the connection itself, and Envoy's for questions
    /// shows none.
    pub fn way_of_credential<'a>(&self, way: Way<'a>) -> Way<'a> {
        if self.token.is_some() { way } else { Way::Own }
    }

    /// Asks of which version it is. A server that keeps that for itself answers, too.
    pub fn version(&self, way: Way<'_>) -> Result<Version, AskError> {
        const PATH: &str = "/version";
        let (status, date, body) = match way {
            Way::Own => {
                let request = self.agent.get(format!("https://{}{PATH}", self.authority));
                let silent = |error: ureq::Error| AskError::Silent(error.to_string());
                let mut answer = self.with_token(request).call().map_err(silent)?;
                let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
                let date = date.map(str::to_owned);
                let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec();
                (answer.status().as_u16(), date, body.unwrap_or_default())
            }
            Way::Envoy(probe, cluster) => {
                let (authority, token) = (self.authority.as_str(), self.token.as_deref());
                let question = Question { authority, path: PATH, token, json: None };
                let answer = ask(probe, cluster, &question)?;
                (answer.status, answer.date, answer.body)
            }
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            200 | 401 | 403 => {
                let name = body["gitVersion"].as_str().map(str::to_owned);
                Ok(Version { name, date })
            }
            status => Err(AskError::Status(status)),
        }
    }

    /// Asks whether the gateway has a right (SelfSubjectAccessReview).
    pub fn allows(&self, probe: &Probe, right: &Right) -> Result<bool, AskError> {
        self.may(self.way_of_credential(Way::Envoy(probe, PROBE_CLUSTER)), right)
    }

    /// The same by a way that is chosen.
    pub fn may(&self, way: Way<'_>, right: &Right) -> Result<bool, AskError> {
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

    /// Reads an object, by the program's own client.
    pub fn get(&self, path: &str) -> Result<Value, AskError> {
        let request = self.agent.get(format!("https://{}{path}", self.authority));
        let silent = |error: ureq::Error| AskError::Silent(error.to_string());
        let mut answer = self.with_token(request).call().map_err(silent)?;
        read_object(&mut answer)
    }

    /// Replaces an object, by the program's own client. Gives what it is then, and nothing if it is another by now than `object` says
    /// (`resourceVersion`).
    pub fn put(&self, path: &str, object: &Value) -> Result<Option<Value>, AskError> {
        let request = self
            .agent
            .put(format!("https://{}{path}", self.authority))
            .header("content-type", "application/json");
        let silent = |error: ureq::Error| AskError::Silent(error.to_string());
        let mut answer = self.with_token(request).send(object.to_string()).map_err(silent)?;
        match read_object(&mut answer) {
            Err(AskError::Status(409)) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Begins a watch, which may take so long. What comes is a JSON object a line.
    pub fn watch(&self, path: &str, timeout: Duration) -> Result<impl Read + use<>, AskError> {
        let request = self.agent.get(format!("https://{}{path}", self.authority));
        let request = request.config().timeout_global(Some(timeout)).build();
        let silent = |error: ureq::Error| AskError::Silent(error.to_string());
        let answer = self.with_token(request).call().map_err(silent)?;
        match answer.status().as_u16() {
            200 => Ok(answer.into_body().into_reader()),
            401 => Err(AskError::Credential),
            status => Err(AskError::Status(status)),
        }
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

    fn with_token<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn post_directly(&self, path: &str, body: &Value) -> Result<(u16, Vec<u8>), AskError> {
        let request = self
            .agent
            .post(format!("https://{}{path}", self.authority))
            .header("content-type", "application/json");
        let mut answer = self
            .with_token(request)
            .send(body.to_string())
            .map_err(|error| AskError::Silent(error.to_string()))?;
        let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec();
        let body = body.map_err(|error| AskError::Answer(error.to_string()))?;
        Ok((answer.status().as_u16(), body))
    }
}

/// The object of an answer.
fn read_object(answer: &mut Response<Body>) -> Result<Value, AskError> {
    /// An object has at most 1.5 MiB in etcd, in which each byte may be escaped.
    const MOST: u64 = 16 << 20;
    match answer.status().as_u16() {
        200..=299 => {}
        401 => return Err(AskError::Credential),
        status => return Err(AskError::Status(status)),
    }
    let body = answer.body_mut().with_config().limit(MOST).read_to_vec();
    let body = body.map_err(|error| AskError::Answer(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| AskError::Answer(error.to_string()))
}

fn by_envoy(
    probe: &Probe,
    cluster: &str,
    question: &Question<'_>,
) -> Result<(u16, Vec<u8>), AskError> {
    ask(probe, cluster, question).map(|answer| (answer.status, answer.body))
}

fn ask(probe: &Probe, cluster: &str, question: &Question<'_>) -> Result<Answer, AskError> {
    match probe.ask(cluster, question, 1 << 20) {
        Ok(answer) => Ok(answer),
        Err(error @ (ProbeError::NoEnvoy | ProbeError::NoCluster)) => Err(AskError::NoEnvoy(error)),
        Err(error) => Err(AskError::Silent(error.to_string())),
    }
}
