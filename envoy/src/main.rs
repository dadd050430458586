//! The program: see `kube-oidc-gateway --help`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let failure = arguments.failure();
    arguments.run().unwrap_or_else(|error| {
        eprintln!("kube-oidc-gateway: {error}");
        failure
    })
}
