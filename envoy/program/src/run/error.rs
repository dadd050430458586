//! Why the gateway does not run, or runs no longer.

use std::{io, net::SocketAddr, path::PathBuf};

use gateway_config::RenderError;
use gateway_control::WriteError;
use gateway_lint::envoy_version::Vulnerable;

use crate::portal::KeyFileError;

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
    /// Envoy is of a version that must not be started.
    #[error("{envoy:?}: {vulnerable}")]
    Vulnerable {
        /// The program.
        envoy: PathBuf,
        /// What it has, and the way out.
        vulnerable: Vulnerable,
    },
    /// Envoy cannot be started.
    #[error("cannot run {envoy:?}: {source}")]
    NoEnvoy {
        /// The program.
        envoy: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Envoy ended before it ever served.
    #[error("Envoy does not start: {0}")]
    Envoy(String),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    /// A file of `sharedSecret` is no secret.
    #[error("sharedSecret: {0}")]
    SharedSecret(#[from] KeyFileError),
    /// See [`RenderError`].
    #[error(transparent)]
    Render(#[from] RenderError),
    /// See [`WriteError`].
    #[error(transparent)]
    Write(#[from] WriteError),
}
