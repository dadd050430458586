//! No panic leaves the module: it would be the end of Envoy, and of every stream in it.

use std::{
    mem,
    panic::{self, AssertUnwindSafe},
};

use crate::host;

/// Runs `call`. `None` if it panicked.
///
/// What it was about may be half done: the caller must see to it that a request that met a panic does not go on.
pub fn guard<R>(call: impl FnOnce() -> R) -> Option<R> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => Some(answer),
        Err(payload) => {
            // To drop it could be one more.
            if let Err(another) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                mem::forget(another);
            }
            None
        }
    }
}

/// Has panics logged by Envoy: where they happened. What they say may hold parts of what a client sent.
pub fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        host::error(&format!("a panic, which ends one request with 500: {place}"));
    }));
}

/// Where a test has the module panic.
#[cfg(any(test, feature = "mock"))]
pub mod on_demand {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<u32> = const { Cell::new(0) };
    }

    /// A decision of this thread panics, after `others`; none with `None`.
    pub fn panic_after(others: Option<u32>) {
        LEFT.set(others.map_or(0, |others| others.saturating_add(1)));
    }

    /// A decision.
    pub(crate) fn decision() {
        let left = LEFT.get();
        LEFT.set(left.saturating_sub(1));
        assert_ne!(left, 1, "asked for");
    }
}
