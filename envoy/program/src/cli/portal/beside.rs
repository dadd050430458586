//! A `PortalConfiguration`, for a portal beside the gateway.

use std::{fs, path::Path};

use gateway_config::portal::PortalConfiguration;
use kube_oidc_gateway::portal::Portal;

use super::flags::PortalFlags;
use crate::cli::error::Error;

/// Reads the file. What it does not say, kubehook's variables say.
pub fn read(path: &Path) -> Result<Portal, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let defaults = PortalFlags::of_environment()?.portal();
    let configuration =
        PortalConfiguration::parse(&text, &defaults.configuration).map_err(|error| {
            Error::Document { path: path.display().to_string(), reason: error.to_string() }
        })?;
    Ok(Portal { configuration, ..defaults })
}
