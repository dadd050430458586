//! The program: see `kube-oidc-gateway --help`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    kube_oidc_gateway::process::leave_no_core();
    let arguments = cli::Arguments::read();
    let failure = arguments.failure();
    arguments.run().unwrap_or_else(|error| {
        eprintln!("kube-oidc-gateway: {error}");
        failure
    })
}
