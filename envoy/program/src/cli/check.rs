//! `check`: would kube-apiserver take this file?

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use kube_authn::config::{LoadOptions, load_yaml};

use super::{error::Error, files::read};

/// Check an `AuthenticationConfiguration`.
///
/// Prints one error a line on standard error, as kube-apiserver words it, and exits with 1; or nothing, and 0.
#[derive(Debug, Args)]
pub struct Check {
    /// The file, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    authentication_config: PathBuf,
    /// An issuer of the API server's own ServiceAccount tokens, which no entry may claim; repeatable.
    #[arg(long, value_name = "URL")]
    service_account_issuer: Vec<String>,
}

impl Check {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let text = read(&self.authentication_config)?;
        let options = LoadOptions { disallowed_issuers: self.service_account_issuer.clone() };
        match load_yaml(&text, &options) {
            Ok(configuration) => {
                for warning in configuration.warnings() {
                    eprintln!("warning: {warning}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(errors) => {
                for error in errors.iter() {
                    eprintln!("{}", error.to_string().replace('\n', " "));
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
