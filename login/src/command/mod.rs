//! The subcommands.

mod complete;
mod convert;
mod describe;
mod doctor;
mod get_token;
mod kuberc;
mod login;
mod logout;
mod setup;
mod status;
mod target;
mod whoami;

pub use target::standalone_hint;

use std::io::{self, IsTerminal as _, Write as _};

use crate::cli::{Cli, Command};
use crate::cluster::ClusterError;
use crate::console::plain;
use crate::exec_credential::ExecInfoError;
use crate::issuer::IssuerError;
use crate::kubeconfig::KubeconfigError;
use crate::session::SessionError;
use crate::settings::SettingsError;
use crate::store::StoreError;

/// Why a command failed. Its text is one line for the person.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The flags.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// kubectl's request.
    #[error(transparent)]
    ExecInfo(#[from] ExecInfoError),
    /// No token.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The token store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kubeconfig.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// The issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Standard output is closed.
    #[error("standard output cannot be written: {}; does the program that reads it still run?", plain(.0))]
    Output(#[from] io::Error),
    /// Something else that the person should know, and a reason to end with an error.
    #[error("{0}")]
    Other(String),
}

/// Runs a command.
pub fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::GetToken(flags) => get_token::run(&flags),
        Command::Login(flags) => login::run(&flags),
        Command::Convert(flags) => convert::run(&flags),
        Command::Version(flags) => {
            let _ = flags.messages.console();
            print(concat!("kubectl-oidc ", env!("CARGO_PKG_VERSION")))
        }
        Command::Doctor(flags) => doctor::run(&flags),
        Command::Setup(flags) => setup::run(&flags),
        Command::Whoami(flags) => whoami::run(&flags),
        Command::Logout(flags) => logout::run(&flags),
        Command::Status(flags) => status::run(&flags),
        Command::Clean(flags) => status::clean(&flags),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::definition(), "kubectl-oidc", &mut script);
            Ok(io::stdout().lock().write_all(&script)?)
        }
        Command::Man => Ok(complete::man(&mut io::stdout().lock())?),
        Command::Complete { words } => print(&complete::complete(&words)),
    }
}

/// Writes a line to standard output.
fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Standard input is a person's.
fn has_terminal() -> bool {
    io::stdin().is_terminal()
}
