//! An issuer's key set, fetched as the filter would: discovery, then the document that it names. No redirects.
//!
//! Where an Envoy runs with a cluster for the issuer it is asked by that, as the filter asks. Else by a client of this program's own, whose
//! TLS, proxy and times are not Envoy's.

use std::time::Duration;

use gateway_config::portal::Endpoints;
use gateway_control::{Answer, Probe, ProbeError, Question};
use gateway_kubeconfig::{Client, Trust};
use kube_authn::{JwtAuthenticator, discovery};
use ureq::{Agent, Proxy, http::Uri};

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
    /// It answers in a form that was not asked for.
    #[error("GET {url}: the answer is compressed ({encoding}), which nobody asked for")]
    Encoding {
        /// What was asked for.
        url: String,
        /// `Content-Encoding`
        encoding: String,
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

/// The issuer's key set, as text.
pub fn key_set(jwt: &JwtAuthenticator) -> Result<Vec<u8>, FetchError> {
    let agent = agent(jwt.certificate_authority())?;
    let document = get(&agent, &jwt.discovery_url())?;
    let document = discovery::parse(&document, jwt.issuer_url())?;
    get(&agent, &document.jwks_uri)
}

/// The same by Envoy's cluster of this name.
pub fn key_set_by_envoy(
    jwt: &JwtAuthenticator,
    probe: &Probe,
    cluster: &str,
) -> Result<Vec<u8>, FetchError> {
    let get = |url: &str| {
        let failed = |error| FetchError::Envoy { url: url.to_owned(), error };
        let uri: Uri =
            url.parse().map_err(|_| failed(ProbeError::Envoy("not a URL".to_owned())))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let question = Question { authority, path, ..Question::default() };
        let answer = probe.ask(cluster, &question, MOST).map_err(failed)?;
        body(url, answer)
    };
    let document = get(&jwt.discovery_url())?;
    get(&discovery::parse(&document, jwt.issuer_url())?.jwks_uri)
}

fn body(url: &str, answer: Answer) -> Result<Vec<u8>, FetchError> {
    let Answer { status, location, content_encoding: encoding, body, .. } = answer;
    let url = || url.to_owned();
    if status != 200 {
        return Err(FetchError::Status { url: url(), status, location });
    }
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(FetchError::Encoding { url: url(), encoding });
    }
    Ok(body)
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
    let text = |name: &str| {
        let value = answer.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    if answer.status() != 200 {
        let status = answer.status().as_u16();
        return Err(FetchError::Status { url: url.to_owned(), status, location: text("location") });
    }
    answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(failed)
}
