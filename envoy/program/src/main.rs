//! The program: see `kube-oidc-gateway --help`.

mod cli;

use std::process::ExitCode;

use kube_oidc_gateway::process::leave_no_core;

fn main() -> ExitCode {
    leave_no_core();
    cli::Arguments::read().run()
}
