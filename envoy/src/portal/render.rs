//! From inputs to the files of the portal's Envoy.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use gateway_core::portal::{Settings, keys::VARIABLE};
use minijinja::{Value, value::Serde};
use serde::Serialize;

use super::login::{self, Login};
use crate::{
    context::Listen,
    documents::Documents,
    inputs::ServingCertificate,
    issuers,
    paths::{WatchedPair, text, watched_pair},
    render::{File, RenderError, Rendered},
    templates,
};

/// The name of the cluster behind which the gateway's filter answers.
pub const IDENTIFY: &str = "identify";
const SERVING: &str = "secret-serving.yaml";

/// Everything that the files depend on. All paths are absolute.
pub struct Inputs {
    /// Where the files will lie, and the sockets.
    pub directory: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// What the listener shows; without it there is no TLS.
    pub serving: Option<ServingCertificate>,
    /// The CA whose certificates clients must show.
    pub client_ca: Option<PathBuf>,
    /// The DNS name that they must be for.
    pub client_subject: Option<String>,
    /// The filter's settings.
    pub settings: Settings,
    /// Issuers whose tokens are taken.
    pub documents: Option<Documents>,
    /// The browser's login.
    pub login: Option<Login>,
    /// The CA bundle for issuers without one of their own.
    pub system_ca: PathBuf,
    /// The Wasm module.
    pub filter: PathBuf,
    /// Worker threads; one for each CPU if absent.
    pub concurrency: Option<u32>,
    /// Where Envoy writes one JSON line a request.
    pub access_log: PathBuf,
}

#[derive(Serialize)]
struct Context<'a> {
    admin_socket: String,
    listen: Listen,
    serving: Option<WatchedPair<'a>>,
    serving_file: String,
    client_ca: Option<&'a str>,
    client_subject: Option<&'a str>,
    filter: &'a str,
    keys_variable: &'static str,
    settings: String,
    access_log: &'a str,
    system_ca: &'a str,
    identify: Option<Identify<'a>>,
    login: Option<login::Context<'a>>,
}

#[derive(Serialize)]
struct Identify<'a> {
    socket: String,
    configuration: &'a str,
    issuers: Vec<Issuer<'a>>,
}

#[derive(Serialize)]
struct Issuer<'a> {
    name: String,
    ca: Option<&'a str>,
}

impl Inputs {
    /// Envoy's administration, a Unix socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }
}

/// Renders the files.
pub fn render(inputs: &Inputs) -> Result<Rendered, RenderError> {
    let in_directory = |name: &str| -> Result<String, RenderError> {
        let path = inputs.directory.join(name);
        Ok(text("directory", &path)?.to_owned())
    };
    let optional = |what, path: &'_ Option<PathBuf>| -> Result<Option<String>, RenderError> {
        path.as_deref().map(|path: &Path| text(what, path).map(str::to_owned)).transpose()
    };
    let client_ca = optional("client CA", &inputs.client_ca)?;
    let identify = inputs.documents.as_ref().map(|documents| {
        let issuers = issuers::distinct(&documents.issuers)
            .map_err(|name| RenderError::IssuerClusterCollision { name })?;
        Ok::<_, RenderError>(Identify {
            socket: in_directory("identify.sock")?,
            configuration: &documents.plugin_configuration,
            issuers: issuers
                .into_iter()
                .map(|(name, cluster)| Issuer { name, ca: cluster.ca })
                .collect(),
        })
    });
    let login = inputs.login.as_ref().map(|login| {
        let known = inputs.documents.iter().flat_map(|documents| &documents.issuers);
        let clusters = issuers::issuer_clusters(&known.cloned().collect::<Vec<_>>());
        let cluster = clusters.get(&login.issuer).cloned().unwrap_or_default();
        login::Context::new(login, cluster, &inputs.directory)
    });
    let login = login.transpose()?;
    let context = Context {
        admin_socket: in_directory("admin.sock")?,
        listen: Listen::new(inputs.listen),
        serving: inputs
            .serving
            .as_ref()
            .map(|pair| watched_pair("serving certificate", "serving key", pair))
            .transpose()?,
        serving_file: in_directory(SERVING)?,
        client_ca: client_ca.as_deref(),
        client_subject: inputs.client_subject.as_deref(),
        filter: text("filter", &inputs.filter)?,
        keys_variable: VARIABLE,
        settings: serde_json::to_string(&inputs.settings)
            .map_err(RenderError::BadPluginConfiguration)?,
        access_log: text("access log", &inputs.access_log)?,
        system_ca: text("system CA bundle", &inputs.system_ca)?,
        identify: identify.transpose()?,
        login,
    };
    let mut engine = templates::engine()?;
    for (name, source) in [
        ("portal/envoy.yaml", include_str!("../../templates/portal/envoy.yaml")),
        ("portal/secret-serving.yaml", include_str!("../../templates/portal/secret-serving.yaml")),
        ("portal/secret-login.yaml", include_str!("../../templates/portal/secret-login.yaml")),
    ] {
        engine.add_template(name, source)?;
    }
    let mut files = Vec::new();
    for secret in context.login.iter().flat_map(login::Context::secrets) {
        let text = engine.get_template("portal/secret-login.yaml")?;
        let text = text.render(minijinja::context! { secret => Value::from(Serde(secret)) })?;
        files.push(File { name: format!("secret-{}.yaml", secret.name), text });
    }
    let context = Value::from(Serde(context));
    let mut names = vec!["envoy.yaml"];
    if inputs.serving.is_some() {
        names.insert(0, SERVING);
    }
    for name in names {
        let text = engine.get_template(&format!("portal/{name}"))?.render(context.clone())?;
        files.push(File { name: name.to_owned(), text });
    }
    Ok(Rendered::of(files, inputs.concurrency))
}
