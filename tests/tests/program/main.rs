//! `kube-oidc-gateway run` as people run it: the program itself with Envoy as its child, started with kube-oidc-proxy's flags, in
//! front of a real kube-apiserver. All tests share one cluster; each has a program and an OpenID provider of its own.
//!
//! Needs the program (`GATEWAY_PROGRAM`, else from the target folder) and the filter's module (`GATEWAY_FILTER`, likewise):
//! `make program` builds both first.

mod asked;
mod behaviour;
mod beside;
mod callouts;
mod causes;
mod connections;
mod doctor;
mod elevation;
mod ending;
mod evasion;
mod haproxy;
mod harness;
mod held;
mod init;
mod logout;
mod monitoring;
mod origin;
mod races;
mod reload;
mod revocations;
mod rotation;
mod sessions;
mod shared_secret;
mod sources;
mod sources_seen;
mod start;
mod unit;
mod upstream;
mod versions;
mod ways;
