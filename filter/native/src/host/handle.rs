//! Envoy's side of a configuration, of either kind of filter.

use std::{ffi::c_void, marker::PhantomData, ptr::null_mut, sync::Mutex};

use crate::shared::lock;

/// Marks the configuration of an HTTP filter.
pub struct HttpFilter;

/// Marks the configuration of a network filter.
pub struct NetworkFilter;

/// Envoy's side of one configuration. Once that has been destroyed, each call is refused.
pub struct ConfigHandle<Of>(Mutex<*mut c_void>, PhantomData<fn() -> Of>);

// SAFETY: what is called through it is called by the main thread, by the one that destroys the configuration when no other can use it, or,
// from any thread, while the pointer is held.
unsafe impl<Of> Send for ConfigHandle<Of> {}
// SAFETY: as above.
unsafe impl<Of> Sync for ConfigHandle<Of> {}

impl<Of> ConfigHandle<Of> {
    /// # Safety
    /// Envoy gave the pointer for a configuration of this kind. It stays good until the configuration is destroyed, upon which
    /// [`Self::close`] is called.
    pub(crate) unsafe fn new(config: *mut c_void) -> Self {
        Self(Mutex::new(config), PhantomData)
    }

    /// The configuration is gone.
    pub fn close(&self) {
        *lock(&self.0) = null_mut();
    }

    /// The pointer, for calls of the main thread. It is not held: Envoy may call back before such a call returns.
    pub(super) fn open(&self) -> Option<*mut c_void> {
        let config = *lock(&self.0);
        (!config.is_null()).then_some(config)
    }

    /// Has something done with the pointer, from any thread, unless the configuration is gone. It cannot go meanwhile, so that this must not
    /// call back.
    pub(super) fn hold(&self, f: impl FnOnce(*mut c_void)) {
        let config = lock(&self.0);
        if !config.is_null() {
            f(*config);
        }
    }
}
