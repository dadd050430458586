//! What istiod sends proxies, printed by `istiod/main.go` out of istiod's own code (the module istio.io/istio at the version in
//! `istiod/go.mod`, which calls itself 1.31). In that folder, with Go, and file 3 as the fixture:
//!
//! ```text
//! go run . -labels app=kube-oidc-gateway -listener 0.0.0.0_8443 -clusters CLUSTERS gateway.yaml cluster-k8s.yaml 3>gateway.json
//! go run . -labels app=kube-oidc-gateway -listener 0.0.0.0_8443 -clusters CLUSTERS gateway.yaml patches.yaml cluster-k8s.yaml 3>gateway-patched.json
//! go run . -proxy sidecar -namespace tenant -labels kube-oidc-gateway=kube-oidc-gateway -listener virtualInbound sidecar.yaml sidecar-k8s.yaml 3>sidecar.json
//! go run . -proxy sidecar -namespace tenant -labels kube-oidc-gateway=kube-oidc-gateway -listener virtualInbound -clusters added sidecar.yaml patches.yaml sidecar-k8s.yaml 3>sidecar-patched.json
//! ```
//!
//! where CLUSTERS is `'^outbound.*(\|apiserver|example|internal)|added'`.

/// The objects without an `EnvoyFilter`.
pub const GATEWAY_OBJECTS: &str = include_str!("istiod/gateway.yaml");
/// An ingress gateway's listener, and the clusters of the registry.
pub const GATEWAY: &str = include_str!("istiod/gateway.json");
/// The same with [`PATCHES`].
pub const GATEWAY_PATCHED: &str = include_str!("istiod/gateway-patched.json");
/// A sidecar's listener for what comes in.
pub const SIDECAR: &str = include_str!("istiod/sidecar.json");
/// The same with [`PATCHES`].
pub const SIDECAR_PATCHED: &str = include_str!("istiod/sidecar-patched.json");
/// An `EnvoyFilter` for each of the two.
pub const PATCHES: &str = include_str!("istiod/patches.yaml");
