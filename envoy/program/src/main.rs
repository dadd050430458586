//! The program: see `kube-oidc-gateway --help`.

// A pipe that closes must end no command with a panic: `cli::output` writes.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::process::ExitCode;

use kube_oidc_gateway::process::leave_no_core;

fn main() -> ExitCode {
    leave_no_core();
    cli::Arguments::read().run()
}
