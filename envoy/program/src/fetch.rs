//! An issuer's key set, fetched as the filter would: discovery, then the document that it names. No redirects.
//!
//! Where an Envoy runs with a cluster for the issuer it is asked by that, as the filter asks. Else by a client of this program's own, whose
//! TLS, proxy and times are not Envoy's.

use std::{borrow::Cow, time::Duration};

use gateway_client::{Client, Trust};
use gateway_config::portal::Endpoints;
use gateway_control::{Answer, Probe, ProbeError, Question};
use gateway_core::callout::{self, Fault, Response};
use kube_authn::{
    JwtAuthenticator,
    discovery::{self, Endpoint, EndpointError},
};
use ureq::{Agent, Proxy};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer, as it comes and decompressed.
const MOST: usize = 1 << 20;

/// Why a key set cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The issuer does not answer, or not with 200.
    #[error("GET {url}: {error}")]
    Get {
        /// What was asked for.
        url: String,
        /// What came of it.
        error: Box<ureq::Error>,
    },
    /// It answers something else than 200.
    #[error("GET {url}: {}", meaning(*.status, .location.as_deref()))]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
        /// Where a redirect leads.
        location: Option<String>,
    },
    /// Its answer is not read.
    #[error("GET {url}: {fault}")]
    Answer {
        /// What was asked for.
        url: String,
        /// Why.
        fault: Fault,
    },
    /// The URL cannot be asked for.
    #[error("{url}: {error}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        error: EndpointError,
    },
    /// Envoy has no answer.
    #[error("GET {url}: {error}")]
    Envoy {
        /// What was asked for.
        url: String,
        /// Why.
        error: ProbeError,
    },
    /// The issuer's CA is no certificate.
    #[error("certificateAuthority: {0}")]
    Ca(String),
    /// See [`discovery::DiscoveryError`].
    #[error(transparent)]
    Discovery(#[from] discovery::DiscoveryError),
    /// It does not name what a login needs.
    #[error("GET {url}: {error}")]
    Endpoints {
        /// What was asked for.
        url: String,
        /// What is missing.
        error: serde_json::Error,
    },
}

/// What is asked of an issuer.
#[derive(Debug, Clone)]
pub struct Request {
    issuer: String,
    discovery_url: String,
    certificate_authority: Option<String>,
}

/// A key set as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The document.
    pub document: Vec<u8>,
    /// The issuer's clock (`Date` of its answer), if it told.
    pub date: Option<String>,
}

impl Request {
    /// For an issuer's key set.
    #[must_use]
    pub fn new(jwt: &JwtAuthenticator) -> Self {
        Self {
            issuer: jwt.issuer_url().to_owned(),
            discovery_url: jwt.discovery_url(),
            certificate_authority: jwt.certificate_authority().map(str::to_owned),
        }
    }

    /// By a client of this program's own.
    pub fn by_program(&self) -> Result<Fetched, FetchError> {
        let agent = agent(self.certificate_authority.as_deref())?;
        self.by(|url| get(&agent, url))
    }

    /// By Envoy's cluster of this name.
    pub fn by_envoy(&self, probe: &Probe, cluster: &str) -> Result<Fetched, FetchError> {
        self.by(|url| {
            let endpoint = endpoint(url)?;
            let (authority, path) = (endpoint.authority(), endpoint.target());
            let question = Question { authority, path, ..Question::default() };
            let failed = |error| FetchError::Envoy { url: url.to_owned(), error };
            let answer = probe.ask(cluster, &question, MOST as u64).map_err(failed)?;
            let Answer { status, location, content_encoding, date, body, .. } = answer;
            let document = plain(url, status, location, &content_encoding, &body)?;
            Ok(Fetched { document, date })
        })
    }

    /// The issuer's discovery document by a client of this program's own.
    pub fn discovery_by_program(&self) -> Result<Vec<u8>, FetchError> {
        let agent = agent(self.certificate_authority.as_deref())?;
        get(&agent, &self.discovery_url).map(|fetched| fetched.document)
    }

    /// Discovery, and the document that it names.
    fn by(&self, get: impl Fn(&str) -> Result<Fetched, FetchError>) -> Result<Fetched, FetchError> {
        let Fetched { document, .. } = get(&self.discovery_url)?;
        get(&discovery::parse(&document, &self.issuer)?.jwks_uri)
    }
}

fn endpoint(url: &str) -> Result<Endpoint, FetchError> {
    Endpoint::parse(url).map_err(|error| FetchError::Url { url: url.to_owned(), error })
}

/// The body of an answer, read as the filter reads it.
fn plain(
    url: &str,
    status: u16,
    location: Option<String>,
    encoding: &str,
    body: &[u8],
) -> Result<Vec<u8>, FetchError> {
    let url = || url.to_owned();
    if status != 200 {
        return Err(FetchError::Status { url: url(), status, location });
    }
    let headers = vec![("content-encoding".to_owned(), encoding.as_bytes().to_vec())];
    let response = Response { status, headers: &headers, body };
    callout::body(Ok(response), &[200], MOST, "what is read here")
        .map(Cow::into_owned)
        .map_err(|fault| FetchError::Answer { url: url(), fault })
}

/// A status code in words that help.
fn meaning(status: u16, location: Option<&str>) -> String {
    match (status, location) {
        (300..=399, Some(location)) => format!(
            "HTTP {status}, a redirect to {location:?}: redirects are not followed, name the document's own URL"
        ),
        (406, _) => {
            "HTTP 406: the issuer has the document in no form that was asked for".to_owned()
        }
        _ => format!("HTTP {status}"),
    }
}

/// Where an issuer's logins happen, as its discovery document says.
pub fn endpoints(issuer: &str, url: &str, ca: Option<&str>) -> Result<Endpoints, FetchError> {
    let Fetched { document, .. } = get(&agent(ca)?, url)?;
    discovery::parse(&document, issuer)?;
    serde_json::from_slice(&document)
        .map_err(|error| FetchError::Endpoints { url: url.to_owned(), error })
}

fn agent(ca: Option<&str>) -> Result<Agent, FetchError> {
    let ca = ca.filter(|pem| !pem.is_empty());
    let trust = ca.map_or(Trust::System, |pem| Trust::Bundle(pem.as_bytes()));
    let proxy = Proxy::try_from_env();
    let client = Client { trust, identity: None, to: None, proxy, timeout: TIMEOUT };
    client.agent().map_err(FetchError::Ca)
}

fn get(agent: &Agent, url: &str) -> Result<Fetched, FetchError> {
    let failed = |error| FetchError::Get { url: url.to_owned(), error: Box::new(error) };
    let mut answer = agent.get(endpoint(url)?.to_string()).call().map_err(failed)?;
    let text = |name: &str| {
        let value = answer.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (status, location) = (answer.status().as_u16(), text("location"));
    let (encoding, date) = (text("content-encoding").unwrap_or_default(), text("date"));
    let body = answer.body_mut().with_config().limit(MOST as u64).read_to_vec().map_err(failed)?;
    Ok(Fetched { document: plain(url, status, location, &encoding, &body)?, date })
}
