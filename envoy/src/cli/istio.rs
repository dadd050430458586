//! `istio`: the gateway as an Istio ingress gateway.

use clap::Args;
use kube_oidc_gateway::istio::Istio as Objects;

use super::{
    Error,
    pod::{Pod, print},
};

/// Print the objects that make an Istio ingress gateway this gateway.
///
/// A Deployment and Service for Istio's gateway injection, a Gateway, a WasmPlugin with the module and its configuration, and
/// an EnvoyFilter with the doors around it. Pipe them to `kubectl apply -f -`.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Istio {
    #[command(flatten)]
    pod: Pod,
    /// The module as an OCI image
    #[arg(long, value_name = "HOST/REPOSITORY:TAG")]
    module: String,
    /// The host that clients use; * for any
    #[arg(long, default_value = "*")]
    host: String,
}

impl Istio {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<(), Error> {
        let inputs = self.pod.inputs()?;
        let Pod { name, namespace, certificate, .. } = self.pod;
        let objects =
            Objects { name, namespace, module: self.module, host: self.host, certificate };
        print(&objects.objects(&inputs)?)
    }
}
