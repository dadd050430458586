//! A Kubernetes cluster: etcd, kube-apiserver and a kwok node, on loopback, with one folder for all it writes.

mod apiserver;
mod backend;
mod bootstrap;
mod etcd;
mod node;
mod token;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;

pub use self::node::NODE;
pub(crate) use self::token::TokenSource;
use self::{apiserver::ApiServer, etcd::Etcd, node::Node};
use crate::{
    assets::{Assets, Progress},
    audit::Audit,
    error::Result,
    folder::Folder,
    gateway::GatewayBuilder,
    http::Client,
    kubeconfig::{Credential, Kubeconfig},
    kubectl::Kubectl,
    port::Port,
    process::Process,
    steps::Steps,
};

/// How long a component may take to be ready. Far more than it takes on a machine that does other things too.
pub(crate) const READY: Duration = Duration::from_secs(120);

/// What a cluster is started with.
#[derive(Debug, Default)]
pub struct ClusterBuilder {
    folder: Option<PathBuf>,
    port: Option<Port>,
    authentication: Option<String>,
    arguments: Vec<String>,
    steps: Steps,
}

impl ClusterBuilder {
    /// Keeps the cluster's files in a folder that stays; by default they are in a temporary one.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Serves on a port that was reserved before, for a configuration that must name it.
    #[must_use]
    pub fn port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// Has kube-apiserver itself authenticate by this `AuthenticationConfiguration` (JSON or YAML), beside client
    /// certificates and ServiceAccount tokens: what the gateway's answers are compared with.
    #[must_use]
    pub fn authentication_config(mut self, text: impl Into<String>) -> Self {
        self.authentication = Some(text.into());
        self
    }

    /// Adds arguments to kube-apiserver's command line, such as `--max-requests-inflight=0`.
    #[must_use]
    pub fn apiserver_arguments<A: Into<String>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Tells the steps of the start.
    #[must_use]
    pub fn steps(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    /// Starts the cluster; it serves when this returns. Programs that are missing are built first, told on standard
    /// error.
    pub fn start(self) -> Result<Cluster> {
        Cluster::start(self, Assets::ensure(&Progress::new())?)
    }
}

/// A running cluster. Dropping it ends it.
///
/// What the parts of a real control plane beside the API server do is missing, but for the aggregation of the default
/// roles: there is no scheduler (a pod names [`NODE`] itself) and no controller (a Deployment makes no pods, a deleted
/// namespace stays, no namespace has a ServiceAccount `default`).
pub struct Cluster {
    // Processes end in this order, before the folder they write to is removed.
    node_process: Mutex<Process>,
    apiserver_process: Mutex<Process>,
    etcd_process: Mutex<Process>,
    apiserver: ApiServer,
    etcd: Etcd,
    node: Node,
    admin: Kubectl,
    audit: Audit,
    assets: Assets,
    folder: Folder,
}

impl Cluster {
    /// What to start one with.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    fn start(builder: ClusterBuilder, assets: Assets) -> Result<Self> {
        let steps = builder.steps;
        let folder = Folder::new(builder.folder.as_deref())?;
        let etcd = Etcd::new(&assets.etcd, &folder);
        let node = Node::new(&folder)?;
        let settings = apiserver::Settings {
            program: &assets.kube_apiserver,
            etcd: &etcd.url(),
            node_ca: &node.ca,
            node_client: &node.client,
            authentication: builder.authentication.as_deref(),
            port: builder.port.map_or_else(Port::reserve, Ok)?,
            more: &builder.arguments,
        };
        let apiserver = ApiServer::new(settings, &folder)?;
        let kubeconfig = apiserver.admin_kubeconfig();
        let admin = Kubectl::new(&assets.kubectl, &kubeconfig)?;

        let etcd_process = steps.step("etcd", || etcd.start())?;
        let apiserver_process = steps.step("kube-apiserver", || apiserver.start())?;
        steps.step("default roles, the node's and the gateway's objects", || {
            bootstrap::prepare(&apiserver.client, &admin)
        })?;
        let node_process = steps.step("node (kwok)", || {
            let process = node.start(&assets.kwok, &admin.kubeconfig())?;
            Ok(process)
        })?;
        Ok(Self {
            node_process: Mutex::new(node_process),
            apiserver_process: Mutex::new(apiserver_process),
            etcd_process: Mutex::new(etcd_process),
            audit: Audit::new(apiserver.audit_log.clone(), apiserver.client.clone()),
            apiserver,
            etcd,
            node,
            admin,
            assets,
            folder,
        })
    }

    /// The API server's URL, `https://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.apiserver.url()
    }

    /// The API server's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.apiserver.port().number()
    }

    /// The bundle that signs the API server's certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.apiserver.ca
    }

    /// The file with that bundle.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.apiserver.ca_file
    }

    /// The folder with the logs of every component.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The programs the cluster runs.
    #[must_use]
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// What reached the API server.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// kubectl as a cluster administrator, straight to the API server.
    #[must_use]
    pub fn admin(&self) -> &Kubectl {
        &self.admin
    }

    /// HTTP as a cluster administrator, straight to the API server.
    #[must_use]
    pub fn admin_client(&self) -> &Client {
        &self.apiserver.client
    }

    /// A kubeconfig of a cluster administrator.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> Kubeconfig {
        self.apiserver.admin_kubeconfig()
    }

    /// kubectl straight to the API server with a credential of choice.
    pub fn kubectl(&self, credential: Credential) -> Result<Kubectl> {
        let kubeconfig = Kubeconfig { server: self.url(), ca: self.ca().to_owned(), credential };
        self.kubectl_with(&kubeconfig)
    }

    /// kubectl with any kubeconfig.
    pub fn kubectl_with(&self, kubeconfig: &Kubeconfig) -> Result<Kubectl> {
        Kubectl::new(&self.assets.kubectl, kubeconfig)
    }

    /// Creates or changes objects as a cluster administrator, from YAML or JSON.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.admin.must(["apply", "-f", "-"], manifest).map(drop)
    }

    /// Namespace and name of the ServiceAccount that a gateway uses if it is not told another.
    pub const GATEWAY: (&str, &str) = ("kube-oidc-gateway", "gateway");

    /// The user name of that ServiceAccount, as the audit log has it.
    pub const GATEWAY_USER: &str = "system:serviceaccount:kube-oidc-gateway:gateway";

    /// A gateway in front of this cluster, with an `AuthenticationConfiguration`.
    #[must_use]
    pub fn gateway(&self, authentication: Value) -> GatewayBuilder<'_> {
        GatewayBuilder::new(self, authentication)
    }

    /// A token of a ServiceAccount by `TokenRequest`, for the API server itself. It lives `seconds`, 600 at least.
    pub fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        seconds: u32,
    ) -> Result<String> {
        self.token_source(namespace, name).token(seconds)
    }

    pub(crate) fn token_source(&self, namespace: &str, name: &str) -> TokenSource {
        TokenSource::new(self.apiserver.client.clone(), namespace, name)
    }

    /// Adds a line to what every pod logs: `kubectl logs -f` shows it, `kubectl attach` too.
    pub fn write_pod_log(&self, line: &str) -> Result<()> {
        self.node.write_log(line)
    }

    /// The folder in which commands of pods run.
    #[must_use]
    pub fn pod_folder(&self) -> &Path {
        &self.node.work
    }

    /// Makes sure that every part runs.
    ///
    /// # Errors
    /// With a part that ended, and the last line of its log.
    pub fn check(&self) -> Result<()> {
        for process in [&self.etcd_process, &self.apiserver_process, &self.node_process] {
            lock(process).check()?;
        }
        Ok(())
    }

    /// Kills the API server, as a crash would, and leaves its port closed until [`Self::start_apiserver`].
    pub fn kill_apiserver(&self) -> Result<()> {
        lock(&self.apiserver_process).kill().map(drop)
    }

    /// Starts the API server again on the same port, after a kill or in place of the running one.
    pub fn start_apiserver(&self) -> Result<()> {
        let mut process = lock(&self.apiserver_process);
        process.kill()?;
        *process = self.apiserver.start()?;
        Ok(())
    }

    /// Kills etcd and starts it again on the same data.
    pub fn restart_etcd(&self) -> Result<()> {
        let mut process = lock(&self.etcd_process);
        process.kill()?;
        *process = self.etcd.start()?;
        Ok(())
    }

    /// Kills the node and starts it again; running commands of pods end.
    pub fn restart_node(&self) -> Result<()> {
        let mut process = lock(&self.node_process);
        process.kill()?;
        *process = self.node.start(&self.assets.kwok, &self.admin.kubeconfig())?;
        Ok(())
    }
}

/// A thread that panicked while it held a process has left it as it was.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
