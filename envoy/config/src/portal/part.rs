//! What of an Envoy is the portal: one filter chain with its filters, alone on a listener or beside the gateway's.

use std::path::{Path, PathBuf};

use gateway_core::portal_keys::VARIABLE;
use gateway_net::Dns;
use gateway_portal::Settings;
use minijinja::{Environment, Value, value::Serde};
use serde::Serialize;

use super::login::{self, Login};
use crate::{
    error::RenderError,
    issuers::{self, Issuer},
    paths::{ServingCertificate, folder, text},
    rendered::File,
};

/// The templates of the portal's parts.
const SOURCES: [(&str, &str); 3] = [
    ("portal/chain.yaml", include_str!("../../templates/portal/chain.yaml")),
    ("portal/identify.yaml", include_str!("../../templates/portal/identify.yaml")),
    (LOGIN, include_str!("../../templates/portal/secret-login.yaml")),
];
const LOGIN: &str = "portal/secret-login.yaml";
/// What Envoy calls a portal's own certificate beside the gateway's.
pub(crate) const PORTAL_CERTIFICATE: &str = "serving-portal";
const ALPN: &[&str] = &["h2", "http/1.1"];

/// A portal, wherever it listens. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name by which it is told from the gateway on the same port; none if the port is its own.
    pub host: Option<Dns>,
    /// What clients see. Without it, beside the gateway, what the gateway shows; alone, there is no TLS.
    pub serving: Option<ServingCertificate>,
    /// The CA whose certificates clients must show.
    pub client_ca: Option<PathBuf>,
    /// The DNS name that they must be for.
    pub client_subject: Option<String>,
    /// The filter's settings.
    pub settings: Settings,
    /// The browser's login.
    pub login: Option<Login>,
    /// The Wasm module.
    pub filter: PathBuf,
    /// Where Envoy writes one JSON line a request.
    pub access_log: PathBuf,
}

/// A portal as the templates have it.
#[derive(Serialize)]
pub(crate) struct Chain<'a> {
    host: Option<&'a str>,
    /// What `:authority` must match.
    authority: String,
    tls: Option<Tls<'a>>,
    alpn: &'static [&'static str],
    client_ca: Option<&'a str>,
    client_subject: Option<&'a str>,
    filter: &'a str,
    keys_variable: &'static str,
    settings: String,
    access_log: &'a str,
    login: Option<login::Context<'a>>,
}

/// Where Envoy finds what the listener shows.
#[derive(Serialize)]
struct Tls<'a> {
    secret: &'static str,
    file: String,
    directory: &'a str,
}

/// What a portal shares with the Envoy around it.
pub(crate) struct Around<'a> {
    /// The folder of the rendered files.
    pub directory: &'a Path,
    /// The gateway's certificate, if there is a gateway.
    pub serving: Option<&'a ServingCertificate>,
    /// Whether the listener speaks HTTP/2.
    pub http2: bool,
    /// The issuers that have clusters.
    pub issuers: &'a [Issuer],
}

impl Part {
    /// The issuer of the portal's tokens, as the filter that says whose a token is has to know it: empty if no key of the portal's has one.
    pub(crate) fn token_issuer(&self) -> String {
        self.settings.issuer.clone().unwrap_or_default()
    }
}

impl<'a> Chain<'a> {
    pub(crate) fn new(part: &'a Part, around: &Around<'a>) -> Result<Self, RenderError> {
        let own_tls = part.serving.as_ref();
        let secret = match (own_tls, around.serving) {
            (Some(_), Some(_)) => PORTAL_CERTIFICATE,
            _ => "serving",
        };
        let file = format!("{}/secret-{secret}.yaml", folder(around.directory)?);
        let tls = own_tls.or(around.serving).map(|pair| {
            let directory = pair.chain.parent().unwrap_or(Path::new("/"));
            Ok::<_, RenderError>(Tls { secret, file, directory: text("certificate", directory)? })
        });
        let login = part.login.as_ref().map(|login| {
            let clusters = issuers::issuer_clusters(around.issuers);
            let cluster = clusters.get(&login.issuer).cloned().unwrap_or_default();
            login::Context::new(login, cluster, around.directory)
        });
        let host = part.host.as_ref().map(Dns::as_str);
        Ok(Self {
            host,
            authority: format!("(?i){}(:[0-9]+)?", host.unwrap_or_default().replace('.', "[.]")),
            tls: tls.transpose()?,
            alpn: if around.http2 { ALPN } else { &["http/1.1"] },
            client_ca: part.client_ca.as_deref().map(|path| text("client CA", path)).transpose()?,
            client_subject: part.client_subject.as_deref(),
            filter: text("filter", &part.filter)?,
            keys_variable: VARIABLE,
            settings: serde_json::to_string(&part.settings)?,
            access_log: text("access log", &part.access_log)?,
            login: login.transpose()?,
        })
    }

    /// The files in which Envoy finds the login's secrets.
    pub(crate) fn secret_files(&self, engine: &Environment<'_>) -> Result<Vec<File>, RenderError> {
        let secrets = self.login.iter().flat_map(login::Context::secrets);
        let file = |secret: &login::Secret<'_>| {
            let text = engine.get_template(LOGIN)?;
            let text = text.render(minijinja::context! { secret => Value::from(Serde(secret)) })?;
            Ok(File { name: format!("secret-{}.yaml", secret.name), text })
        };
        secrets.map(file).collect()
    }
}

/// Gives an engine the templates of the portal's parts.
pub(crate) fn add_templates(engine: &mut Environment<'static>) -> Result<(), RenderError> {
    for (name, source) in SOURCES {
        engine.add_template(name, source)?;
    }
    Ok(())
}

/// Where the portal asks whose a token is: a Unix socket beside the rendered files.
pub(crate) fn identify_socket(directory: &Path) -> Result<String, RenderError> {
    let path = directory.join("identify.sock");
    Ok(text("directory", &path)?.to_owned())
}
