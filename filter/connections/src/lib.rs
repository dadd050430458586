//! The module of the network filter before the connection manager: how many connections of which nobody is known one address
//! may hold.
//!
//! It has a VM of its own. When the VM of a network filter dies, Envoy ends every connection that has passed it; the gateway's
//! filter, which reads what clients send, must therefore live in another. What it knows of a connection it leaves in Envoy's
//! state of that connection, where this module looks.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
// Natively there is a test of the names alone, without a host.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "the host's side is left out"))]

#[cfg(any(target_arch = "wasm32", not(test)))]
mod root;

/// What the gateway's filter sets on a connection once a request has been let through for a user who signed in
/// (`gateway_core::connections`).
const SIGNED_IN: &str = "signed_in";

/// What counts the connections that were closed, and its label (`gateway_core::metrics`).
const CLOSED: &str = "gateway_connections_closed_total.reason";

#[cfg(any(target_arch = "wasm32", not(test)))]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}

#[cfg(test)]
mod tests {
    use gateway_core::{connections, metrics::Metric};

    use super::*;

    #[test]
    fn names_are_those_of_the_gateways_filter() {
        assert_eq!(SIGNED_IN, connections::SIGNED_IN);
        let [label] = Metric::ConnectionsClosed.labels() else { panic!("one label") };
        assert_eq!(CLOSED, format!("{}.{label}", Metric::ConnectionsClosed.name()));
    }
}
