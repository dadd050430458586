//! A whole cluster as processes on loopback, with the gateway in front: for the program `sandbox` and for tests.
//!
//! A [`Cluster`] is etcd, kube-apiserver and a node; a [`Gateway`] is Envoy with the filter. Any number of gateways stand
//! in front of one cluster, and any number of clusters side by side. The OpenID provider is crate `oidc-provider`.
//!
//! ```no_run
//! use oidc_provider::{Config, Preset, Provider};
//! use sandbox::{Cluster, Credential, realm};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder().start()?;
//! let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer()))?;
//! let gateway = cluster
//!     .gateway(realm::authentication_of(&provider))
//!     .configuration(realm::configuration())
//!     .start()?;
//!
//! let mark = cluster.audit().mark()?;
//! let token = provider.issuer().token("k8s-user1", realm::CLIENT).mint();
//! let output = gateway.kubectl(Credential::Token(token))?.run(["get", "namespaces"])?;
//! assert!(output.success());
//! for event in cluster.audit().since(mark)? {
//!     assert_eq!(event.user.username, Cluster::GATEWAY_USER);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything blocks, and may be called from any thread. Handles are ended by dropping them; those in statics, and those
//! of a process that was killed, by a watchdog that outlives it.

pub mod assets;
pub mod audit;
mod cluster;
mod collector;
mod error;
mod files;
mod folder;
mod gateway;
mod group;
mod http;
mod kubeconfig;
mod kubectl;
mod manners;
mod pki;
mod port;
mod process;
pub mod program;
pub mod realm;
mod steps;
pub mod wait;
mod watchdog;

pub use cluster::{Cluster, ClusterBuilder, NODE};
pub use collector::{Collector, Span};
pub use error::{Error, Result};
pub use gateway::{Gateway, GatewayBuilder, Stats, filter_form};
pub use gateway_config::FilterForm;
pub use http::{Answer, Client};
pub use kubeconfig::{Credential, Kubeconfig};
pub use kubectl::{Kubectl, Output, Running};
pub use manners::{Manners, MannersBuilder, Request, ServedIssuer};
pub use pki::{Authority, Identity, IdentityFiles};
pub use port::Port;
pub use process::{Process, Spec};
pub use program::Program;
pub use steps::Steps;
