//! Where a server is, whom to believe there, and who one is.
//!
//! What a kubeconfig chooses ([`file`]) counts for kube-apiserver, with flags and the pod's ServiceAccount beside it
//! ([`Connection`]), and for a webhook ([`Remote`]). One HTTP client ([`Client`]) speaks to all servers.

mod client;
mod connection;
mod error;
mod file;
mod pair;
mod remote;
mod source;

pub use client::{Client, Trust};
pub use connection::{
    Connection, CredentialSource, Overrides, SERVICE_ACCOUNT, connection, pod_endpoint,
};
pub use error::KubeconfigError;
pub use pair::{Pair, PairError, certificates};
pub use remote::Remote;
pub use source::{PairSource, Source};
