//! `envoy-gateway`: the gateway as a Gateway of Envoy Gateway's.

use clap::Args;
use gateway_config::envoy_gateway::{EnvoyGateway as Objects, Module};

use super::{
    error::Error,
    pod::{Pod, image, print},
};

/// Print the objects with which a Gateway of Envoy Gateway's becomes this gateway.
///
/// A GatewayClass, an EnvoyProxy with the token, a Gateway, Backends and a BackendTLSPolicy, an HTTPRoute that answers 403, an
/// EnvoyExtensionPolicy with the module and its configuration, and an EnvoyPatchPolicy with the doors around it. Pipe them to
/// `kubectl apply -f -`. Envoy Gateway must be told to take patches and Backends (extensionApis.enableEnvoyPatchPolicy and
/// enableBackend); until it does, nobody gets through.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct EnvoyGateway {
    #[command(flatten)]
    pod: Pod,
    /// The module: an OCI image, or the address of a file, with --module-sha256
    #[arg(long, value_name = "HOST/REPOSITORY:TAG|URL")]
    module: String,
    /// SHA-256 of the module, if it is a file
    #[arg(long, value_name = "HEX")]
    module_sha256: Option<String>,
    /// The host that clients use [default: any]
    #[arg(long)]
    host: Option<String>,
    /// The namespace in which Envoy Gateway runs its proxies
    #[arg(long, value_name = "NAMESPACE", default_value = "envoy-gateway-system")]
    proxy_namespace: String,
}

impl EnvoyGateway {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<(), Error> {
        let module = module(self.module, self.module_sha256)?;
        let inputs = self.pod.inputs()?;
        let Pod { name, namespace, certificate, .. } = self.pod;
        let proxy_namespace = self.proxy_namespace;
        let host = self.host;
        let objects = Objects { name, namespace, proxy_namespace, module, host, certificate };
        print(&objects.objects(&inputs)?)
    }
}

fn module(place: String, sha256: Option<String>) -> Result<Module, Error> {
    let is_file = place.starts_with("https://") || place.starts_with("http://");
    let usage = |text: &str| Err(Error::Usage(text.to_owned()));
    match sha256 {
        Some(sha256) if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) => {
            usage("--module-sha256 is not 64 hexadecimal digits")
        }
        Some(sha256) if is_file => {
            Ok(Module::Web { url: place, sha256: sha256.to_ascii_lowercase() })
        }
        Some(_) => {
            usage("--module-sha256 is for a file; name an image by its digest: IMAGE@sha256:…")
        }
        None if is_file => usage("a module from a web server needs --module-sha256"),
        None => match image(&place) {
            Ok(image) => Ok(Module::Image(image)),
            Err(why) => usage(&format!("--module {place:?}: {why}")),
        },
    }
}
