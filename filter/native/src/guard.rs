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
        host::error(&format!("a panic, which ends what it was about: {place}"));
    }));
}

/// Drops what a hook held, whose end may be that of more.
pub fn release<T>(held: T) {
    let _ = guard(move || drop(held));
}

/// Where a test has the module panic.
#[cfg(any(test, feature = "mock"))]
pub mod on_demand {
    use std::{cell::Cell, sync::Mutex};

    use crate::shared::lock;

    thread_local! {
        static LEFT: Cell<u32> = const { Cell::new(0) };
        static PLACE: Cell<&'static str> = const { Cell::new("") };
    }

    /// The name of a gateway.
    static TICK: Mutex<String> = Mutex::new(String::new());

    /// This thread panics once where it next comes to the place.
    pub fn panic_at(place: &'static str) {
        PLACE.set(place);
    }

    /// A place that a test may have panic.
    pub(crate) fn place(place: &'static str) {
        let is_asked = PLACE.get() == place;
        if is_asked {
            PLACE.set("");
        }
        assert!(!is_asked, "asked for");
    }

    /// The next tick of the gateway of this name panics.
    pub fn panic_at_tick(gateway: &str) {
        gateway.clone_into(&mut lock(&TICK));
    }

    /// Whether the tick that is to panic has.
    #[must_use]
    pub fn has_ticked() -> bool {
        lock(&TICK).is_empty()
    }

    /// A tick.
    pub(crate) fn tick(gateway: &str) {
        let mut asked = lock(&TICK);
        let is_asked = !asked.is_empty() && *asked == gateway;
        if is_asked {
            asked.clear();
        }
        drop(asked);
        assert!(!is_asked, "asked for");
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
