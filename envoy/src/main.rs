//! The program: see `kube-oidc-gateway --help`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kube-oidc-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}
