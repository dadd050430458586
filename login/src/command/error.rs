//! Why a command failed.

use std::io;

use crate::{
    cluster::ClusterError, console::plain, exec_credential::ExecInfoError, issuer::IssuerError,
    kubeconfig::KubeconfigError, metadata::MetadataError, session::SessionError,
    settings::SettingsError, store::StoreError,
};

/// Why a command failed. Its text is one line for the person.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The flags.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// kubectl's request.
    #[error(transparent)]
    ExecInfo(#[from] ExecInfoError),
    /// No token.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The token store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kubeconfig.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// The issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What a gateway says of where to log in.
    #[error(transparent)]
    Gateway(#[from] MetadataError),
    /// Standard output is closed.
    #[error("standard output cannot be written: {}; does the program that reads it still run?", plain(.0))]
    Output(#[from] io::Error),
    /// Something else that the person should know, and a reason to end with an error.
    #[error("{0}")]
    Other(String),
}
