//! The one callback whose answer the SDK cannot give.
//!
//! `proxy_on_request_body` may answer `StopIterationAndWatermark`: keep the bytes, and read no more of them than the buffer's limit.
//! The SDK's `Action` knows only to go on and to stop and buffer, which ends the request with 413 at that limit, and with which some
//! Envoys lose the first bytes after the 101 (envoyproxy/envoy#46841). So the module exports a callback of its own, which asks
//! the SDK's and may then say more than it; `filter-trim` puts it in the place of the SDK's.
//!
//! Source of the numbers: proxy-wasm/spec, abi-versions/v0.2.1, `proxy_action_t`; proxy-wasm-cpp-host, `FilterDataStatus`.

#![expect(unsafe_code, reason = "an export and a call across the module's own C interface")]

use std::cell::Cell;

/// `FilterDataStatus::StopIterationAndWatermark`
const WATERMARK: u32 = 2;

thread_local! {
    static HOLD: Cell<bool> = const { Cell::new(false) };
}

/// Makes the present call of `on_http_request_body` keep what came, and have no more read than fits.
pub fn hold_body() {
    HOLD.set(true);
}

unsafe extern "C" {
    /// The SDK's dispatcher. Its `Action` is an `enum` of 32 bits.
    safe fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
}

// SAFETY: no other symbol of the module has this name, which the SDK does not know.
#[unsafe(export_name = "gateway_on_request_body")]
extern "C" fn on_request_body(context: u32, size: usize, end: bool) -> u32 {
    HOLD.set(false);
    let action = proxy_on_request_body(context, size, end);
    if HOLD.replace(false) { WATERMARK } else { action }
}
