//! The native form of the filter, for those who load it or judge how it is loaded.
//!
//! The same decisions as the Wasm filter's, compiled into a shared library that Envoy loads (`dynamic_modules`). It has no sandbox
//! around it: so which file is loaded, and by which Envoy, is checked before.

/// What Envoy's configuration calls it (`dynamic_module_config.name`).
pub const MODULE: &str = "kube_oidc_gateway";

/// The file that holds it. Envoy looks for it by [`MODULE`], where no path is given.
pub const LIBRARY: &str = "libkube_oidc_gateway.so";

/// The minors of Envoy that load it and whose interface it was tested with, in their order. Envoy itself only warns of a module
/// for another interface.
pub const ENVOY_MINORS: [(u32, u32); 2] = [(1, 39), (1, 40)];
