//! The matrix: every manner in which an issuer or an API server may answer, asked for by kube-apiserver or kubectl and by the
//! gateway beside them. What works for Go's client is to work for Envoy.
//!
//! Needs the filter's module (`GATEWAY_FILTER`, else from the target folder): `make matrix` builds it first.

mod apiservers;
mod issuers;
#[path = "../../../filter/cel/tests/support/page.rs"]
#[allow(dead_code, reason = "what the other tables need")]
mod page;
