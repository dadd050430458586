//! The flags of each command.

use clap::{Args, ValueEnum};

use super::{
    Fingerprint, Given, IgnoredFlags, IssuerFlags, LoginFlags, MachineFlags, StoreFlags, TrustFlags,
};
use crate::console::Console;

/// All that leads to a token.
#[derive(Debug, Clone, Args)]
pub struct ConnectFlags {
    /// Which issuer, and as which client.
    #[command(flatten)]
    pub issuer: IssuerFlags,
    /// Whom to believe over TLS.
    #[command(flatten)]
    pub trust: TrustFlags,
    /// How to log in.
    #[command(flatten)]
    pub login: LoginFlags,
    /// How a machine logs in.
    #[command(flatten)]
    pub machine: MachineFlags,
    /// Where to keep the token.
    #[command(flatten)]
    pub store: StoreFlags,
    /// How much to say.
    #[command(flatten)]
    pub messages: MessageFlags,
}

/// How much to say: `-v`, which may carry a level (kubelogin's form), and the flags of kubelogin's log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Messages")]
pub struct MessageFlags {
    /// Say what is sent where, secrets masked
    #[arg(
        short = 'v',
        long = "v",
        visible_alias = "verbose",
        value_name = "LEVEL",
        num_args = 0..=1,
        default_value_t = 0,
        default_missing_value = "1",
        env = "KUBECTL_OIDC_V"
    )]
    pub level: u8,
    /// Say nothing but errors, and where to log in if no browser opened
    #[arg(long, env = "KUBECTL_OIDC_QUIET")]
    pub quiet: bool,
    /// Flags without effect.
    #[command(flatten)]
    pub ignored: IgnoredFlags,
}

impl MessageFlags {
    /// The way to the person. It tells, with `-v`, of flags that are taken for kubelogin's sake only.
    #[must_use]
    pub fn console(&self) -> Console {
        let console = Console::new(self.level, self.quiet);
        for flag in self.ignored.given() {
            console.trace(|| format!("{flag} changes nothing here"));
        }
        console
    }
}

/// `login`
#[derive(Debug, Clone, Args)]
pub struct Login {
    /// The flags that count before those of the kubeconfig.
    #[arg(skip)]
    pub given: Given,
    /// Name of the user in the kubeconfig, instead of a context's
    #[arg(long, env = "KUBECTL_OIDC_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// Log in even if the stored login is good
    #[arg(long, env = "KUBECTL_OIDC_FORCE")]
    pub force: bool,
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
}

/// `convert`
#[derive(Debug, Clone, Args)]
pub struct Convert {
    /// Write the kubeconfig; without it, only show what would change
    #[arg(long, env = "KUBECTL_OIDC_WRITE")]
    pub write: bool,
    /// Name of the user, instead of all
    #[arg(long, env = "KUBECTL_OIDC_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// Name of the context whose user it is, instead of all
    #[arg(long, env = "KUBECTL_OIDC_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Path of the kubeconfig (else $KUBECONFIG, else ~/.kube/config)
    #[arg(long, env = "KUBECTL_OIDC_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// How much to say.
    #[command(flatten)]
    pub messages: MessageFlags,
}

/// `doctor`
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Output format
    #[arg(long, short = 'o', env = "KUBECTL_OIDC_OUTPUT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
}

/// `version`
#[derive(Debug, Clone, Args)]
pub struct Version {
    /// How much to say.
    #[command(flatten)]
    pub messages: MessageFlags,
}

/// `get-token`
#[derive(Debug, Clone, Args)]
pub struct GetToken {
    /// Refresh the token whatever its expiry
    #[arg(long, env = "KUBECTL_OIDC_FORCE_REFRESH")]
    pub force_refresh: bool,
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
}

/// Which kubeconfig, and which of its contexts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubeconfig")]
pub struct KubeconfigFlags {
    /// Path of the kubeconfig (else $KUBECONFIG, else ~/.kube/config)
    #[arg(long, env = "KUBECTL_OIDC_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// Name of the context (else the current one)
    #[arg(long, env = "KUBECTL_OIDC_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

/// `setup`
#[derive(Debug, Clone, Args)]
pub struct Setup {
    /// The flags of `get-token` among those that were given.
    #[arg(skip)]
    pub given: Given,
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// URL of a gateway that says itself where to log in, and as which client
    #[arg(value_name = "GATEWAY")]
    pub gateway: Option<String>,
    /// Issuer URL, where the gateway names several
    #[arg(long, env = "KUBECTL_OIDC_ISSUER", value_name = "URL", help_heading = "Cluster")]
    pub issuer: Option<String>,
    /// Write what the gateway says without a question; where a secret or a password goes to its issuer, --issuer must name it
    #[arg(long, env = "KUBECTL_OIDC_YES", help_heading = "Cluster")]
    pub yes: bool,
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
}

/// The cluster that `setup` writes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterFlags {
    /// URL of the gateway or API server; without it, only the users stanza is printed
    #[arg(long, short = 's', env = "KUBECTL_OIDC_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// File with the CA certificates of the server
    #[arg(long, env = "KUBECTL_OIDC_CLUSTER_CERTIFICATE_AUTHORITY", value_name = "FILE")]
    pub cluster_certificate_authority: Option<String>,
    /// SHA-256 fingerprint of the server's CA certificate, in hexadecimal digits: of what the server shows, this one is believed
    #[arg(
        long,
        env = "KUBECTL_OIDC_CA_FINGERPRINT",
        value_name = "SHA256",
        value_parser = Fingerprint::read,
        conflicts_with_all = ["cluster_certificate_authority", "cluster_insecure_skip_tls_verify"]
    )]
    pub ca_fingerprint: Option<Fingerprint>,
    /// Do not check the server's certificate [a security risk]
    #[arg(long, env = "KUBECTL_OIDC_CLUSTER_INSECURE_SKIP_TLS_VERIFY")]
    pub cluster_insecure_skip_tls_verify: bool,
    /// Name of the cluster in the kubeconfig [default: the server's host]
    #[arg(long, env = "KUBECTL_OIDC_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,
    /// Name of the user in the kubeconfig [default: oidc-CLUSTER]
    #[arg(long, env = "KUBECTL_OIDC_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// Namespace of the context
    #[arg(long, short = 'n', env = "KUBECTL_OIDC_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Leave the current context as it is
    #[arg(long, env = "KUBECTL_OIDC_KEEP_CURRENT_CONTEXT")]
    pub keep_current_context: bool,
    /// Print what would be written, write nothing
    #[arg(long, env = "KUBECTL_OIDC_DRY_RUN")]
    pub dry_run: bool,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Lines for a person.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// `whoami`
#[derive(Debug, Clone, Args)]
pub struct Whoami {
    /// Print the token too: anyone who reads it can act as you until it expires
    #[arg(long, env = "KUBECTL_OIDC_SHOW_TOKEN")]
    pub show_token: bool,
    /// Do not ask the cluster
    #[arg(long, env = "KUBECTL_OIDC_OFFLINE")]
    pub offline: bool,
    /// Output format
    #[arg(long, short = 'o', env = "KUBECTL_OIDC_OUTPUT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
}

/// `logout`
#[derive(Debug, Clone, Args)]
pub struct Logout {
    /// Leave the session at the issuer: neither revoke the refresh token nor open the end-session page
    #[arg(long, env = "KUBECTL_OIDC_LOCAL")]
    pub local: bool,
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
}

/// `status` and `clean`
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// Output format
    #[arg(long, short = 'o', env = "KUBECTL_OIDC_OUTPUT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Where to keep the token.
    #[command(flatten)]
    pub store: StoreFlags,
    /// How much to say.
    #[command(flatten)]
    pub messages: MessageFlags,
}
