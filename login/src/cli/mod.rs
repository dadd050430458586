//! The command line: kubelogin's flags under their own names, ours beside them, an environment variable for each.
//!
//! These types mirror what was written, nothing is checked beyond its form; [`crate::settings`] makes settings of them.

mod flags;
mod ignored;
pub mod kubekey;

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use flags::{
    GrantType, IssuerFlags, LoginFlags, PkceMethod, StoreFlags, StoreKind, TrustFlags,
};
pub use ignored::IgnoredFlags;

/// Log in to Kubernetes with OpenID Connect, from kubectl, in a browser.
///
/// kubectl runs `get-token` for every command (an exec credential plugin). The token is kept in the keyring of the
/// operating system, renewed silently while the issuer allows it, and asked for in a browser otherwise.
///
/// Start with `kubectl oidc setup`.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-oidc",
    bin_name = "kubectl oidc",
    version,
    args_override_self = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// The clap command, for help, completions and the man page.
    #[must_use]
    pub fn definition() -> clap::Command {
        Self::command()
    }
}

/// The flags that an exec section of a kubeconfig amounts to: its arguments, with its environment where they are silent.
///
/// # Errors
/// clap's, if the arguments are no `get-token`.
pub fn parse_exec(
    arguments: Vec<String>,
    env: &[(String, String)],
) -> Result<GetToken, clap::Error> {
    let lookup = |name: &str| {
        let own = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        own.or_else(|| std::env::var(name).ok())
    };
    let arguments = arguments.into_iter().map(OsString::from).collect();
    let mut words = match kubekey::interpret(arguments, lookup) {
        kubekey::Call::Arguments(words) => words,
        kubekey::Call::Version | kubekey::Call::Help => vec!["get-token".into()],
    };
    words.insert(0, "kubectl-oidc".into());
    let definition = Cli::definition();
    let matches = definition.clone().try_get_matches_from(&words)?;
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = definition.find_subcommand(name)
    {
        for flag in command.get_arguments() {
            let variable = flag.get_env().and_then(|name| name.to_str());
            let value = variable.and_then(|name| env.iter().find(|(known, _)| known == name));
            let given =
                matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine);
            if let (Some(long), Some((_, value)), false) = (flag.get_long(), value, given) {
                words.push(format!("--{long}={value}").into());
            }
        }
    }
    match Cli::from_arg_matches(&definition.try_get_matches_from(words)?)?.command {
        Some(Command::GetToken(get_token)) => Ok(*get_token),
        _ => Err(Cli::definition().error(
            clap::error::ErrorKind::InvalidSubcommand,
            "the exec section does not call get-token",
        )),
    }
}

/// What `kubectl oidc` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a token for kubectl (the exec credential plugin)
    #[command(args_override_self = true)]
    GetToken(Box<GetToken>),
    /// Log in once and write cluster, user and context into the kubeconfig
    #[command(args_override_self = true)]
    Setup(Box<Setup>),
    /// Show who you are: claims, expiry, store, and what the cluster says
    #[command(args_override_self = true)]
    Whoami(Box<Whoami>),
    /// Forget a login: the stored token, the refresh token at the issuer, the session in the browser
    #[command(args_override_self = true)]
    Logout(Box<Logout>),
    /// List all stored logins
    #[command(args_override_self = true)]
    Status(Box<Status>),
    /// Forget all stored logins on this machine (the issuers are not told)
    #[command(args_override_self = true)]
    Clean(Box<Status>),
    /// Print a completion script for a shell
    Completion {
        /// The shell to complete in.
        shell: Shell,
    },
    /// Print the man page
    #[command(hide = true)]
    Man,
    /// Complete a command line, as kubectl's `kubectl_complete-oidc` is asked to
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The words so far, the last one incomplete.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

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
    /// Where to keep the token.
    #[command(flatten)]
    pub store: StoreFlags,
    /// How much to say.
    #[command(flatten)]
    pub verbosity: VerbosityFlag,
    /// Flags without effect.
    #[command(flatten)]
    pub ignored: IgnoredFlags,
}

/// `-v`, which may carry a level (kubelogin's form).
#[derive(Debug, Clone, Copy, Args)]
pub struct VerbosityFlag {
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
}

/// `get-token`
#[derive(Debug, Clone, Args)]
pub struct GetToken {
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// Refresh the token whatever its expiry
    #[arg(
        long, env = "KUBECTL_OIDC_FORCE_REFRESH", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub force_refresh: bool,
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
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
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
    /// Do not check the server's certificate [a security risk]
    #[arg(
        long, env = "KUBECTL_OIDC_CLUSTER_INSECURE_SKIP_TLS_VERIFY", num_args = 0..=1,
        require_equals = true, default_value_t = false, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
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
    #[arg(
        long, env = "KUBECTL_OIDC_KEEP_CURRENT_CONTEXT", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub keep_current_context: bool,
    /// Print what would be written, write nothing
    #[arg(
        long, env = "KUBECTL_OIDC_DRY_RUN", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
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
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
    /// Print the token too: whoever reads it can act as you until it expires
    #[arg(
        long, env = "KUBECTL_OIDC_SHOW_TOKEN", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub show_token: bool,
    /// Do not ask the cluster
    #[arg(
        long, env = "KUBECTL_OIDC_OFFLINE", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub offline: bool,
    /// Output format
    #[arg(long, short = 'o', env = "KUBECTL_OIDC_OUTPUT", value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// `logout`
#[derive(Debug, Clone, Args)]
pub struct Logout {
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
    /// Leave the session at the issuer: neither revoke the refresh token nor open the end-session page
    #[arg(
        long, env = "KUBECTL_OIDC_LOCAL", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub local: bool,
}

/// `status` and `clean`
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// Where to keep the token.
    #[command(flatten)]
    pub store: StoreFlags,
    /// Output format
    #[arg(long, short = 'o', env = "KUBECTL_OIDC_OUTPUT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// How much to say.
    #[command(flatten)]
    pub verbosity: VerbosityFlag,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::definition().debug_assert();
    }

    /// The rule that docs/login.md states: `--oidc-a-b` and `--a-b` are `KUBECTL_OIDC_A_B`.
    #[test]
    fn every_flag_has_its_environment_variable() {
        for command in Cli::definition().get_subcommands() {
            for flag in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = flag.get_long() else { continue };
                let name = long.strip_prefix("oidc-").unwrap_or(long);
                let want = format!("KUBECTL_OIDC_{}", name.replace('-', "_").to_uppercase());
                let env = flag.get_env().map(|env| env.to_string_lossy().into_owned());
                assert_eq!(env, Some(want), "{} --{long}", command.get_name());
            }
        }
    }

    fn get_token(args: &[&str]) -> GetToken {
        let words = ["kubectl-oidc", "get-token"].iter().chain(args);
        match Cli::try_parse_from(words).unwrap().command {
            Some(Command::GetToken(get_token)) => *get_token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_may_be_written_as_go_programs_take_them() {
        let flags = get_token(&[
            "--skip-open-browser=true", // Go's boolean flags
            "--oidc-use-pkce",
            "--oidc-extra-scope=openid profile groups email", // several in one value, as the Kanidm guide has it
            "--oidc-extra-scope=a,b",
            "--oidc-auth-request-extra-params=ttl=86400,prompt=login",
            "--listen-address=127.0.0.1:1,127.0.0.1:2",
            "--grant-type=authcode",
            "--grant-type=device-code", // a flag given twice: the last one counts
            "-v1",
            "--logtostderr=false",
        ]);
        assert!(flags.connect.login.skip_open_browser);
        assert!(flags.connect.issuer.oidc_use_pkce);
        assert_eq!(
            flags.connect.issuer.oidc_extra_scope,
            ["openid profile groups email", "a", "b"]
        );
        assert_eq!(flags.connect.issuer.oidc_auth_request_extra_params.len(), 2);
        assert_eq!(flags.connect.login.listen_address.len(), 2);
        assert_eq!(flags.connect.login.grant_type, GrantType::DeviceCode);
        assert_eq!(flags.connect.verbosity.level, 1);
    }

    #[test]
    fn an_exec_section_is_its_arguments_and_its_environment() {
        let env = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let given = words(&["get-token", "--oidc-issuer-url=https://i", "--oidc-client-id=c"]);
        let stanza = [("KUBECTL_OIDC_CLIENT_ID", "other"), ("KUBECTL_OIDC_CLIENT_SECRET", "s")];
        let found = parse_exec(given, &env(&stanza)).unwrap().connect.issuer;
        assert_eq!(found.oidc_client_id.as_deref(), Some("c"));
        assert_eq!(found.oidc_client_secret.as_deref(), Some("s"));

        let kubekeys = [("CLIENT_ID", "k"), ("IDP_ISSUER_URL", "https://j")];
        let found = parse_exec(Vec::new(), &env(&kubekeys)).unwrap().connect.issuer;
        assert_eq!(found.oidc_client_id.as_deref(), Some("k"));
        assert_eq!(found.oidc_issuer_url.as_deref(), Some("https://j"));
        assert!(parse_exec(words(&["status"]), &[]).is_err());
    }

    #[test]
    fn verbosity_takes_a_level_or_none() {
        for (args, want) in
            [(&["-v"][..], 1), (&["-v", "3"], 3), (&["-v=2"], 2), (&["--v=4"], 4), (&[], 0)]
        {
            assert_eq!(get_token(args).connect.verbosity.level, want, "{args:?}");
        }
    }
}
