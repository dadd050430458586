//! `check`: would kube-apiserver take this file, and does it mean the same to several versions of it?

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use kube_authn::{
    Rules,
    config::{LoadOptions, load_yaml, portability},
};

use super::{error::Error, files::read};

/// Check an `AuthenticationConfiguration`.
///
/// Prints one error a line on standard error, as kube-apiserver words it, and exits with 1; or nothing, and 0. With several versions of
/// Kubernetes it also names what one of them refuses or takes for something else than another.
#[derive(Debug, Args)]
pub struct Check {
    /// The file, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    authentication_config: PathBuf,
    /// An issuer of the API server's own ServiceAccount tokens, which no entry may claim; repeatable.
    #[arg(long, value_name = "URL")]
    service_account_issuer: Vec<String>,
    /// The minors of Kubernetes whose rules hold: 1.36, 1.37, 1.38 (as of its beta) [default: 1.37]
    #[arg(long, value_name = "MINOR,...", value_delimiter = ',')]
    kubernetes_rules: Vec<Rules>,
}

impl Check {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let text = read(&self.authentication_config)?;
        let mut versions = self.kubernetes_rules.clone();
        versions.sort_unstable();
        versions.dedup();
        let options = LoadOptions {
            disallowed_issuers: self.service_account_issuer.clone(),
            rules: versions.last().copied().unwrap_or_default(),
        };
        let findings = portability(&text, &options, &versions);
        let told: Vec<_> =
            findings.iter().map(|finding| finding.to_string().replace('\n', " ")).collect();
        for finding in &told {
            eprintln!("{finding}");
        }
        match load_yaml(&text, &options) {
            Ok(_) if !told.is_empty() => Ok(ExitCode::FAILURE),
            Ok(configuration) => {
                for warning in configuration.warnings() {
                    eprintln!("warning: {warning}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(errors) => {
                for error in errors.iter().map(|error| error.to_string().replace('\n', " ")) {
                    if !told.iter().any(|finding| finding.ends_with(&error)) {
                        eprintln!("{error}");
                    }
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
