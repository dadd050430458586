//! Why Envoy does not run, or runs no longer.

use std::{io, path::PathBuf};

use gateway_lint::envoy_version::{Untested, Vulnerable};

/// Why Envoy does not run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Envoy cannot be started.
    #[error("cannot run {envoy:?}: {source}")]
    NoEnvoy {
        /// The program.
        envoy: PathBuf,
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
    /// Envoy is of a version that the native filter was not tested with.
    #[error("{envoy:?}: {untested}")]
    Untested {
        /// The program.
        envoy: PathBuf,
        /// Which it is, and the way out.
        untested: Untested,
    },
    /// Envoy ended before it ever served.
    #[error("Envoy does not start: {0}")]
    Start(String),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
}
