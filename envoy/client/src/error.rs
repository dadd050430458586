//! Why there is no way to a server.

use std::path::PathBuf;

/// Why there is no way to a server. No text holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// Neither flags nor a file nor a pod.
    #[error(
        "no API server: outside of a pod of the cluster name a kubeconfig with --kubeconfig, or the server with --server"
    )]
    Nowhere,
    /// The file cannot be read.
    #[error("cannot read {path:?}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file names something that it does not hold.
    #[error("kubeconfig: it has no {kind} {name:?}")]
    Missing {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A field that cannot be followed here.
    #[error("kubeconfig: user {user:?}: {field} is not supported; {instead}")]
    Unsupported {
        /// The user's name.
        user: String,
        /// The field.
        field: &'static str,
        /// What to use in its place.
        instead: &'static str,
    },
    /// A value that is none.
    #[error("{field}: {reason}")]
    Value {
        /// The field or flag.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The gateway has nothing to show.
    #[error("no credential for the API server: give a token or a client certificate")]
    NoCredential,
}

impl KubeconfigError {
    pub(crate) fn value(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Value { field, reason: reason.into() }
    }
}
