//! Callbacks in which the SDK's answer is not enough. The module exports its own, which ask the SDK's and may say more, or less;
//! `filter-trim` puts them in the place of the SDK's.
//!
//! `proxy_on_request_body` may answer `StopIterationAndWatermark`: keep the bytes, and read no more of them than the buffer's limit.
//! The SDK's `Action` knows only to go on and to stop and buffer, which ends the request with 413 at that limit, and with which some
//! Envoys lose the first bytes after the 101 (envoyproxy/envoy#46841).
//!
//! `proxy_on_queue_ready` may come for a root context of a VM that has died: its queue outlives it, and Envoy looks for the context's
//! number in the VM that took its place. There it is a stream's, or nobody's, for which the SDK panics, and the new VM dies too.
//!
//! Source of the numbers: proxy-wasm/spec, abi-versions/v0.2.1, `proxy_action_t`; proxy-wasm-cpp-host, `FilterDataStatus`.

#![expect(unsafe_code, reason = "exports and calls across the module's own C interface")]

use std::cell::{Cell, RefCell};

/// `FilterDataStatus::StopIterationAndWatermark`
const WATERMARK: u32 = 2;

thread_local! {
    static HOLD: Cell<bool> = const { Cell::new(false) };
    /// The root contexts of this VM that have a queue.
    static LISTENING: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Makes the present call of `on_http_request_body` keep what came, and have no more read than fits.
pub fn hold_body() {
    HOLD.set(true);
}

/// Lets a root context of this VM hear of its queue.
pub fn listen(root: u32) {
    LISTENING.with_borrow_mut(|listening| listening.push(root));
}

/// The root context is gone.
pub fn stop_listening(root: u32) {
    LISTENING.with_borrow_mut(|listening| listening.retain(|known| *known != root));
}

unsafe extern "C" {
    /// The SDK's dispatcher. Its `Action` is an `enum` of 32 bits.
    safe fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
    /// The SDK's dispatcher.
    safe fn proxy_on_queue_ready(context: u32, queue: u32);
}

// SAFETY: no other symbol of the module has this name, which the SDK does not know.
#[unsafe(export_name = "gateway_on_request_body")]
extern "C" fn on_request_body(context: u32, size: usize, end: bool) -> u32 {
    HOLD.set(false);
    let action = proxy_on_request_body(context, size, end);
    if HOLD.replace(false) { WATERMARK } else { action }
}

// SAFETY: as above.
#[unsafe(export_name = "gateway_on_queue_ready")]
extern "C" fn on_queue_ready(context: u32, queue: u32) {
    if LISTENING.with_borrow(|listening| listening.contains(&context)) {
        proxy_on_queue_ready(context, queue);
    }
}
