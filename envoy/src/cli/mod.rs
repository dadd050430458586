//! The command line.

mod cel;
mod check;
mod envoy;
mod fetch;
mod istio;
mod limits;
mod lint;
mod rbac;
mod render;
mod review;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use kube_oidc_gateway::{
    CheckError, RenderError, WriteError, istio::IstioError, lint::SourceError,
};

/// OpenID Connect login for a Kubernetes cluster: Envoy with a Wasm filter in front of kube-apiserver.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write Envoy's configuration files.
    ///
    /// Files that have changed are replaced by rename: an Envoy that runs with them takes the new ones at once, except
    /// envoy.yaml. Prints the command line that starts Envoy with them.
    Render(Box<render::Render>),
    Check(check::Check),
    Review(review::Review),
    Cel(cel::Cel),
    Lint(lint::Lint),
    Rbac(rbac::Rbac),
    Istio(istio::Istio),
}

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration file says something that is not allowed.
    #[error("{path}: {reason}")]
    Document {
        /// The file.
        path: String,
        /// What is wrong, in one line.
        reason: String,
    },
    /// A flag that has no value, and no place to take it from.
    #[error("{0}")]
    Usage(String),
    /// See [`RenderError`].
    #[error(transparent)]
    Render(#[from] RenderError),
    /// See [`WriteError`].
    #[error(transparent)]
    Write(#[from] WriteError),
    /// See [`CheckError`].
    #[error(transparent)]
    Check(#[from] CheckError),
    /// See [`SourceError`].
    #[error(transparent)]
    Lint(#[from] SourceError),
    /// See [`IstioError`].
    #[error(transparent)]
    Istio(#[from] IstioError),
}

impl Arguments {
    /// What the program exits with if it cannot do it. `review` keeps 1 for "not authenticated", `lint` for findings.
    pub fn failure(&self) -> ExitCode {
        match self.command {
            Command::Review(_) | Command::Lint(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// Does what the command line asks for.
    pub fn run(self) -> Result<ExitCode, Error> {
        match self.command {
            Command::Render(render) => render.run().map(|()| ExitCode::SUCCESS),
            Command::Check(check) => check.run(),
            Command::Review(review) => review.run(),
            Command::Cel(cel) => cel.run(),
            Command::Lint(lint) => lint.run(),
            Command::Rbac(rbac) => rbac.run(),
            Command::Istio(istio) => istio.run().map(|()| ExitCode::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_flag_explained() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands() {
            for argument in subcommand.get_arguments() {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
        }
    }
}
