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
//! The files are watched by Envoy. What changes by [`Rendered::write`] is live without a restart, except `envoy.yaml` and the
//! paths in `secret-*.yaml`: of secrets it is the files they name that are watched.

pub mod audit;
mod check;
mod cidr;
mod context;
mod documents;
pub mod envoy_gateway;
pub mod envoy_version;
mod flat;
mod inputs;
mod issuers;
pub mod istio;
mod limits;
pub mod lint;
mod paths;
pub mod pod;
pub mod portal;
mod private;
mod proxy;
pub mod rbac;
mod render;
mod replies;
pub mod run;
mod templates;
mod unix;
mod upstream;
mod write;

pub use check::CheckError;
pub use cidr::{BadCidr, Cidr};
pub use documents::{DocumentError, Documents, parse_gateway};
pub use flat::FlatError;
pub use gateway_core::config::ClientImpersonation;
pub use inputs::{
    ApiServer, BadHost, Credential, Dns, Host, Inputs, Issuer, NamedCertificate, Protocols,
    ServingCertificate, TlsVersion,
};
pub use issuers::cluster_name;
pub use limits::Limits;
pub use private::{leave_no_core, write_for_the_owner_alone};
pub use proxy::{Proxies, ProxyError};
pub use render::{File, RenderError, Rendered, render};
pub use unix::UnixConnector;
pub use write::WriteError;
