//! The module that Envoy loads: proxy-wasm's callbacks and host calls around `gateway_core`, and no decision.
//!
//! A panic here ends every stream of the worker, so that nothing may: values that a client sent are read as bytes (the
//! SDK's string getters panic on what is not UTF-8), and an answer without headers is told by their number first.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod abi;
mod gateway;
mod host;
mod metrics;
mod portal;
mod root;
mod stream;
mod verifier;
mod wake;

/// The `root_id` that Envoy's configuration names for the gateway. The other is `portal`.
pub const ROOT_ID: &str = "gateway";

mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Debug);
        proxy_wasm::set_root_context(|id| {
            let root = gateway_hostcalls::get_property(&["plugin_root_id"]).ok().flatten();
            match root.as_deref() {
                Some(root) if root == crate::portal::ROOT_ID.as_bytes() => {
                    Box::new(crate::portal::Root::default())
                }
                _ => Box::new(crate::root::Root::new(id)),
            }
        });
    }}
}
