//! What the program is told at its start, checked and typed; the command line is one way to say it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use gateway_client::{Connection, PairSource, Source};
use gateway_config::{DocumentError, Documents, Options, parse_gateway, portal::Part};
use gateway_core::config::GatewayConfiguration;
use gateway_net::Proxies;
use kube_authn::flags::OidcFlags;

pub use super::grants::Target;
use super::tokens;
use crate::access::Place;

/// Everything the program is told.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone)]
pub struct Settings {
    /// Issuers and rules.
    pub authentication: Authentication,
    /// The gateway's own settings.
    pub gateway: Gateway,
    /// The way to kube-apiserver.
    pub apiserver: Connection,
    /// What clients are shown.
    pub serving: PairSource,
    /// Certificates for clients that ask for some names.
    pub named: Vec<(PairSource, Vec<String>)>,
    /// What issuers are shown that ask for a client certificate.
    pub issuer_certificate: Option<PairSource>,
    /// The bundle for issuers without one of their own.
    pub system_ca: PathBuf,
    /// How Envoy serves; the certificates for names are in [`Self::named`].
    pub options: Options,
    /// Whether another process may listen there too.
    pub share_port: bool,
    /// Where health and metrics are served, over plain HTTP.
    pub probe: SocketAddr,
    /// Whether readiness needs every issuer's keys, or those of one.
    pub all_issuers: bool,
    /// Whether a missing right makes the gateway unready.
    pub require_rights: bool,
    /// Envoy's program.
    pub envoy: PathBuf,
    /// Whether it is started though its version is known to be vulnerable: for tests alone.
    pub allow_vulnerable_envoy: bool,
    /// How much Envoy logs: one of its own levels.
    pub log_level: String,
    /// The folder that the program writes to, and nobody else.
    pub run_directory: PathBuf,
    /// Which issuers are behind which proxy.
    pub proxies: Proxies,
    /// Where it is said whose access has ended, if anywhere.
    pub revocations: Option<Place>,
    /// Where it is written what is lent, if anything ever is.
    pub grants: Option<Place>,
    /// What is told of each step with a grant, if anything is.
    pub elevation_webhook: Option<Target>,
    /// The portal beside the gateway. What it was made of is read once.
    pub portal: Option<Portal>,
    /// How long the gateway goes on as before after it was told to end, and is unready: for load balancers to notice.
    pub shutdown_delay: Duration,
    /// How long clients are then asked to leave before they are cut.
    pub drain: Duration,
}

/// A portal beside the gateway.
#[derive(Clone)]
pub struct Portal {
    /// Everything but the certificate.
    pub part: Part,
    /// What it shows, if that is not what the gateway shows.
    pub serving: Option<PairSource>,
    /// Its keys, for Envoy's environment.
    pub keys: String,
}

impl std::fmt::Debug for Portal {
    /// Nothing shows the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Portal").field("part", &self.part).finish_non_exhaustive()
    }
}

/// Where issuers and rules come from.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// An `AuthenticationConfiguration`, YAML or JSON.
    File(PathBuf),
    /// kube-apiserver's `--oidc-*` flags, with the file of the issuer's CA.
    Flags(Box<OidcFlags>, Option<PathBuf>),
}

/// Where the gateway's own settings come from.
#[derive(Debug, Clone)]
pub enum Gateway {
    /// A `GatewayConfiguration`, YAML or JSON.
    File(PathBuf),
    /// What flags say.
    Flags(Box<GatewayConfiguration>),
}

impl Settings {
    /// The documents as they are now.
    ///
    /// # Errors
    /// If one cannot be read, or is refused; in one line.
    pub fn read_documents(&self) -> Result<Documents, String> {
        let documents = read_documents(&self.authentication, &self.gateway)?;
        documents.through(&self.proxies).map_err(|error| error.to_string())
    }

    /// The files that [`Self::documents`] is made of, in its order.
    pub(super) fn document_sources(&self) -> Vec<Source> {
        sources(&self.authentication, &self.gateway).into()
    }

    /// The documents, from what [`Self::document_sources`] held.
    pub(super) fn documents(
        &self,
        first: &[u8],
        second: &[u8],
    ) -> Result<Documents, DocumentError> {
        let documents = documents(&self.authentication, &self.gateway, first, second)?;
        Ok(documents.through(&self.proxies)?.with_tokens_in(&tokens::folder(&self.run_directory)))
    }
}

/// The documents as they are now, with issuers reached directly.
///
/// # Errors
/// If one cannot be read, or is refused; in one line that names the file.
pub fn read_documents(
    authentication: &Authentication,
    gateway: &Gateway,
) -> Result<Documents, String> {
    let [first, second] = sources(authentication, gateway);
    documents(authentication, gateway, &first.read()?, &second.read()?).map_err(|error| {
        let source = match error {
            DocumentError::Authentication(_) => first,
            DocumentError::Gateway(_) => second,
        };
        match source {
            Source::File(path) => format!("{}: {error}", path.display()),
            Source::Inline(_) => error.to_string(),
        }
    })
}

/// The files of the documents; what is none is empty.
fn sources(authentication: &Authentication, gateway: &Gateway) -> [Source; 2] {
    let first = match authentication {
        Authentication::File(path) | Authentication::Flags(_, Some(path)) => Some(path),
        Authentication::Flags(_, None) => None,
    };
    let second = match gateway {
        Gateway::File(path) => Some(path),
        Gateway::Flags(_) => None,
    };
    [first, second].map(|path| path.map_or(Source::Inline(vec![]), |p| Source::File(p.clone())))
}

fn documents(
    authentication: &Authentication,
    gateway: &Gateway,
    first: &[u8],
    second: &[u8],
) -> Result<Documents, DocumentError> {
    let settings = match gateway {
        Gateway::File(_) => parse_gateway(second)?,
        Gateway::Flags(settings) => (**settings).clone(),
    };
    match authentication {
        Authentication::File(_) => Documents::with_gateway(first, settings),
        Authentication::Flags(flags, _) => {
            let authority = String::from_utf8(first.to_vec())
                .map_err(|_| DocumentError::Authentication("--oidc-ca-file: not PEM".to_owned()))?;
            let flags = OidcFlags { certificate_authority: authority, ..(**flags).clone() };
            Documents::of_flags(&flags, settings)
        }
    }
}
