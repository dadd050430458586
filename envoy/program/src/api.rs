//! Reading and writing objects of the API server.

use std::time::Duration;

use gateway_client::{Client, Connection, CredentialSource, Pair, Source, Trust};
use gateway_net::Host;
use serde_json::Value;
use ureq::{Agent, Body, http::Response};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The API server, as who one is.
pub(crate) struct Api {
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
#[error("the API server: {0}")]
pub struct NoApi(pub(crate) String);

/// What came in place of an object.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It does not answer, or something that is not understood.
    #[error("the API server does not answer: {0}")]
    Silent(String),
    /// It refuses.
    #[error("{code}: {message}")]
    Status {
        /// The HTTP status.
        code: u16,
        /// Its own words.
        message: String,
    },
}

impl Api {
    /// A client for this connection, with what its files hold now.
    pub fn new(connection: &Connection) -> Result<Self, NoApi> {
        let Connection { host, port, server_name, ca, credential } = connection;
        let name = match server_name.as_ref().unwrap_or(host) {
            Host::Ip(address) if address.is_ipv6() => format!("[{address}]"),
            name => name.to_string(),
        };
        let ca = ca.as_ref().map(Source::read).transpose().map_err(NoApi)?;
        let (identity, token) = match credential {
            CredentialSource::Token(token) => {
                let token = String::from_utf8(token.read().map_err(NoApi)?);
                (None, Some(token.map_err(|_| NoApi("the token is no text".to_owned()))?))
            }
            CredentialSource::Certificate(pair) => {
                let (chain, key) =
                    (pair.chain.read().map_err(NoApi)?, pair.key.read().map_err(NoApi)?);
                (Some(Pair { chain, key }), None)
            }
        };
        let client = Client {
            trust: ca.as_deref().map_or(Trust::Anybody, Trust::Bundle),
            identity: identity.as_ref(),
            to: Some((host.to_string(), *port)),
            proxy: None,
            timeout: TIMEOUT,
        };
        Ok(Self {
            agent: client.agent().map_err(NoApi)?,
            base: format!("https://{name}:{port}"),
            authorization: token.map(|token| format!("Bearer {}", token.trim())),
        })
    }

    /// An object.
    pub fn get(&self, path: &str) -> Result<Value, ApiError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        answer(request.call())
    }

    /// A new object, at the path of its kind.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.send(self.agent.post(format!("{}{path}", self.base)), object)
    }

    /// An object in place of the one that was read.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.send(self.agent.put(format!("{}{path}", self.base)), object)
    }

    fn send(
        &self,
        mut request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        object: &Value,
    ) -> Result<Value, ApiError> {
        request = request.header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        answer(request.send(object.to_string()))
    }
}

fn answer(response: Result<Response<Body>, ureq::Error>) -> Result<Value, ApiError> {
    let silent = |error: &dyn std::fmt::Display| ApiError::Silent(error.to_string());
    let mut response = response.map_err(|error| silent(&error))?;
    let code = response.status().as_u16();
    let body = response.body_mut().with_config().limit(4 << 20).read_to_vec();
    let body = body.map_err(|error| silent(&error))?;
    let object: Value = serde_json::from_slice(&body).unwrap_or_default();
    if (200..300).contains(&code) {
        return Ok(object);
    }
    let message = object["message"].as_str().unwrap_or("no reason is given").to_owned();
    Err(ApiError::Status { code, message })
}
