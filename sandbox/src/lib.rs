//! A whole cluster.

pub mod assets;
pub mod audit;
mod cluster;
mod error;
mod folder;
mod gateway;
mod group;
mod http;
mod kubeconfig;
mod kubectl;
mod pki;
mod port;
mod process;
pub mod realm;
mod steps;
mod wait;
mod watchdog;

pub use cluster::{Cluster, ClusterBuilder, NODE};
pub use error::{Error, Result};
pub use gateway::{Gateway, GatewayBuilder, Stats};
pub use http::{Answer, Client};
pub use kubeconfig::{Credential, Kubeconfig};
pub use kubectl::{Kubectl, Output, Running};
pub use pki::{Authority, Identity, IdentityFiles};
pub use port::Port;
pub use steps::Steps;
