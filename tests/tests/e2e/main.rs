//! End to end: the real kubectl, and clients that send what no kubectl would, through Envoy with the filter to a real
//! kube-apiserver. Every test has a gateway and an OpenID provider of its own; all share one cluster.
//!
//! Needs the filter's module (`GATEWAY_FILTER`, else from the target folder): `make e2e` builds it first.

mod algorithms;
mod attacks;
mod budget;
mod conditions;
mod conformance;
mod connections;
mod cors;
mod crashes;
mod credentials;
mod doors;
mod early;
mod envoy_gateway;
mod equality;
mod expressions;
mod faults;
mod gateways;
mod group_sources;
mod harness;
mod http10;
mod introspection;
mod istio;
mod kubectl;
mod lasting;
mod login;
mod metadata;
mod metrics;
mod minor;
mod modes;
mod orca;
mod outages;
mod own_envoy;
mod paths;
mod portal;
mod strangers;
mod streams;
mod target;
mod troubleshooting;
mod upgrades;
mod waiting;
mod wire;
mod z_audit;
