//! The flags of `portal`: another way to say what a `PortalConfiguration` says.

use std::env;

use clap::{Args, Command, FromArgMatches};
use gateway_config::portal::{PortalConfiguration, PortalError, Why};
use kube_oidc_gateway::portal::{Portal, SetupError};
use tracing::warn;

use crate::cli::error::Error;

/// What a portal is.
#[derive(Debug, Args)]
pub struct PortalFlags {
    /// The shared secret for HS256 tokens; in the environment or in --secret-file nobody else sees it
    #[arg(value_name = "SECRET", env = "KUBEHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    #[command(flatten)]
    configuration: PortalConfiguration,
}

impl PortalFlags {
    /// What no flag says: kubehook's variables, and the defaults.
    pub fn of_environment() -> Result<Self, Error> {
        let command = Self::augment_args(Command::new("portal").no_binary_name(true));
        let matches = command.try_get_matches_from([""; 0]);
        let flags = matches.and_then(|matches| Self::from_arg_matches(&matches));
        flags.map_err(|error| Error::Usage(one_line(&error)))
    }

    /// What the flags say.
    pub fn portal(&self) -> Portal {
        if self.secret.is_some() && env::var_os("KUBEHOOK_SECRET").is_none() {
            warn!("a secret on the command line is seen by every user of this machine");
        }
        Portal { configuration: self.configuration.clone(), secret: self.secret.clone() }
    }
}

/// What is wrong, for who has given flags: fields by the flags' names.
pub fn in_flags(error: SetupError) -> Error {
    let SetupError::Field(PortalError { field, why }) = error else { return error.into() };
    let why = match why {
        Why::Needs(others) => {
            let others: Vec<_> = others.iter().map(|other| flag(other)).collect();
            format!("needs {}", others.join(" and "))
        }
        Why::Excludes(other) => format!("excludes {}", flag(other)),
        Why::Other(why) => why,
    };
    Error::Usage(format!("{}: {why}", flag(&field)))
}

/// `--max-lifetime` for `maxLifetime`.
fn flag(field: &str) -> String {
    field.chars().fold("--".to_owned(), |flag, letter| match letter {
        'A'..='Z' => format!("{flag}-{}", letter.to_ascii_lowercase()),
        letter => format!("{flag}{letter}"),
    })
}

fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("Usage:")).collect();
    said.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who says nothing has the same portal by a document and by flags.
    #[test]
    fn defaults_of_flags_are_those_of_a_document() {
        let flags = PortalFlags::augment_args(Command::new("portal"));
        let matches = flags.try_get_matches_from(["portal"]).unwrap();
        let none = PortalFlags::from_arg_matches(&matches).unwrap();
        assert_eq!(none.configuration, PortalConfiguration::default());
        assert_eq!(flag("maxLifetime"), "--max-lifetime");
    }
}
