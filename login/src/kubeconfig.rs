//! kubeconfig files, by kubectl's rules (client-go, `tools/clientcmd/loader.go` and `config.go`): which files there are, whose
//! value counts, and into which one a change is written.

mod edit;
mod load;
mod mask;
mod write;

use std::{io, path::PathBuf};

use gateway_kubeconfig::ReadError;

pub use load::{Context, Files, Kubeconfig};
pub use mask::masked;
pub use write::{Change, Rewritten, Users, Written, apply, preview, rewritten};

use crate::{console::plain, settings::Trust};

/// Why a kubeconfig cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file that cannot be read.
    #[error("the kubeconfig {} cannot be read: {}; give another with --kubeconfig or $KUBECONFIG", path.display(), plain(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is no kubeconfig.
    #[error("the kubeconfig {} is not valid: {reason}; correct it, or give another with --kubeconfig", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that cannot be written.
    #[error("the kubeconfig {} cannot be written: {}; give another with --kubeconfig", path.display(), plain(error))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// kubectl, or another of us, is writing it.
    #[error("the kubeconfig is locked by another program; if there is none, remove {}", .0.display())]
    Locked(PathBuf),
    /// `$KUBECONFIG` names files, and none of them is there.
    #[error("$KUBECONFIG names no file that exists: there is no {}; correct it, or give --kubeconfig", listed(.0))]
    Nowhere(Vec<PathBuf>),
    /// No context is chosen.
    #[error("no context is chosen; give --context, or --oidc-issuer-url and --oidc-client-id")]
    NoContext,
    /// A name that stands nowhere.
    #[error(
        "the kubeconfig has no {kind} named {name:?}; kubectl config get-contexts lists what it has"
    )]
    Absent {
        /// `context`, `cluster` or `user`
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A cluster of this name is another one.
    #[error(
        "the kubeconfig has a cluster {name:?} already, which is {found}; give another name with --cluster"
    )]
    OtherCluster {
        /// The name.
        name: String,
        /// Its server.
        found: String,
    },
    /// A context or a user of this name is another cluster's.
    #[error(
        "the kubeconfig has a {kind} {name:?} already, which is not this gateway's; give another name with --cluster"
    )]
    Taken {
        /// `context` or `user`
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// There is no home folder to look in.
    #[error("the home folder is not known; give --kubeconfig")]
    NoHome,
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and no ")
}

impl From<ReadError> for KubeconfigError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { path, error } => Self::Read { path, error },
            ReadError::Malformed { path, reason } => Self::Malformed { path, reason },
        }
    }
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// URL of its API server or gateway.
    pub server: String,
    /// Whom to believe to be it.
    pub trust: Trust,
    /// Another name that its certificate has.
    pub tls_server_name: Option<String>,
    /// A proxy before it.
    pub proxy_url: Option<String>,
}
