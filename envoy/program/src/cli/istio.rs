//! `istio`: the gateway in an Istio mesh.

use clap::{Args, ValueEnum};
use gateway_config::istio::{Istio as Objects, Place, Registry};

use super::{
    error::Error,
    pod::{Pod, image, print},
};

/// Print the objects with which a proxy of an Istio mesh becomes this gateway.
///
/// For an ingress gateway: a Deployment and Service for Istio's gateway injection, a Gateway, a WasmPlugin with the module and its
/// configuration, and an EnvoyFilter with the doors around it. For the sidecar of a Deployment: the same without a pod; the
/// Deployment's gets volumes by annotations. Pipe them to
/// `kubectl apply --server-side --field-manager=kube-oidc-gateway -f -`.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Istio {
    #[command(flatten)]
    pod: Pod,
    /// The module as an OCI image
    #[arg(long, value_name = "HOST/REPOSITORY:TAG", value_parser = image)]
    module: String,
    /// Which proxy is the gateway
    #[arg(long, value_enum, default_value_t = Mode::Gateway)]
    mode: Mode,
    /// The host that clients of an ingress gateway use; * for any
    #[arg(long, default_value = "*")]
    host: String,
    /// The Deployment whose sidecar is the gateway
    #[arg(long, value_name = "DEPLOYMENT", required_if_eq("mode", "sidecar"))]
    workload: Option<String>,
    /// What is reached by clusters that istiod makes, out of a ServiceEntry and a DestinationRule [default: nothing]
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    registry: Vec<Registered>,
    /// The DNS domain of the cluster, for --registry
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// The Secret with the gateway's own token and kube-apiserver's ca.crt [default: the pod's ServiceAccount]
    #[arg(long, value_name = "SECRET")]
    account_secret: Option<String>,
}

/// A kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// An ingress gateway of its own
    Gateway,
    /// The sidecar of a Deployment
    Sidecar,
}

/// What the mesh's registry can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Registered {
    /// kube-apiserver
    Apiserver,
    /// Issuers; all that one's discovery document names must be on that document's host
    Issuers,
}

impl Istio {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<(), Error> {
        let inputs = self.pod.inputs()?;
        let Pod { name, namespace, certificate, .. } = self.pod;
        let place = match self.mode {
            Mode::Gateway => Place::Gateway { host: self.host },
            Mode::Sidecar => Place::Sidecar { workload: self.workload.unwrap_or_default() },
        };
        let registry = Registry {
            apiserver: self.registry.contains(&Registered::Apiserver),
            issuers: self.registry.contains(&Registered::Issuers),
            domain: self.cluster_domain,
        };
        let account = self.account_secret;
        let module = self.module;
        let objects = Objects { name, namespace, module, certificate, account, place, registry };
        print(&objects.objects(&inputs)?)
    }
}
