//! The gateway as a dynamic module of Envoy: Envoy's hooks and functions around `gateway_core`, and no decision.
//!
//! Envoy's filter of type `envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter` names the library
//! (`dynamic_module_config.name: kube_oidc_gateway`, with `do_not_close: true`), the gateway (`filter_name`, which is `gateway` where
//! there is only one, and a label of its metrics otherwise) and the configuration (`filter_config`: a `google.protobuf.StringValue` with
//! the same JSON document that the Wasm filter takes, [`gateway_core::config::PluginConfiguration`]). As a network filter
//! (`envoy.extensions.filters.network.dynamic_modules.v3.DynamicModuleNetworkFilter`) the same library counts [`connections`]. The portal is
//! the Wasm filter's.
//!
//! Metrics have the Wasm filter's names and labels where `dynamic_module_config.metrics_namespace` is `wasmcustom` and Envoy's runtime has
//! `envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix: true`; without the latter, Prometheus gets them with
//! `envoy_wasmcustom_` before the name.
//!
//! # Threads
//! Each thread of Envoy has a worker of its own for each configuration ([`gateway`]), with its cache of verified tokens and the requests
//! that wait. All that crosses threads is in [`config`]: the main thread, which alone calls others, fetches keys for all, writes them into
//! the [store](shared::Store) of the process, and wakes who waits.
//!
//! # Panics
//! None leaves a hook ([`guard`]). A request that meets one is answered 500.
//!
//! # Unsafe code
//! It is in [`abi`], the declarations, in `hooks`, what Envoy calls, and in [`host`], what is called of Envoy: those of a network filter are
//! in files of their own there.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

// By this name the fuzz target, which is a test here too, calls the crate.
#[cfg(test)]
extern crate self as gateway_native;

pub mod abi;
pub mod config;
pub mod connections;
pub mod gateway;
pub mod guard;
mod hooks;
pub mod host;
mod metrics;
#[cfg(any(test, feature = "mock"))]
pub mod mock;
pub mod post;
pub mod shared;
pub mod stream;
#[cfg(test)]
mod tests;
mod ticker;
pub mod token_hash;
pub mod verifier;
pub mod version;
