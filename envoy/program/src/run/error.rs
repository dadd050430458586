//! Why the gateway does not run, or runs no longer.

use std::{io, net::SocketAddr, path::PathBuf};

use gateway_config::RenderError;
use gateway_control::{ModuleError, WriteError};

use crate::{portal::KeyFileError, supervisor::SupervisorError};

/// Why the gateway does not run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder for the program's own files cannot be used.
    #[error("cannot use {path:?}: {source}; name a folder that can be written to with --run-dir")]
    RunDirectory {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that the gateway is made of is not right.
    #[error("{input}: {reason}")]
    Input {
        /// What it is.
        input: String,
        /// What is wrong, in one line.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// See [`SupervisorError`].
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A file of `sharedSecret` is no secret.
    #[error("sharedSecret: {0}")]
    SharedSecret(#[from] KeyFileError),
    /// A module that Envoy would load is missing, or is none for it.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// See [`RenderError`].
    #[error(transparent)]
    Render(#[from] RenderError),
    /// See [`WriteError`].
    #[error(transparent)]
    Write(#[from] WriteError),
}
