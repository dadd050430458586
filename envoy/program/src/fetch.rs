//! An issuer's key set, fetched as the filter would: discovery, then the document that it names. No redirects.

use std::time::Duration;

use gateway_config::portal::Endpoints;
use gateway_kubeconfig::{Client, Trust};
use kube_authn::{JwtAuthenticator, discovery};
use ureq::{Agent, Proxy};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const MOST: u64 = 1 << 20;

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

/// The issuer's key set, as text.
pub fn key_set(jwt: &JwtAuthenticator) -> Result<Vec<u8>, FetchError> {
    let agent = agent(jwt.certificate_authority())?;
    let document = get(&agent, &jwt.discovery_url())?;
    let document = discovery::parse(&document, jwt.issuer_url())?;
    get(&agent, &document.jwks_uri)
}

/// Where an issuer's logins happen, as its discovery document says.
pub fn endpoints(issuer: &str, url: &str, ca: Option<&str>) -> Result<Endpoints, FetchError> {
    let document = get(&agent(ca)?, url)?;
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

fn get(agent: &Agent, url: &str) -> Result<Vec<u8>, FetchError> {
    let failed = |error| FetchError::Get { url: url.to_owned(), error: Box::new(error) };
    let mut answer = agent.get(url).call().map_err(failed)?;
    if !answer.status().is_success() {
        return Err(failed(ureq::Error::StatusCode(answer.status().as_u16())));
    }
    answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(failed)
}
