//! `kube-oidc-gateway render`

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use gateway_client::{SERVICE_ACCOUNT, pod_endpoint};
use gateway_config::{
    ApiServer, Candidates, Credential, DocumentError, Documents, FilterForm, Inputs, Limits,
    Options, ServingCertificate, parse_gateway, parse_revocations, render, traces::TracesFlags,
};
use gateway_control::{check, check_modules, write};
use gateway_core::config::GatewayConfiguration;
use gateway_lint::envoy_version::{Version, check_native, tested};
use gateway_net::{Host, Prefix, Proxies, endpoint, range};
use kube_oidc_gateway::portal::Place;

use super::{
    envoy,
    error::Error,
    files::{absolute, read, traced},
    modules::FilterFlags,
    output::{print, say},
    portal::beside,
    rules::RulesFlag,
};

#[derive(Debug, Args)]
pub struct Render {
    /// The directory for the files; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Ask Envoy about the files first and write nothing if it refuses them: needs every file that the flags name
    #[arg(long)]
    check: bool,
    /// The Envoy binary that will have the files: refused if its version is known to be vulnerable [default for --check: envoy in PATH]
    #[arg(long, visible_alias = "envoy", value_name = "FILE", env = "ENVOY_BIN")]
    envoy_binary: Option<PathBuf>,
    /// The version of Envoy that will have the files, if its binary is not here: refused if it is known to be vulnerable
    #[arg(long, value_name = "MAJOR.MINOR.PATCH")]
    envoy_version: Option<Version>,
    #[command(flatten)]
    gateway: GatewayFlags,
}

/// What a gateway is made of.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct GatewayFlags {
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
    /// A portal on the same port, under a name of its own: a PortalConfiguration
    #[arg(long, value_name = "FILE")]
    portal_config: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterFlags,
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:6443")]
    listen: SocketAddr,
    /// The certificate chain that clients see (PEM)
    #[arg(long, value_name = "FILE")]
    tls_cert_file: PathBuf,
    /// Its private key (PEM), in the same directory
    #[arg(long, value_name = "FILE")]
    tls_private_key_file: PathBuf,
    /// kube-apiserver's address [default: that of the pod's environment]
    #[arg(long, value_name = "https://HOST[:PORT]", value_parser = |url: &str| endpoint(url))]
    apiserver: Option<(Host, u16)>,
    /// The CA bundle that signed kube-apiserver's certificate (PEM) [default: the pod's]
    #[arg(long, value_name = "FILE")]
    apiserver_ca_file: Option<PathBuf>,
    /// The name in kube-apiserver's certificate, if it is not that of its address
    #[arg(long, value_name = "NAME")]
    apiserver_server_name: Option<Host>,
    /// The token of the gateway's ServiceAccount [default: the pod's]
    #[arg(long, value_name = "FILE")]
    apiserver_token_file: Option<PathBuf>,
    /// The CA bundle for issuers without one of their own (PEM)
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    system_ca_file: PathBuf,
    /// Worker threads [default: one for each CPU]
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Envoy's admin interface, a Unix socket [default: admin.sock beside the files]
    #[arg(long, value_name = "FILE")]
    admin_socket: Option<PathBuf>,
    /// Where Envoy writes one JSON line a request
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout")]
    access_log: PathBuf,
    /// How many proxies before Envoy are believed in X-Forwarded-For
    #[arg(long, value_name = "N", default_value_t = 0)]
    trusted_hops: u32,
    /// The proxies that are believed in X-Forwarded-For, by their addresses
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = range, conflicts_with = "trusted_hops")]
    trusted_proxies: Vec<Prefix>,
    /// The balancers that speak the PROXY protocol, by their addresses: nobody else gets in
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = range)]
    proxy_protocol: Vec<Prefix>,
    #[command(flatten)]
    traces: TracesFlags,
    #[command(flatten)]
    limits: Limits,
}

impl Render {
    pub fn run(self) -> Result<(), Error> {
        let inputs = self.gateway.inputs(&self.out)?;
        let rendered = render(&inputs)?;
        let directory = &inputs.directory;
        let envoy =
            if self.check { Some(envoy::find(self.envoy_binary)?) } else { self.envoy_binary };
        let version = envoy::version(envoy.as_deref(), self.envoy_version)?;
        if inputs.options.form == FilterForm::Native && version.is_some() {
            check_native(version)?;
        }
        // The files may be for another machine.
        if inputs.options.filter.is_file() {
            check_modules(&inputs.options, envoy.as_deref())
                .map_err(|error| Error::Usage(error.to_string()))?;
        }
        if let Some(envoy) = envoy.as_deref().filter(|_| self.check) {
            check(&rendered, envoy, directory)?;
        }
        let written = write(&rendered, directory)?;
        for name in &written {
            say(format_args!("wrote {}", directory.join(name).display()));
        }
        if version.is_none() && !written.is_empty() {
            say(envoy::unknown());
            if inputs.options.form == FilterForm::Native {
                say(format_args!("the native filter runs with Envoy {} alone", tested()));
            }
        }
        let words = rendered.arguments(directory);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        for variable in inputs.variables() {
            say(format_args!(
                "Envoy needs {variable} in its environment: `kube-oidc-gateway secrets` prints it"
            ));
        }
        print(format_args!("envoy {}", words.join(" ")))
    }
}

impl GatewayFlags {
    /// The inputs for files that will lie in `directory`.
    pub fn inputs(self, directory: &Path) -> Result<Inputs, Error> {
        let documents =
            documents(&self.authentication_config, self.gateway_config.as_deref(), self.rules)?
                .through(&proxies())
                .map_err(|error| Error::Usage(error.to_string()))?;
        let documents = match documents.proxy() {
            Some(server) if !server.is_plain() => documents.without_proxy().map_err(|url| {
                Error::Usage(format!(
                    "HTTPS_PROXY: {url:?} is behind a proxy to which `run` alone can lead: Envoy itself speaks to http:// without a password"
                ))
            })?,
            _ => documents,
        };
        let documents = with_revocations(documents, self.revocations.as_deref())?;
        let (host, port) = self.apiserver.or_else(pod_endpoint).ok_or_else(|| {
            Error::Usage("--apiserver is needed outside of a pod of the cluster".to_owned())
        })?;
        let pod_file = |name| Path::new(SERVICE_ACCOUNT).join(name);
        documents.fit(&self.limits).map_err(Error::Usage)?;
        let directory = absolute(directory)?;
        let module = self.filter.module()?;
        let access_log = absolute(&self.access_log)?;
        let portal = self.portal_config.as_deref().map(|file| {
            let portal = beside::read(file)?;
            let (filter, access_log) = (self.filter.wasm()?, access_log.clone());
            let (_, ring) = portal.keys()?;
            let documents = Some(&documents);
            let place = Place { documents, filter, access_log, grants: false, sessions: false };
            Ok::<_, Error>(portal.part(place, ring)?)
        });
        let portal = portal.transpose()?;
        Ok(Inputs {
            options: Options {
                form: self.filter.filter_form,
                concurrency: self.concurrency,
                trusted_hops: self.trusted_hops,
                trusted_proxies: self.trusted_proxies,
                proxy_protocol: self.proxy_protocol,
                traces: traced(self.traces)?,
                limits: self.limits,
                ..Options::new(self.listen, module)
            },
            serving: ServingCertificate {
                chain: absolute(&self.tls_cert_file)?,
                key: absolute(&self.tls_private_key_file)?,
            },
            apiserver: ApiServer {
                host,
                port,
                ca: Some(absolute(&self.apiserver_ca_file.unwrap_or_else(|| pod_file("ca.crt")))?),
                server_name: self.apiserver_server_name,
                credential: Credential::Token(absolute(
                    &self.apiserver_token_file.unwrap_or_else(|| pod_file("token")),
                )?),
            },
            documents,
            leaving: Vec::new(),
            candidates: Candidates::default(),
            system_ca: absolute(&self.system_ca_file)?,
            issuer_certificate: None,
            admin_socket: match self.admin_socket {
                Some(path) => absolute(&path)?,
                None => directory.join("admin.sock"),
            },
            access_log,
            portal,
            directory,
        })
    }
}

/// The `GatewayConfiguration` of a file, which has the field that `--kubernetes-rules` stands for.
pub(super) fn gateway(path: &Path, rules: RulesFlag) -> Result<GatewayConfiguration, Error> {
    if rules.kubernetes_rules.is_some() {
        let text = "--gateway-config and --kubernetes-rules exclude each other: the file has the field kubernetesRules";
        return Err(Error::Usage(text.to_owned()));
    }
    parse_gateway(&read(path)?).map_err(|error| {
        let (DocumentError::Authentication(reason) | DocumentError::Gateway(reason)) = error;
        Error::Document { path: path.display().to_string(), reason }
    })
}

/// The documents that flags name.
pub(super) fn documents(
    authentication: &Path,
    gateway_file: Option<&Path>,
    rules: RulesFlag,
) -> Result<Documents, Error> {
    let refused = |error: DocumentError| {
        let (DocumentError::Authentication(reason) | DocumentError::Gateway(reason)) = error;
        Error::Document { path: authentication.display().to_string(), reason }
    };
    let settings = match gateway_file {
        Some(path) => gateway(path, rules)?,
        None => GatewayConfiguration {
            kubernetes_rules: rules.rules(),
            ..GatewayConfiguration::default()
        },
    };
    let documents = Documents::with_gateway(&read(authentication)?, settings).map_err(refused)?;
    for warning in documents.warnings() {
        say(format_args!("{}: warning: {warning}", authentication.display()));
    }
    Ok(documents)
}

/// The documents with one that says whose access has ended, where nobody runs beside Envoy who could follow it.
pub(super) fn with_revocations(
    documents: Documents,
    file: Option<&Path>,
) -> Result<Documents, Error> {
    if !documents.gateway().logout.path.is_empty() {
        let text =
            "logout.path: Invalid value: logout tokens are taken by `kube-oidc-gateway run` alone";
        return Err(Error::Usage(text.to_owned()));
    }
    let read = |path: &Path| {
        let refused = |reason: String| Error::Document { path: path.display().to_string(), reason };
        parse_revocations(&read(path)?).map_err(refused)
    };
    Ok(documents.with_revocations(file.map(read).transpose()?))
}

/// The proxy to issuers, by `HTTPS_PROXY` and `NO_PROXY`.
pub(super) fn proxies() -> Proxies {
    Proxies::read(|name| env::var(name).ok())
}
