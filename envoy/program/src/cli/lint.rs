//! `lint`: does this Envoy configuration keep what the filter relies on?

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use gateway_lint::{
    Finding, Sources,
    envoy_version::{Version, ask},
    lint, warnings,
};
use serde_json::{Value, json};

use super::{
    envoy,
    error::Error,
    output::{OutputFlag, print, print_json, say},
};

/// Prove that an Envoy configuration lets nothing past the checks before the gateway's credential (the doors).
///
/// Reads the bootstrap and what it refers to by `path_config_source` (LDS, CDS, RDS, ECDS), from the paths there or from the
/// files that are given here, which replace paths with the same file name. If a control plane delivers the configuration, give it
/// `/config_dump` of the Envoy that runs with it instead of the bootstrap. Prints each finding with its path and what to
/// do. Exits with 0 if there is none, with 1 if there are some, with 2 if a file cannot be read.
#[derive(Debug, Args)]
pub struct Lint {
    /// Envoy's bootstrap, YAML or JSON, or the dump of a running Envoy's configuration
    #[arg(value_name = "BOOTSTRAP")]
    bootstrap: PathBuf,
    /// Files that it refers to, if they are not where it says
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The Envoy binary that will use the configuration, unless it is the dump of a running one: its version is checked, too
    #[arg(long, visible_alias = "envoy", value_name = "FILE")]
    envoy_binary: Option<PathBuf>,
    /// Its version, if its binary is not here
    #[arg(long, value_name = "MAJOR.MINOR.PATCH", conflicts_with = "envoy_binary")]
    envoy_version: Option<Version>,
    #[command(flatten)]
    output: OutputFlag,
}

impl Lint {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let mut sources = Sources::read(&self.bootstrap, &self.files)?;
        let asked = self.envoy_binary.as_deref().map(ask).transpose()?.flatten();
        if let Some(version) = asked.or(self.envoy_version) {
            sources.of_envoy(version);
        }
        let findings = lint(&sources);
        let version = (!sources.tell_version()).then(envoy::unknown);
        let warnings: Vec<_> = version.into_iter().chain(warnings(&sources)).collect();
        if self.output.is_json() {
            print_json(&document(&findings, &warnings))?;
            let is_clean = findings.is_empty();
            return Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        for warning in warnings {
            say(format_args!("warning: {warning}"));
        }
        for finding in &findings {
            print(finding)?;
        }
        if findings.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        say(format_args!("{} findings", findings.len()));
        Ok(ExitCode::FAILURE)
    }
}

fn document(findings: &[Finding], warnings: &[String]) -> Value {
    let rows = findings.iter().map(|Finding { rule, at, message }| {
        json!({"rule": rule.name(), "at": at, "message": message, "wayOut": rule.way_out()})
    });
    json!({"findings": rows.collect::<Value>(), "warnings": warnings})
}
