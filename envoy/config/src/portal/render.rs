//! From inputs to the files of an Envoy that is a portal and nothing else.

use std::{net::SocketAddr, path::PathBuf};

use minijinja::{Value, value::Serde};
use serde::Serialize;

use super::part::{Around, Chain, Part, add_templates, identify_socket};
use crate::{
    context::{Certificate, Listen},
    documents::Documents,
    error::RenderError,
    issuers,
    paths::{text, watched_pair},
    render::certificate_file,
    rendered::{File, Rendered},
    templates,
};

/// The name of the cluster behind which the gateway's filter answers.
pub const IDENTIFY: &str = "identify";
const ENVOY: &str = "portal/envoy.yaml";

/// Everything that the files depend on. All paths are absolute.
pub struct Inputs {
    /// Where the files will lie, and the sockets.
    pub directory: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The portal.
    pub part: Part,
    /// Issuers whose tokens are taken.
    pub documents: Option<Documents>,
    /// The CA bundle for issuers without one of their own.
    pub system_ca: PathBuf,
    /// Worker threads; one for each CPU if absent.
    pub concurrency: Option<u32>,
}

#[derive(Serialize)]
struct Context<'a> {
    admin_socket: String,
    listen: Listen,
    portal: Chain<'a>,
    system_ca: &'a str,
    identify: Option<Identify<'a>>,
}

#[derive(Serialize)]
struct Identify<'a> {
    socket: String,
    discovery: Option<()>,
    configuration: String,
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
    let known = inputs.documents.as_ref().map_or(&[][..], Documents::issuers);
    if inputs.documents.as_ref().is_some_and(|documents| !documents.callouts().is_empty()) {
        return Err(RenderError::PortalAlone);
    }
    let identify = inputs.documents.as_ref().map(|documents| {
        let issuers = issuers::distinct(documents.issuers())
            .map_err(|name| RenderError::IssuerClusterCollision { name })?;
        let mut configuration = documents.asking_nobody().plugin_configuration()?;
        configuration.portal_issuer = Some(inputs.part.token_issuer());
        Ok::<_, RenderError>(Identify {
            socket: identify_socket(&inputs.directory)?,
            discovery: None,
            configuration: serde_json::to_string(&configuration)?,
            issuers: issuers
                .into_iter()
                .map(|(name, cluster)| Issuer { name, ca: cluster.ca })
                .collect(),
        })
    });
    let around =
        Around { directory: &inputs.directory, serving: None, http2: true, issuers: known };
    let context = Context {
        admin_socket: text("directory", &inputs.admin_socket())?.to_owned(),
        listen: Listen::new(inputs.listen),
        portal: Chain::new(&inputs.part, &around)?,
        system_ca: text("system CA bundle", &inputs.system_ca)?,
        identify: identify.transpose()?,
    };
    let mut engine = templates::engine()?;
    add_templates(&mut engine)?;
    engine.add_template(ENVOY, include_str!("../../templates/portal/envoy.yaml"))?;
    let mut files = context.portal.secret_files(&engine)?;
    if let Some(pair) = &inputs.part.serving {
        let pair = watched_pair("serving certificate", "serving key", pair)?;
        let certificate = Certificate { name: "serving".to_owned(), pair };
        files.push(certificate_file(&engine, &certificate)?);
    }
    let text = engine.get_template(ENVOY)?.render(Value::from(Serde(context)))?;
    files.push(File { name: "envoy.yaml".to_owned(), text });
    Ok(Rendered::of(files, inputs.concurrency))
}
