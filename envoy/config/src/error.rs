//! Why inputs cannot be rendered.

use std::path::{Path, PathBuf};

/// Linux: `sun_path` holds 108 bytes with its final NUL.
pub(crate) const MAX_SOCKET_PATH: usize = 107;

/// What is wrong with the inputs.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A path that cannot be written into a configuration.
    #[error("{what}: {path:?} must be an absolute path of printable UTF-8")]
    BadPath {
        /// Which input.
        what: &'static str,
        /// What it holds.
        path: PathBuf,
    },
    /// A socket's path does not fit into a socket address.
    #[error("{what} socket: {path:?} is longer than {MAX_SOCKET_PATH} bytes")]
    LongSocketPath {
        /// Which socket.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// An issuer's CA bundle holds no certificate, or something that is none.
    #[error("issuer {issuer:?}: its CA bundle is not a list of PEM certificates: {reason}")]
    BadCertificateAuthority {
        /// The issuer's URL.
        issuer: String,
        /// What is wrong.
        reason: String,
    },
    /// A server that the filter asks cannot be reached.
    #[error("{field}: {why}")]
    BadCallout {
        /// The field that names it.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// A portal in an Envoy of its own says whose a token is, and asks no directory.
    #[error(
        "groupSources: a portal in an Envoy of its own asks no directory, and would name its users without their groups; run it in the \
         gateway's own Envoy (--portal-host of `kube-oidc-gateway run`)"
    )]
    PortalAlone,
    /// Logout tokens would be led to nobody.
    #[error(
        "logout.path: Invalid value: needs --revocations or --revocations-configmap of `kube-oidc-gateway run`, where what has ended is \
         written down; leave the path out, or give one of them"
    )]
    NobodyTakesLogouts,
    /// Two different CA bundles have the same short hash.
    #[error("two CA bundles of issuers share the cluster name {name:?}; change a comment in one")]
    IssuerClusterCollision {
        /// The name.
        name: String,
    },
    /// A filter's configuration cannot be written as JSON. Not the inputs' fault.
    #[error("filter configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// A limit that Envoy would refuse, or that would shut everybody out.
    #[error("limit {name}: {value} is not between {least} and {most}")]
    BadLimit {
        /// The field of [`Limits`](crate::Limits).
        name: &'static str,
        /// Its value.
        value: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// A name that a certificate of the gateway's own is for is none that tells the portal from it.
    #[error("portal: {name:?} is a name of the gateway too")]
    PortalName {
        /// The name.
        name: String,
    },
    /// A template is wrong. Not the inputs' fault.
    #[error("template: {0}")]
    Template(#[from] minijinja::Error),
}

impl RenderError {
    pub(crate) fn bad_path(what: &'static str, path: &Path) -> Self {
        Self::BadPath { what, path: path.to_owned() }
    }
}
