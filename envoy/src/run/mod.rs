//! `kube-oidc-gateway run`: Envoy as a child of this program, with files that follow every change of what they are made of.

pub mod rawlog;
