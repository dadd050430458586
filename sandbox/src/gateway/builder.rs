//! What a gateway is started with.

use std::{path::PathBuf, sync::Mutex, time::Duration};

use gateway_config::{
    ApiServer, Candidates, Credential, Inputs, Options, Rendered, ServingCertificate,
};
use gateway_net::Host;
use serde_json::Value;

use super::{Gateway, beside::Beside, documents, filter, render_into, start_envoy, token};
use crate::{
    cluster::Cluster,
    error::{Error, Result},
    files,
    folder::Folder,
    http::Client,
    pki::{Authority, Identity},
    port::Port,
    process::{READY, Spec},
    steps::Steps,
};

type Change<'a> = Box<dyn FnOnce(&mut Inputs) + 'a>;

impl Cluster {
    /// A gateway in front of this cluster, with an `AuthenticationConfiguration`.
    #[must_use]
    pub fn gateway(&self, authentication: Value) -> GatewayBuilder<'_> {
        GatewayBuilder::new(self, authentication)
    }
}

/// What a gateway is started with: [`Cluster::gateway`] makes one.
pub struct GatewayBuilder<'a> {
    cluster: &'a Cluster,
    authentication: Value,
    gateway: Option<Value>,
    beside: Option<(Value, Value)>,
    filter: Option<PathBuf>,
    envoy: Option<PathBuf>,
    folder: Option<PathBuf>,
    port: Option<Port>,
    system_ca: Option<String>,
    service_account: (String, String),
    renewal: Duration,
    workers: u32,
    arguments: Vec<String>,
    patience: Duration,
    steps: Steps,
    changes: Vec<Change<'a>>,
}

impl<'a> GatewayBuilder<'a> {
    pub(crate) fn new(cluster: &'a Cluster, authentication: Value) -> Self {
        Self {
            cluster,
            authentication,
            gateway: None,
            beside: None,
            filter: None,
            envoy: None,
            folder: None,
            port: None,
            system_ca: None,
            service_account: (Cluster::GATEWAY.0.to_owned(), Cluster::GATEWAY.1.to_owned()),
            renewal: token::RENEWAL,
            workers: 2,
            arguments: Vec::new(),
            patience: READY,
            steps: Steps::Quiet,
            changes: Vec::new(),
        }
    }

    /// Its `GatewayConfiguration`; by default it has none.
    #[must_use]
    pub fn configuration(mut self, gateway: Value) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// A second gateway in the same Envoy, with these two documents and a port of its own ([`Gateway::port_beside`]).
    #[must_use]
    pub fn beside(mut self, authentication: Value, gateway: Value) -> Self {
        self.beside = Some((authentication, gateway));
        self
    }

    /// The filter's module, a native one by a name that ends in `.so`; by default that of the form which `FILTER` asks for: the
    /// one that `GATEWAY_FILTER` or `GATEWAY_NATIVE_FILTER` names, else the one in the target folder.
    #[must_use]
    pub fn filter(mut self, module: impl Into<PathBuf>) -> Self {
        self.filter = Some(module.into());
        self
    }

    /// Envoy's program; by default the sandbox's own. Its version is not looked at.
    #[must_use]
    pub fn envoy(mut self, program: impl Into<PathBuf>) -> Self {
        self.envoy = Some(program.into());
        self
    }

    /// Envoy's worker threads; 2 by default.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// How long Envoy may take to be ready, where it runs in something that makes it slow; two minutes by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Adds arguments to Envoy's command line, such as `--component-log-level wasm:debug`.
    #[must_use]
    pub fn envoy_arguments<A: Into<String>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The bundle for issuers without one of their own, PEM; by default one that signs nothing.
    #[must_use]
    pub fn system_ca(mut self, pem: impl Into<String>) -> Self {
        self.system_ca = Some(pem.into());
        self
    }

    /// The ServiceAccount it uses; by default [`Cluster::GATEWAY`], which may impersonate and nothing else.
    #[must_use]
    pub fn service_account(mut self, namespace: &str, name: &str) -> Self {
        self.service_account = (namespace.to_owned(), name.to_owned());
        self
    }

    /// How long after a ServiceAccount token the next one is made; 8 minutes by default, for tokens that live 10.
    #[must_use]
    pub fn token_renewal(mut self, after: Duration) -> Self {
        self.renewal = after;
        self
    }

    /// Keeps its files in a folder that stays; by default they are in a temporary one.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Listens on a port that was reserved before.
    #[must_use]
    pub fn port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// Changes the inputs of the rendering, after everything else: limits, addresses, forwarded hops.
    #[must_use]
    pub fn inputs(mut self, change: impl FnOnce(&mut Inputs) + 'a) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Tells the steps of the start.
    #[must_use]
    pub fn steps(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    /// Starts the gateway; it serves when this returns.
    pub fn start(self) -> Result<Gateway> {
        let steps = self.steps;
        let module = self.filter.map_or_else(|| filter::find(filter::filter_form()?), Ok)?;
        let module = module
            .canonicalize()
            .map_err(|e| Error::Invalid(format!("filter {}: {e}", module.display())))?;
        let form = filter::form_of(&module);
        let folder = Folder::new(self.folder.as_deref())?;
        let port = self.port.map_or_else(Port::reserve, Ok)?;

        let authority = Authority::new("sandbox gateway")?;
        // The chain with its root, which a client can then know by its fingerprint.
        let serving = authority.server(&[])?;
        let chain = format!("{}{}", serving.certificate, authority.pem());
        let serving = Identity { certificate: chain, ..serving };
        let serving = serving.write(&folder.folder("serving")?, "tls")?;
        let apiserver_ca = folder.folder("apiserver")?.join("ca.crt");
        files::write(&apiserver_ca, self.cluster.ca().as_bytes())?;
        let system_ca = folder.folder("system")?.join("ca.crt");
        let unused = Authority::new("sandbox: no issuer's")?;
        let bundle = self.system_ca.as_deref().unwrap_or(unused.pem());
        files::write(&system_ca, bundle.as_bytes())?;
        let token_path = folder.folder("token")?.join("token");
        let token = steps.step("the gateway's ServiceAccount token", || {
            let (namespace, name) = &self.service_account;
            let source = self.cluster.token_source(namespace, name);
            token::TokenFile::new(source, token_path.clone(), self.renewal)
        })?;

        let admin_socket = folder.socket("admin.sock");
        let mut inputs = Inputs {
            directory: folder.file("envoy"),
            options: Options {
                concurrency: Some(self.workers),
                form,
                connections_filter: Some(filter::find_connections(form)?),
                ..Options::new(port.address(), module)
            },
            serving: ServingCertificate { chain: serving.certificate, key: serving.key },
            apiserver: ApiServer {
                host: Host::Ip(port.address().ip()),
                port: self.cluster.port(),
                ca: Some(apiserver_ca),
                server_name: None,
                credential: Credential::Token(token_path),
            },
            documents: documents(&self.authentication, self.gateway.as_ref())?,
            leaving: Vec::new(),
            candidates: Candidates::default(),
            system_ca,
            issuer_certificate: None,
            admin_socket: admin_socket.clone(),
            access_log: folder.file("access.log"),
            portal: None,
        };
        for change in self.changes {
            change(&mut inputs);
        }

        let (rendered, _) = render_into(&inputs)?;
        let beside = self.beside.map(|both| Beside::new(both, &inputs, &folder)).transpose()?;
        let arguments = rendered.arguments(&inputs.directory).into_iter();
        let mut arguments: Vec<_> =
            arguments.map(|word| word.to_string_lossy().into_owned()).collect();
        if let Some(beside) = &beside {
            beside.write(&rendered, &inputs.directory)?;
            arguments = Beside::arguments(&inputs.directory, arguments);
        }
        let spec = Spec {
            name: "Envoy",
            program: self.envoy.unwrap_or_else(|| self.cluster.assets().envoy.clone()),
            arguments: arguments.into_iter().chain(self.arguments).collect(),
            environment: Rendered::environment()
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            folder: None,
            log: folder.file("envoy.log"),
        };
        let admin = Client::unix(&admin_socket);
        let patience = self.patience;
        let start = || start_envoy(&spec, &admin, patience);
        let process = steps.step("Envoy with the filter", start)?;
        Ok(Gateway {
            process: Mutex::new(process),
            token,
            inputs: Mutex::new(inputs),
            beside,
            changes: Mutex::new(()),
            spec,
            patience,
            admin,
            ca: authority.pem().to_owned(),
            kubectl: self.cluster.assets().kubectl.clone(),
            port,
            folder,
        })
    }
}
