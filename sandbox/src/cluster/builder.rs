//! What a cluster is started with, and the start itself.

use std::{path::PathBuf, sync::Mutex};

use super::{
    Cluster,
    apiserver::{self, ApiServer},
    bootstrap,
    etcd::Etcd,
    node::Node,
};
use crate::{
    assets::{Assets, Kubernetes, Progress},
    audit::Audit,
    error::Result,
    folder::Folder,
    kubectl::Kubectl,
    port::Port,
    steps::Steps,
};

/// What a cluster is started with.
#[derive(Debug, Default)]
pub struct ClusterBuilder {
    kubernetes: Option<Kubernetes>,
    folder: Option<PathBuf>,
    port: Option<Port>,
    authentication: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    steps: Steps,
}

impl ClusterBuilder {
    /// Runs this minor of Kubernetes; by default the one that [`Kubernetes::from_environment`] gives.
    #[must_use]
    pub fn kubernetes(mut self, kubernetes: Kubernetes) -> Self {
        self.kubernetes = Some(kubernetes);
        self
    }

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
    /// certificates and ServiceAccount tokens: what the gateway's answers are compared with. It can be changed while the
    /// cluster runs by [`Cluster::configure_authentication`].
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

    /// Sets a variable of kube-apiserver's environment, such as `HTTPS_PROXY`.
    #[must_use]
    pub fn apiserver_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
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
        let kubernetes = self.kubernetes.map_or_else(Kubernetes::from_environment, Ok)?;
        let assets = Assets::ensure(kubernetes, &Progress::new())?;
        let steps = self.steps;
        let folder = Folder::new(self.folder.as_deref())?;
        let etcd = Etcd::new(&assets.etcd, &folder);
        let node = Node::new(&folder)?;
        let settings = apiserver::Settings {
            program: &assets.kube_apiserver,
            etcd: &etcd.url(),
            node_ca: &node.ca,
            node_client: &node.client,
            authentication: self.authentication.as_deref(),
            port: self.port.map_or_else(Port::reserve, Ok)?,
            more: &self.arguments,
            environment: &self.environment,
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
        Ok(Cluster {
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
}
