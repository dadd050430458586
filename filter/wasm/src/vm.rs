//! The one worker of this VM. It outlives the root contexts, which a new configuration replaces.

use std::cell::RefCell;

use gateway_core::worker::Worker;

use crate::host;

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm { id: host::random(), worker: None });
}

/// The state of this VM.
pub struct Vm {
    /// Tells this VM from the others of the proxy.
    pub id: u64,
    /// Absent until the first valid configuration.
    pub worker: Option<Worker>,
}

/// Runs `f` with the state of this VM. `f` must make no host call that could call back into the module.
pub fn with<R>(f: impl FnOnce(&mut Vm) -> R) -> R {
    VM.with_borrow_mut(f)
}
