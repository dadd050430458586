//! What all documents have: their `apiVersion`, and how it is told what of them cannot be meant.

/// The `apiVersion` of each document.
pub const API_VERSION: &str = "gateway.kube-oidc.dev/v1alpha1";

/// What cannot be meant: a field's path, its value, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: Invalid value: {got:?}: {why}")]
pub struct Fault {
    /// The field's path in the document.
    pub field: String,
    /// Its value.
    pub got: String,
    /// What is wrong.
    pub why: String,
}
