//! `secrets`: what Envoy needs in its environment.

use std::path::PathBuf;

use clap::Args;
use gateway_config::parse_gateway;
use gateway_core::portal_keys::VARIABLE;
use kube_oidc_gateway::run;

use super::{error::Error, files::read, output::print, portal::beside};

/// Print the environment variables that an Envoy of yours needs: secrets that `render` writes into no file.
///
/// One line NAME=VALUE for each document that has secrets, as `env`, systemd's EnvironmentFile and kubectl create secret
/// --from-env-file take them. `run` and `portal` need none of it.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Secrets {
    /// The gateway's own settings: the files of sharedSecret
    #[arg(long, value_name = "FILE", required_unless_present = "portal_config")]
    gateway_config: Option<PathBuf>,
    /// The portal beside it: its keys
    #[arg(long, value_name = "FILE")]
    portal_config: Option<PathBuf>,
}

impl Secrets {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<(), Error> {
        let mut lines = Vec::new();
        if let Some(path) = &self.gateway_config {
            let gateway = parse_gateway(&read(path)?).map_err(|error| Error::Document {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
            lines.extend(run::secrets(&gateway)?);
        }
        if let Some(path) = &self.portal_config {
            lines.push((VARIABLE, beside::read(path)?.keys()?.0));
        }
        for (name, value) in lines {
            print(format_args!("{name}={value}"))?;
        }
        Ok(())
    }
}
