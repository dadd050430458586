//! A Kubernetes cluster: etcd, kube-apiserver and a kwok node, on loopback, with one folder for all it writes.

mod apiserver;
mod authentication;
mod backend;
mod bootstrap;
mod builder;
mod etcd;
mod node;
mod token;

use std::{path::Path, sync::Mutex};

pub(crate) use self::token::TokenSource;
use self::{apiserver::ApiServer, etcd::Etcd, node::Node};
pub use self::{builder::ClusterBuilder, node::NODE};
use crate::{
    assets::Assets,
    audit::Audit,
    error::Result,
    folder::Folder,
    http::Client,
    kubeconfig::{Credential, Kubeconfig},
    kubectl::Kubectl,
    process::{Process, lock},
};

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

    /// Starts the API server again on the same port with more arguments, which count before those that it was started with.
    pub fn start_apiserver_with(&self, arguments: &[String]) -> Result<()> {
        let mut process = lock(&self.apiserver_process);
        process.kill()?;
        *process = self.apiserver.start_with(arguments)?;
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
