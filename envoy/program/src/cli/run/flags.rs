//! The flags of kube-oidc-proxy, of all its forks, with their defaults. What they do is in [`super::settings`].
#![expect(
    clippy::doc_markdown,
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "fields are flags and their comments what --help prints"
)]

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;
use gateway_client::SERVICE_ACCOUNT;
use gateway_config::{TlsVersion, duration};
use gateway_net::{Prefix, range};
use kube_authn::Rules;

use super::{go, tls};
use crate::cli::{log::LogFormat, modules::FilterFlags};

/// What the proxy does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Proxy")]
pub struct Proxy {
    /// Send requests on with the user's own token, verified, instead of impersonating the user
    #[arg(long)]
    pub disable_impersonation: bool,
    /// Tell the API server the client's address, as the extra remote-client-ip
    #[arg(long)]
    pub extra_user_header_client_ip: bool,
    /// Extras that every request carries; a key may repeat
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = go::pair)]
    pub extra_user_headers: Vec<(String, String)>,
    /// Ask the API server about tokens that no configured issuer claims (TokenReview), and send them on as they are
    #[arg(long)]
    pub token_passthrough: bool,
    /// The audiences to ask for; none means the API server's own
    #[arg(long, value_name = "AUDIENCE,...", value_delimiter = ',')]
    pub token_passthrough_audiences: Vec<String>,
    /// Groups beginning with system: that a token may carry
    #[arg(long, value_name = "GROUP,...", value_delimiter = ',')]
    pub allow_reserved_groups: Vec<String>,
    /// The origins whose pages may use the API from a browser (CORS): regular expressions, as kube-apiserver has them
    #[arg(long, value_name = "REGEXP,...", value_delimiter = ',')]
    pub cors_allowed_origins: Vec<String>,
    /// The URL under which clients reach the gateway: it then tells strangers where to log in (RFC 9728)
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub protected_resource_url: String,
    /// What the cluster is called there, for the kubeconfigs of users
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub protected_resource_cluster_name: String,
    /// What all reviews of one request may take together
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub subject_access_review_timeout: Duration,
    /// The proxies that are believed in X-Forwarded-For, by their addresses
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = range)]
    pub trusted_proxies: Vec<Prefix>,
    /// The port for probes and metrics
    #[arg(long, short = 'P', value_name = "PORT", default_value_t = 8080)]
    pub readiness_probe_port: u16,
    /// Be ready with the keys of every issuer only, not with those of one
    #[arg(long)]
    pub readiness_require_all_issuers: bool,
    /// Issuers and rules: an AuthenticationConfiguration as kube-apiserver takes it, instead of the --oidc- flags
    #[arg(long, value_name = "FILE")]
    pub authentication_config: Option<PathBuf>,
}

/// The one issuer of those who give no file.
#[derive(Debug, Args)]
#[command(next_help_heading = "OpenID Connect")]
pub struct Oidc {
    /// The issuer, https
    #[arg(long, value_name = "URL")]
    pub oidc_issuer_url: Option<String>,
    /// The audience that tokens must have
    #[arg(long, value_name = "ID")]
    pub oidc_client_id: Option<String>,
    /// The CA bundle for the issuer (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
    /// The claim with the user's name
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    pub oidc_username_claim: String,
    /// What is put before the user's name; - for nothing [default: the issuer and #, nothing for the claim email]
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub oidc_username_prefix: String,
    /// The claim with the user's groups [default: no groups]
    #[arg(long, value_name = "CLAIM", default_value = "", hide_default_value = true)]
    pub oidc_groups_claim: String,
    /// What is put before each group
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub oidc_groups_prefix: String,
    /// A claim that a token must have with that value; repeatable
    #[arg(long, value_name = "CLAIM=VALUE", value_parser = go::pair)]
    pub oidc_required_claim: Vec<(String, String)>,
    /// The algorithms that a token may be signed with
    #[arg(long, value_name = "ALG,...", value_delimiter = ',', default_value = "RS256")]
    pub oidc_signing_algs: Vec<String>,
    /// A client certificate for the issuer (PEM)
    #[arg(long, value_name = "FILE", requires = "oidc_tls_client_key_file")]
    pub oidc_tls_client_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "oidc_tls_client_cert_file")]
    pub oidc_tls_client_key_file: Option<PathBuf>,
}

/// What clients meet.
#[derive(Debug, Args)]
#[command(next_help_heading = "Serving")]
pub struct Serving {
    /// The address that clients connect to
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// The port that clients connect to
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub secure_port: u16,
    /// Where a self-signed certificate is kept if none is given
    #[arg(long, value_name = "DIR", default_value = "/var/run/kubernetes")]
    pub cert_dir: PathBuf,
    /// The certificate chain that clients see (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// A certificate for clients that ask for some names [default names: those in it]; repeatable
    #[arg(long, value_name = "CERT,KEY[:NAME,...]")]
    pub tls_sni_cert_key: Vec<String>,
    /// The least version of TLS [default: VersionTLS12]
    #[arg(long, value_name = "VERSION", value_parser = tls::version)]
    pub tls_min_version: Option<TlsVersion>,
    /// The cipher suites for TLS 1.2, by Go's names [default: Envoy's]
    #[arg(long, value_name = "SUITE,...", value_delimiter = ',')]
    pub tls_cipher_suites: Vec<String>,
    /// The key exchanges, by Go's names or numbers, the preferred first [default: Envoy's]
    #[arg(long, value_name = "CURVE,...", value_delimiter = ',')]
    pub tls_curve_preferences: Vec<String>,
    /// Offer HTTP/1.1 only
    #[arg(long)]
    pub disable_http2_serving: bool,
    /// Requests at once on one HTTP/2 connection; 0 for the default, 100
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub http2_max_streams_per_connection: u32,
    /// Listen though another process of the same user listens there (SO_REUSEPORT)
    #[arg(long)]
    pub permit_port_sharing: bool,
    /// Has no effect: addresses are always shared (SO_REUSEADDR)
    #[arg(long, hide = true)]
    pub permit_address_sharing: bool,
}

/// The way to the API server; none of it is needed in a pod of the cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "API server")]
pub struct Client {
    /// A kubeconfig
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context to use
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig's cluster to use
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The kubeconfig's user to use
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The API server's address
    #[arg(long, short, value_name = "https://HOST[:PORT]")]
    pub server: Option<String>,
    /// The CA bundle that signed its certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// The gateway's client certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// The gateway's token. A file, as a kubeconfig's tokenFile, keeps it out of the list of processes
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Accept any certificate of the API server
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// The name in the API server's certificate, if it is not that of its address
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// What a request may take; watches, followed logs and upgrades are not bound by it. 0 for no limit
    #[arg(long, value_name = "DURATION", default_value = "0")]
    pub request_timeout: String,
}

/// What is taken and does nothing, with one warning.
#[derive(Debug, Args)]
#[command(next_help_heading = "Without effect")]
pub struct Ignored {
    /// Envoy sends data on as it comes
    #[arg(long, value_name = "DURATION", hide = true)]
    pub flush_interval: Option<String>,
    /// Envoy does not limit its own requests
    #[arg(long, value_name = "QPS", hide = true)]
    pub kube_client_qps: Option<String>,
    /// Envoy does not limit its own requests
    #[arg(long, value_name = "N", hide = true)]
    pub kube_client_burst: Option<String>,
    /// Envoy leaves compression to client and API server
    #[arg(long, hide = true)]
    pub disable_compression: bool,
    /// A gateway has no namespace
    #[arg(long, short, value_name = "NAME", hide = true)]
    pub namespace: Option<String>,
    /// The gateway impersonates its users
    #[arg(long = "as", value_name = "USER", hide = true)]
    pub impersonate: Option<String>,
    /// The gateway impersonates its users
    #[arg(long, value_name = "GROUP", hide = true)]
    pub as_group: Vec<String>,
    /// The gateway impersonates its users
    #[arg(long, value_name = "UID", hide = true)]
    pub as_uid: Option<String>,
    /// The gateway impersonates its users
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    pub as_user_extra: Vec<String>,
    /// Envoy's log has levels, not modules
    #[arg(long, value_name = "PATTERN=N,...", hide = true)]
    pub vmodule: Option<String>,
    /// Logs are written at once
    #[arg(long, value_name = "DURATION", hide = true)]
    pub log_flush_frequency: Option<String>,
}

/// What kube-oidc-proxy has not.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateway")]
pub struct Own {
    /// The gateway's own settings: a GatewayConfiguration, instead of the flags for the same
    #[arg(long, value_name = "FILE")]
    pub gateway_config: Option<PathBuf>,
    /// The minor version of Kubernetes whose rules are applied: 1.36, 1.37 or 1.38 (as of its beta) [default: 1.37]
    #[arg(long, value_name = "MINOR")]
    pub kubernetes_rules: Option<Rules>,
    /// A portal on the same port, under a name of its own: a PortalConfiguration
    #[arg(long, value_name = "FILE")]
    pub portal_config: Option<PathBuf>,
    /// Whose access has ended: a Revocations document. A change is live within two seconds
    #[arg(long, value_name = "FILE", conflicts_with = "revocations_configmap")]
    pub revocations: Option<PathBuf>,
    /// The same in a ConfigMap of the gateway's own namespace, under the key revocations.yaml
    #[arg(long, value_name = "NAME")]
    pub revocations_configmap: Option<String>,
    /// What is lent to whom: a Grants document, which this program writes. Needs a portal, where groups are asked for
    #[arg(long, value_name = "FILE", conflicts_with = "grants_configmap")]
    pub grants: Option<PathBuf>,
    /// The same in a ConfigMap of the gateway's own namespace, under the key grants.json
    #[arg(long, value_name = "NAME")]
    pub grants_configmap: Option<String>,
    /// A kubeconfig that names a server, which is told when groups are asked for, agreed to, refused and ended
    #[arg(long, value_name = "FILE", requires = "elevation_webhook_secret_file")]
    pub elevation_webhook_config_file: Option<PathBuf>,
    /// The key of the signature in what it is told, of at least 32 bytes
    #[arg(long, value_name = "FILE", requires = "elevation_webhook_config_file")]
    pub elevation_webhook_secret_file: Option<PathBuf>,
    /// Envoy's program [default: envoy in PATH]
    #[arg(long, visible_alias = "envoy", value_name = "FILE", env = "ENVOY_BIN")]
    pub envoy_binary: Option<PathBuf>,
    /// Start Envoy though its version has a known hole, with a warning that names it. For tests of this project, never for use
    #[arg(long)]
    pub allow_vulnerable_envoy: bool,
    #[command(flatten)]
    pub filter: FilterFlags,
    /// The folder that this program writes to: an emptyDir will do
    #[arg(long, value_name = "DIR", default_value = "/run/kube-oidc-gateway")]
    pub run_dir: PathBuf,
    /// The CA bundle for issuers without one of their own (PEM)
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    pub system_ca_file: PathBuf,
    /// The balancers that begin each connection with a header of the PROXY protocol, by their addresses: nobody else gets in
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = range)]
    pub proxy_protocol: Vec<Prefix>,
    /// The address for probes and metrics
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub readiness_probe_address: IpAddr,
    /// Be ready though a right is missing that the configuration needs
    #[arg(long, value_name = "BOOL", default_value = "true", value_parser = go::boolean, action = clap::ArgAction::Set)]
    pub readiness_require_rights: bool,
    /// Worker threads [default: one for each CPU]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u32>,
    /// How many proxies before Envoy are believed in X-Forwarded-For
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "trusted_proxies")]
    pub trusted_hops: u32,
    /// Where the pod's ServiceAccount is: token and ca.crt
    #[arg(long, value_name = "DIR", default_value = SERVICE_ACCOUNT)]
    pub service_account_dir: PathBuf,
    /// How long to go on, unready, after being told to end: for load balancers to notice
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub shutdown_delay_duration: Duration,
    /// How long clients are then asked to leave before they are cut
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_duration: Duration,
    /// The form of this program's own lines on standard error
    #[arg(long, value_enum, value_name = "FORM", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// How much is logged: up to 1 warnings, 2 and 3 what happens, 4 and 5 details, more everything
    #[arg(long = "v", short = 'v', value_name = "N", default_value_t = 0)]
    pub verbosity: i32,
}
