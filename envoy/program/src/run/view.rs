//! What serves at the moment, for those of the program who look whether it works.

use gateway_config::Rights;
use gateway_core::config::Elevation;

use super::apiserver::ApiServer;

/// What serves at the moment.
#[derive(Clone)]
pub(super) struct View {
    /// kube-apiserver, with what serves now.
    pub apiserver: ApiServer,
    /// The URLs of the issuers.
    pub issuers: Vec<String>,
    /// The rights that the configuration needs.
    pub rights: Rights,
    /// Which groups may be lent.
    pub elevation: Elevation,
    /// Grows with each change of the above.
    pub generation: u64,
}
