//! The subcommands.

mod complete;
mod convert;
mod describe;
mod doctor;
mod elevate;
mod error;
mod gateway;
mod get_token;
mod kuberc;
mod login;
mod logout;
mod setup;
mod standard;
mod status;
mod target;
mod whoami;

pub use error::CommandError;
pub use target::standalone_hint;

use standard::{print, print_all};

use crate::cli::{Cli, Command};

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
        Command::Elevate(flags) => elevate::run(&flags),
        Command::Logout(flags) => logout::run(&flags),
        Command::Status(flags) => status::run(&flags),
        Command::Clean(flags) => status::clean(&flags),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::definition(), "kubectl-oidc", &mut script);
            print_all(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            complete::man(&mut page)?;
            print_all(&page)
        }
        Command::Complete { words } => print(&complete::complete(&words)),
    }
}
