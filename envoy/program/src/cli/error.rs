//! Why the program failed.

use std::path::PathBuf;

use gateway_config::{RenderError, pod::PodError};
use gateway_control::{CheckError, WriteError};
use gateway_lint::{
    SourceError,
    envoy_version::{NoEnvoy, Untested, Vulnerable},
};
use kube_oidc_gateway::{
    access::StoreError, certificates::KeepError, portal::SetupError, run::RunError,
    supervisor::SupervisorError,
};

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration file says something that is not allowed.
    #[error("{path}: {reason}")]
    Document {
        /// The file.
        path: String,
        /// What is wrong, in one line.
        reason: String,
    },
    /// A flag that has no value, and no place to take it from.
    #[error("{0}")]
    Usage(String),
    /// The answer could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// See [`RenderError`].
    #[error(transparent)]
    Render(#[from] RenderError),
    /// See [`WriteError`].
    #[error(transparent)]
    Write(#[from] WriteError),
    /// See [`CheckError`].
    #[error(transparent)]
    Check(#[from] CheckError),
    /// See [`RunError`].
    #[error(transparent)]
    Run(#[from] RunError),
    /// See [`SourceError`].
    #[error(transparent)]
    Lint(#[from] SourceError),
    /// See [`SupervisorError`].
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// See [`Vulnerable`].
    #[error(transparent)]
    Vulnerable(#[from] Vulnerable),
    /// See [`Untested`].
    #[error(transparent)]
    Untested(#[from] Untested),
    /// See [`NoEnvoy`].
    #[error(transparent)]
    NoEnvoy(#[from] NoEnvoy),
    /// See [`SetupError`].
    #[error(transparent)]
    Portal(#[from] SetupError),
    /// See [`KeepError`].
    #[error(transparent)]
    Certificates(#[from] KeepError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A gateway that runs does not say what is lent, or does not change it.
    #[error("{0}")]
    Grants(String),
    /// See [`PodError`].
    #[error(transparent)]
    Pod(#[from] PodError),
}
