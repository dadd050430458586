//! `istio`: the gateway as an Istio ingress gateway.

use std::path::PathBuf;

use clap::Args;
use kube_oidc_gateway::{
    ApiServer, Credential, Host, Inputs, Limits, Protocols, ServingCertificate,
    istio::{Istio as Objects, SERVICE_ACCOUNT},
    run::kubeconfig::endpoint,
};

use super::{Error, render::documents};

/// Print the objects that make an Istio ingress gateway this gateway.
///
/// A Deployment and Service for Istio's gateway injection, a Gateway, a WasmPlugin with the module and its configuration, and
/// an EnvoyFilter with the doors around it. Pipe them to `kubectl apply -f -`.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Istio {
    /// Issuers and rules: an AuthenticationConfiguration (apiserver.config.k8s.io) as kube-apiserver takes it
    #[arg(long, value_name = "FILE")]
    authentication_config: PathBuf,
    /// The gateway's own settings: a GatewayConfiguration [default: all defaults]
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
    /// The module as an OCI image
    #[arg(long, value_name = "HOST/REPOSITORY:TAG")]
    module: String,
    /// kube-apiserver's address, as the mesh reaches it
    #[arg(long, value_name = "https://HOST[:PORT]", value_parser = |url: &str| endpoint(url), default_value = "https://kubernetes.default.svc")]
    apiserver: (Host, u16),
    /// Name of every object
    #[arg(long, default_value = "kube-oidc-gateway")]
    name: String,
    /// Their namespace
    #[arg(long, default_value = "login")]
    namespace: String,
    /// The host that clients use; * for any
    #[arg(long, default_value = "*")]
    host: String,
    /// The Secret of type kubernetes.io/tls with the serving certificate, in the same namespace
    #[arg(long, value_name = "SECRET", default_value = "kube-oidc-gateway-tls")]
    certificate: String,
    /// How many proxies before the gateway are believed in X-Forwarded-For
    #[arg(long, value_name = "N", default_value_t = 0)]
    trusted_hops: u32,
}

impl Istio {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<(), Error> {
        let documents = documents(&self.authentication_config, self.gateway_config.as_deref())?;
        let limits = Limits::default();
        documents.fit(&limits).map_err(Error::Usage)?;
        let in_pod = |name: &str| PathBuf::from(SERVICE_ACCOUNT).join(name);
        let (host, port) = self.apiserver;
        let inputs = Inputs {
            directory: PathBuf::new(),
            // Istio's own: a Gateway says where to listen, and with which certificate.
            listen: ([0, 0, 0, 0], 8443).into(),
            serving: ServingCertificate { chain: in_pod("none"), key: in_pod("none") },
            protocols: Protocols::default(),
            apiserver: ApiServer {
                host,
                port,
                ca: Some(in_pod("ca.crt")),
                server_name: None,
                credential: Credential::Token(in_pod("token")),
            },
            issuers: documents.issuers,
            system_ca: PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
            issuer_certificate: None,
            plugin_configuration: documents.plugin_configuration,
            client_impersonation: documents.client_impersonation,
            own_token: documents.own_token,
            filter: in_pod("none"),
            concurrency: None,
            admin_socket: in_pod("none"),
            access_log: PathBuf::from("/dev/stdout"),
            audit_lines: false,
            trusted_hops: self.trusted_hops,
            request_timeout: None,
            limits,
        };
        let objects = Objects {
            name: self.name,
            namespace: self.namespace,
            module: self.module,
            host: self.host,
            certificate: self.certificate,
        };
        for object in objects.objects(&inputs)? {
            let text = serde_saphyr::to_string(&object)
                .map_err(|error| Error::Usage(format!("an object is no YAML: {error}")))?;
            print!("---\n{text}");
        }
        Ok(())
    }
}
