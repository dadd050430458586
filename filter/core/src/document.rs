//! What all documents of this project have in common.

/// The `apiVersion` of each of them.
pub const API_VERSION: &str = "gateway.kube-oidc.dev/v1alpha1";
