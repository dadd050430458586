//! The program `sandbox`: see `sandbox --help`.

mod demo;
mod up;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use sandbox::{
    Error, Result,
    assets::{self, Assets, Kubernetes, Progress},
};

/// A whole cluster on this machine, with the gateway in front of it: etcd, kube-apiserver, a node, an OpenID provider, and
/// Envoy with the filter, as processes on 127.0.0.1.
#[derive(Parser)]
#[command(version, max_term_width = 120, disable_help_subcommand = true)]
struct Arguments {
    /// The minor of kube-apiserver and kubectl: 1.37, 1.36, 1.35 or 1.34
    #[arg(long, value_name = "MINOR", env = Kubernetes::VARIABLE, default_value_t, global = true)]
    kubernetes: Kubernetes,
    #[command(subcommand)]
    command: Command,
}

#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Subcommand)]
enum Command {
    /// Start a sandbox and write kubeconfigs for it; runs until it is interrupted
    ///
    /// The users' passwords are public, and commands in pods run on this machine as you: not for a machine that others use
    /// too.
    Up(up::Up),
    /// Stop the sandbox that `up` started
    Down(up::Down),
    /// Find, build or fetch the programs that a sandbox runs, and print where they are
    ///
    /// They are taken from the folder KUBEBUILDER_ASSETS names or from PATH if their version is right, else from a cache
    /// folder below XDG_CACHE_HOME or ~/.cache, where they are built or fetched once. Kubernetes' own archive is downloaded
    /// where it can be reached; SANDBOX_KUBERNETES_MIRROR names another place for it, or, empty, none.
    Assets {
        /// Helm, too, which the tests of the chart run
        #[arg(long)]
        helm: bool,
        /// Dex, too, at which the login plugin's tests log in
        #[arg(long)]
        dex: bool,
        /// kubelogin, too, beside which the login plugin is run
        #[arg(long)]
        kubelogin: bool,
        /// Only what the other flags name, without what a sandbox runs
        #[arg(long)]
        only: bool,
        /// Docker Compose, too, which the sandbox in containers needs
        #[arg(long)]
        compose: bool,
        /// Envoy Gateway, too, which the test of its objects runs
        #[arg(long)]
        envoy_gateway: bool,
        /// The OpenTelemetry collector, too, which the tests of traces run
        #[arg(long)]
        collector: bool,
        /// Kubelet, controller manager, scheduler and proxy, too, which the test of the chart on a real node runs
        #[arg(long)]
        node: bool,
        /// Envoy 1.39.0, too, which has CVE-2026-73548 and which tests of that run
        #[arg(long)]
        vulnerable_envoy: bool,
    },
    /// Tell the whole story with real commands: log in, read, be refused, be promoted, exec, be attacked
    ///
    /// Prints each command with its output and exits with 1 at the first that does not do as told.
    Demo,
}

/// Where `up` and `down` meet.
#[derive(clap::Args)]
struct FolderArgument {
    /// The sandbox's folder
    #[arg(long, value_name = "FOLDER", default_value = ".sandbox")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { kubernetes, command }: Arguments) -> Result<()> {
    match command {
        Command::Up(up) => up.run(kubernetes),
        Command::Down(down) => down.run(),
        Command::Assets {
            helm,
            dex,
            kubelogin,
            compose,
            envoy_gateway,
            collector,
            node,
            vulnerable_envoy,
            only,
        } => {
            let progress = Progress::new();
            let mut programs = Vec::new();
            for (wanted, more) in [
                (helm, assets::helm as fn(&Progress) -> Result<PathBuf>),
                (dex, assets::dex),
                (kubelogin, assets::kubelogin),
                (compose, assets::compose),
                (envoy_gateway, assets::envoy_gateway),
                (collector, assets::collector),
                (vulnerable_envoy, assets::vulnerable_envoy),
            ] {
                if wanted {
                    programs.push(more(&progress)?);
                }
            }
            if node {
                let more = assets::node(&progress)?;
                programs.extend([
                    more.scheduler,
                    more.proxy,
                    more.controller_manager,
                    more.kubelet,
                ]);
            }
            if !only {
                let assets = Assets::ensure(kubernetes, &progress)?;
                let Assets { etcd, kube_apiserver, kubectl, kwok, envoy, .. } = assets;
                programs.extend([etcd, kube_apiserver, kubectl, kwok, envoy]);
            }
            print(&programs)
        }
        Command::Demo => demo::run(kubernetes),
    }
}

/// A line for each path. Whoever has read enough may close the pipe.
fn print(paths: &[PathBuf]) -> Result<()> {
    let mut output = io::stdout().lock();
    match paths.iter().try_for_each(|path| writeln!(output, "{}", path.display())) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io { action: "print the paths".to_owned(), source })
        }
        _ => Ok(()),
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
            assert!(subcommand.get_about().is_some(), "{}", subcommand.get_name());
            for argument in subcommand.get_arguments() {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
        }
    }
}
