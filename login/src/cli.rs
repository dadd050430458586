//! The command line: kubelogin's flags under their own names, ours beside them, an environment variable for each.
//!
//! These types mirror what was written, nothing is checked beyond its form; [`crate::settings`] makes settings of them.

mod commands;
mod elevate;
mod exec;
mod fingerprint;
mod flags;
mod given;
pub mod go;
mod ignored;
pub mod kubekey;
mod machine;
mod secrets;

use std::ffi::OsString;

use clap::{
    Arg, ArgAction, Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::BoolishValueParser,
};
use clap_complete::Shell;

pub use commands::{
    ClusterFlags, ConnectFlags, Convert, Doctor, GetToken, KubeconfigFlags, Login, Logout,
    MessageFlags, OutputFormat, Setup, Status, Version, Whoami,
};
pub use elevate::{Elevate, Step};
pub use exec::parse_exec;
pub use fingerprint::Fingerprint;
pub use flags::{
    GrantType, IssuerFlags, LoginFlags, PkceMethod, StoreFlags, StoreKind, TrustFlags,
};
pub use given::Given;
pub use ignored::IgnoredFlags;
pub use machine::MachineFlags;
pub use secrets::{is_secret_flag, is_secret_name, is_secret_variable, taken_out};

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
    /// The clap command, for parsing, help, completions and the man page.
    #[must_use]
    pub fn definition() -> clap::Command {
        Self::command().mut_subcommands(|command| command.mut_args(as_go_takes_it))
    }

    /// Reads a command line, the program's name included.
    ///
    /// # Errors
    /// clap's; asking for help is one too.
    pub fn read<W: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<Self, clap::Error> {
        let words = command_first(words.into_iter().map(Into::into).collect());
        if let Some(get_token) = quickly(&words) {
            return Ok(Self { command: Some(Command::GetToken(Box::new(get_token))) });
        }
        let matches = Self::definition().try_get_matches_from(words)?;
        let mut parsed = Self::from_arg_matches(&matches)?;
        let of_command = matches.subcommand().map(|(_, matches)| matches);
        let given = || {
            let definition = Self::definition();
            of_command.map(|matches| Given::of(&definition, matches)).unwrap_or_default()
        };
        match &mut parsed.command {
            Some(Command::Setup(setup)) => setup.given = given(),
            Some(Command::Login(login)) => login.given = given(),
            _ => {}
        }
        Ok(parsed)
    }
}

/// `get-token` by a definition of its flags alone: kubectl waits for it at every command, and to define all commands takes longer than
/// all else that is done then. `None` for another command, and for whatever is to be told, which the whole definition tells.
fn quickly(words: &[OsString]) -> Option<GetToken> {
    let (command, flags) = words.get(1..)?.split_first()?;
    if command != "get-token" {
        return None;
    }
    let definition = clap::Command::new("get-token").no_binary_name(true).args_override_self(true);
    let definition = GetToken::augment_args(definition).mut_args(as_go_takes_it);
    let matches = definition.try_get_matches_from(flags).ok()?;
    GetToken::from_arg_matches(&matches).ok()
}

/// The words with the command before its flags: kubelogin takes those of its log in front of it, too. Flags without a command
/// are kubelogin's own login, which is `login` here.
fn command_first(mut words: Vec<OsString>) -> Vec<OsString> {
    let is_flag = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    let asks = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|own| word == own);
    match words.get(1) {
        Some(first) if is_flag(first) && !asks(first) => {}
        _ => return words,
    }
    let definition = Cli::definition();
    let login = definition.find_subcommand("login");
    let takes_value = |word: &OsString| {
        let name = word.to_str().and_then(|word| word.strip_prefix("--"));
        let flag = login.and_then(|login| {
            login.get_arguments().find(|flag| flag.get_long() == name && name.is_some())
        });
        flag.is_some_and(|flag| flag.get_action().takes_values() && !flag.is_require_equals_set())
    };
    let is_command = |at: usize| {
        let word = words.get(at).and_then(|word| word.to_str());
        word.is_some_and(|word| definition.find_subcommand(word).is_some())
            && !words.get(at - 1).is_some_and(takes_value)
    };
    let found = (2..words.len()).find(|at| is_command(*at));
    let command = match found {
        Some(at) => words.remove(at),
        None => "login".into(),
    };
    words.insert(1, command);
    words
}

/// Go programs take `--flag`, `--flag=true` and `--flag=false`, and kubeconfigs have all three.
fn as_go_takes_it(flag: Arg) -> Arg {
    if !matches!(flag.get_action(), ArgAction::SetTrue) {
        return flag;
    }
    flag.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_parser(BoolishValueParser::new())
        .value_name("BOOL")
        .hide_default_value(true)
        .hide_possible_values(true)
}

/// What `kubectl oidc` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a token for kubectl (the exec credential plugin)
    #[command(args_override_self = true)]
    GetToken(Box<GetToken>),
    /// Log in now, as the kubeconfig's context does
    #[command(args_override_self = true)]
    Login(Box<Login>),
    /// Log in once and write cluster, user and context into the kubeconfig
    #[command(
        args_override_self = true,
        before_help = "Examples:\n  kubectl oidc setup https://gateway.example.com\n  kubectl oidc setup --server https://gateway.example.com \\\n    --oidc-issuer-url https://login.example.com/realms/staff --oidc-client-id kubernetes\n\nA gateway may say itself where to log in. Where it does not, --server, --oidc-issuer-url and --oidc-client-id are what most need; all else has a default."
    )]
    Setup(Box<Setup>),
    /// Show who you are: claims, expiry, store, and what the cluster says
    #[command(args_override_self = true)]
    Whoami(Box<Whoami>),
    /// Have groups for a while: ask for them, agree to what others ask for, end what is lent
    #[command(args_override_self = true)]
    Elevate(Box<Elevate>),
    /// Forget a login: the stored token, the refresh token at the issuer, the session in the browser
    #[command(args_override_self = true)]
    Logout(Box<Logout>),
    /// List all stored logins
    #[command(args_override_self = true)]
    Status(Box<Status>),
    /// Forget all stored logins on this machine (the issuers are not told)
    #[command(args_override_self = true)]
    Clean(Box<Status>),
    /// Rewrite the kubeconfig's entries of kubelogin, Azure's kubelogin, kubekey and auth-provider for this program
    #[command(args_override_self = true)]
    Convert(Box<Convert>),
    /// Try everything that a login depends on: clock, proxy, certificates, keyring, ports, redirect URI, scopes, the cluster
    #[command(args_override_self = true)]
    Doctor(Box<Doctor>),
    /// Print the version
    #[command(args_override_self = true)]
    Version(Box<Version>),
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
        match Cli::read(words).unwrap().command {
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
        assert_eq!(go::merged(&flags.connect.issuer.oidc_auth_request_extra_params).len(), 2);
        assert_eq!(flags.connect.login.listen_address.len(), 2);
        assert_eq!(flags.connect.login.grant_type, GrantType::DeviceCode);
        assert_eq!(flags.connect.messages.level, 1);
    }

    #[test]
    fn verbosity_takes_a_level_or_none() {
        for (args, want) in
            [(&["-v"][..], 1), (&["-v", "3"], 3), (&["-v=2"], 2), (&["--v=4"], 4), (&[], 0)]
        {
            assert_eq!(get_token(args).connect.messages.level, want, "{args:?}");
        }
    }

    /// The short way and the long one are one way.
    #[test]
    fn get_token_is_read_the_same_by_its_own_definition() {
        for flags in [
            &["--oidc-issuer-url=https://i", "--oidc-use-pkce", "--skip-open-browser=false"][..],
            &["--grant-type=authcode", "--grant-type=device-code", "-v1", "--logtostderr"],
            &["--listen-address=a:1,b:2", "--oidc-extra-scope", "a b", "--oidc-extra-scope=c"],
            &[],
        ] {
            let words: Vec<OsString> =
                ["kubectl-oidc", "get-token"].iter().chain(flags).map(OsString::from).collect();
            let quick = quickly(&words).unwrap();
            let matches = Cli::definition().try_get_matches_from(&words).unwrap();
            let Some(Command::GetToken(whole)) = Cli::from_arg_matches(&matches).unwrap().command
            else {
                panic!("{words:?}")
            };
            assert_eq!(format!("{quick:?}"), format!("{whole:?}"), "{flags:?}");
        }
        for told in [&["get-token", "--help"][..], &["get-token", "--nothing"], &["status"], &[]] {
            let words: Vec<_> = ["kubectl-oidc"].iter().chain(told).map(OsString::from).collect();
            assert!(quickly(&words).is_none(), "{told:?}");
        }
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        for (words, want) in [
            (&["-v1", "get-token", "--oidc-client-id=c"][..], "get-token -v1 --oidc-client-id=c"),
            (&["-v", "2", "get-token"], "get-token -v 2"),
            (&["--log_dir", "login", "get-token"], "get-token --log_dir login"),
            (&["--logtostderr", "clean"], "clean --logtostderr"),
            (&["--kubeconfig", "k", "--context=x"], "login --kubeconfig k --context=x"),
            (&["--context", "setup"], "login --context setup"),
            (&["--help"], "--help"),
            (&["get-token", "-v"], "get-token -v"),
            (&[], ""),
        ] {
            let words = ["kubectl-oidc"].iter().chain(words).map(OsString::from).collect();
            let found = command_first(words);
            let found: Vec<_> = found[1..].iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(found.join(" "), want);
        }
    }
}
