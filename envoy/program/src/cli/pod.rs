//! What the subcommands have in common that print objects for a control plane which runs Envoy.

use std::path::PathBuf;

use clap::Args;
use gateway_config::{
    ApiServer, Candidates, Credential, Inputs, Limits, Options, ServingCertificate,
    pod::SERVICE_ACCOUNT,
};
use gateway_net::{Host, endpoint};
use serde_json::Value;

use super::{
    error::Error,
    output::print_text,
    render::{documents, with_revocations},
    rules::RulesFlag,
};

/// What is configured, and how it is reached.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Pod {
    /// Issuers and rules: an AuthenticationConfiguration (apiserver.config.k8s.io) as kube-apiserver takes it
    #[arg(long, value_name = "FILE")]
    authentication_config: PathBuf,
    /// The gateway's own settings: a GatewayConfiguration [default: all defaults]
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesFlag,
    /// Whose access has ended: a Revocations document, which changes only with the filter's configuration
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// kube-apiserver's address, as the pod reaches it
    #[arg(long, value_name = "https://HOST[:PORT]", value_parser = |url: &str| endpoint(url), default_value = "https://kubernetes.default.svc")]
    apiserver: (Host, u16),
    /// The name that its certificate must have [default: its address]
    #[arg(long, value_name = "HOST")]
    apiserver_server_name: Option<Host>,
    /// Name of every object
    #[arg(long, default_value = "kube-oidc-gateway")]
    pub name: String,
    /// Their namespace
    #[arg(long, default_value = "login")]
    pub namespace: String,
    /// The Secret of type kubernetes.io/tls with the serving certificate, in the same namespace
    #[arg(long, value_name = "SECRET", default_value = "kube-oidc-gateway-tls")]
    pub certificate: String,
    /// How many proxies before the gateway are believed in X-Forwarded-For
    #[arg(long, value_name = "N", default_value_t = 0)]
    trusted_hops: u32,
}

impl Pod {
    /// The inputs for the objects, with the documents read and checked.
    pub fn inputs(&self) -> Result<Inputs, Error> {
        let documents =
            documents(&self.authentication_config, self.gateway_config.as_deref(), self.rules)?;
        let documents = with_revocations(documents, self.revocations.as_deref())?;
        documents.fit(&Limits::default()).map_err(Error::Usage)?;
        let in_pod = |name: &str| PathBuf::from(SERVICE_ACCOUNT).join(name);
        let (host, port) = self.apiserver.clone();
        Ok(Inputs {
            directory: PathBuf::new(),
            // The control plane's own: a Gateway says where to listen, and with which certificate.
            options: Options {
                trusted_hops: self.trusted_hops,
                ..Options::new(([0, 0, 0, 0], 8443).into(), in_pod("none"))
            },
            serving: ServingCertificate { chain: in_pod("none"), key: in_pod("none") },
            apiserver: ApiServer {
                host,
                port,
                ca: Some(in_pod("ca.crt")),
                server_name: self.apiserver_server_name.clone(),
                credential: Credential::Token(in_pod("token")),
            },
            documents,
            leaving: Vec::new(),
            candidates: Candidates::default(),
            system_ca: PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
            issuer_certificate: None,
            admin_socket: in_pod("none"),
            access_log: PathBuf::from("/dev/stdout"),
            portal: None,
        })
    }
}

/// An OCI image, which may be written as Istio writes it: `oci://` before it says nothing more.
pub fn image(text: &str) -> Result<String, &'static str> {
    let image = text.strip_prefix("oci://").unwrap_or(text);
    if image.is_empty() || image.contains("://") || image.contains(char::is_whitespace) {
        return Err("must be an OCI image: HOST/REPOSITORY:TAG, with or without oci:// before it");
    }
    Ok(image.to_owned())
}

/// Prints objects as YAML documents.
pub fn print(objects: &[Value]) -> Result<(), Error> {
    for object in objects {
        let text = serde_saphyr::to_string(object)
            .map_err(|error| Error::Usage(format!("an object is no YAML: {error}")))?;
        print_text(format_args!("---\n{text}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It became `oci://oci://…`.
    #[test]
    fn an_image_may_have_its_scheme() {
        for (text, want) in [
            ("registry.example/filter:1", Some("registry.example/filter:1")),
            ("oci://registry.example/filter:1", Some("registry.example/filter:1")),
            ("oci://", None),
            ("", None),
            ("oci://oci://registry.example/filter:1", None),
            ("https://example.com/filter.wasm", None),
            ("a b", None),
        ] {
            assert_eq!(image(text).ok().as_deref(), want, "{text}");
        }
    }
}
