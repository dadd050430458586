//! An issuer's key set, fetched as the filter would: discovery, then the document that it names. No redirects.

use std::time::Duration;

use kube_authn::{JwtAuthenticator, discovery};
use kube_oidc_gateway::portal::Endpoints;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

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
    Ca(rustls_pki_types::pem::Error),
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
    let roots = match ca.filter(|pem| !pem.is_empty()) {
        Some(pem) => {
            let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(FetchError::Ca)?;
            RootCerts::from(certificates.iter().map(|der| Certificate::from_der(der).to_owned()))
        }
        None => RootCerts::PlatformVerifier,
    };
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(roots).build());
    Ok(config.build().into())
}

fn get(agent: &Agent, url: &str) -> Result<Vec<u8>, FetchError> {
    let failed = |error| FetchError::Get { url: url.to_owned(), error: Box::new(error) };
    let mut answer = agent.get(url).call().map_err(failed)?;
    answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(failed)
}
