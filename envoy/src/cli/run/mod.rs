//! `run`: the gateway as one program, with the flags of kube-oidc-proxy.

mod audit;
mod flags;
mod go;
mod settings;
mod tls;

use std::process::ExitCode;

use clap::{ArgAction, Args, Command};
use kube_oidc_gateway::run as gateway;

use super::{Error, limits::LimitFlags};

/// Run the gateway: Envoy with the filter, as a child of this program.
///
/// Takes the flags of kube-oidc-proxy. In a pod of the cluster it needs no flag but the issuer's. Every file that it is made of
/// may change while it runs.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    proxy: flags::Proxy,
    #[command(flatten)]
    oidc: flags::Oidc,
    #[command(flatten)]
    serving: flags::Serving,
    #[command(flatten)]
    client: flags::Client,
    #[command(flatten)]
    audit: audit::Audit,
    #[command(flatten)]
    ignored: flags::Ignored,
    #[command(flatten)]
    own: flags::Own,
    #[command(flatten)]
    limits: LimitFlags,
}

/// Gives flags without a value the form they have in Go (`--flag`, `--flag=false`), and lets a later flag win.
pub fn as_in_go(command: Command) -> Command {
    let boolean = |argument: clap::Arg| match argument.get_action() {
        ArgAction::SetTrue => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(go::boolean)
            .value_name("BOOL")
            .hide_default_value(true),
        _ => argument,
    };
    command.args_override_self(true).mut_args(boolean)
}

impl Run {
    /// Runs the gateway until it is told to end.
    pub fn run(self) -> Result<ExitCode, Error> {
        let warnings = self.ignored.warnings().into_iter();
        for warning in warnings.chain(self.serving.warnings()).chain(self.audit.warnings()) {
            eprintln!("kube-oidc-gateway: warning: {warning}");
        }
        let sinks = self.audit.sinks()?;
        gateway::run(self.settings()?, sinks)?;
        Ok(ExitCode::SUCCESS)
    }
}
