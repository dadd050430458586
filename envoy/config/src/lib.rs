//! Envoy's configuration as an OpenID Connect gateway for one Kubernetes cluster.
//!
//! [`render`] turns typed [`Inputs`] into the files under `templates/`: the listener, the filters around the Wasm filter, the
//! routes, the clusters and the secrets. Three doors in them keep the gateway's own credential from a request that the Wasm
//! filter did not decide, even if that filter crashed, was skipped or is wrong:
//!
//! 1. the gate (`filter-gate.yaml`): no mark of the filter, no way on;
//! 2. the routes (`routes.yaml`) match the filter's decision in filter state, and the last one answers 403;
//! 3. only clusters for impersonating requests hold the credential (`clusters.yaml`), behind a check of their own.
//!
//! The files are watched by Envoy. What changes there is live without a restart, except `envoy.yaml` and the
//! paths in `secret-*.yaml`: of secrets it is the files they name that are watched.
//!
//! Nothing here does I/O: what the users' documents say comes in as [`Documents`], files go out as texts.

mod access;
mod callouts;
mod context;
mod documents;
mod duration;
pub mod envoy_gateway;
mod error;
mod flat;
mod form;
mod inputs;
mod issuers;
pub mod istio;
mod limits;
mod modules;
mod paths;
pub mod pod;
pub mod portal;
pub mod rbac;
mod render;
mod rendered;
mod replies;
mod rights;
mod templates;
pub mod traces;
mod upstream;

pub use access::{ACCESS_CLUSTER, parse_grants, parse_revocations};
pub use callouts::Callout;
pub use documents::{DocumentError, Documents, parse_gateway};
pub use duration::duration;
pub use error::RenderError;
pub use flat::FlatError;
pub use form::FilterForm;
pub use gateway_core::config::ClientImpersonation;
pub use inputs::{
    ApiServer, Candidates, Credential, Inputs, NamedCertificate, Options, Protocols, TlsVersion,
};
pub use issuers::{Issuer, cluster_name};
pub use limits::Limits;
pub use modules::connections_filter;
pub use paths::{ServingCertificate, access_socket, logout_socket, probe_socket, proxy_socket};
pub use render::render;
pub use rendered::{File, Rendered};
pub use rights::{Needed, Right, Rights, rights};
pub use upstream::{CANDIDATE_CLUSTER, PROBE_CLUSTER};
