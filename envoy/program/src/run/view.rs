//! What serves at the moment, for those of the program who look whether it works.

use std::sync::Arc;

use gateway_config::{Documents, Rights};

use super::apiserver::ApiServer;

/// What serves at the moment.
#[derive(Clone)]
pub(super) struct View {
    /// kube-apiserver, with what serves now.
    pub apiserver: ApiServer,
    /// The documents.
    pub documents: Arc<Documents>,
    /// The URLs of the issuers.
    pub issuers: Vec<String>,
    /// The rights that the configuration needs.
    pub rights: Rights,
    /// Grows with each change of the above.
    pub generation: u64,
}

#[cfg(test)]
impl View {
    /// Of these documents, with an API server that nobody asks.
    pub fn of(documents: Documents, connection: &gateway_client::Connection) -> Self {
        let credential = super::apiserver::Credential::Token(String::new());
        Self {
            apiserver: ApiServer::new(connection, None, &credential).unwrap(),
            documents: Arc::new(documents),
            issuers: Vec::new(),
            rights: Rights { plain: Vec::new(), constrained: Vec::new() },
            generation: 0,
        }
    }
}
