//! Of connections, for the network filter.

use std::{
    cell::Cell,
    ffi::c_void,
    net::{IpAddr, SocketAddr},
    ptr::null_mut,
};

use super::{
    EVENT, buffer,
    handle::{ConfigHandle, NetworkFilter},
};
use crate::abi::{EnvoyBuffer, callbacks, close_type, items};

/// Envoy's side of one connection. Once that has been destroyed, each call is refused.
pub struct Handle(Cell<*mut c_void>);

impl Handle {
    /// # Safety
    /// Envoy gave the pointer for a connection of this thread. It stays good until the connection's filter is destroyed, upon which
    /// [`Self::close`] is called.
    pub(crate) unsafe fn new(connection: *mut c_void) -> Self {
        Self(Cell::new(connection))
    }

    /// The connection is gone.
    pub fn close(&self) {
        self.0.set(null_mut());
    }

    fn open(&self) -> Option<*mut c_void> {
        Some(self.0.get()).filter(|connection| !connection.is_null())
    }

    /// Envoy's number of the connection, which no other of the process has.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let connection = self.open()?;
        // SAFETY: the connection is there.
        Some(unsafe {
            callbacks::envoy_dynamic_module_callback_network_filter_get_connection_id(connection)
        })
    }

    /// The client's address, as far as the PROXY protocol tells it; none if it is no address of a network.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        let connection = self.open()?;
        let (mut address, mut port) = (EnvoyBuffer { data: null_mut(), length: 0 }, 0);
        // SAFETY: the connection is there; Envoy writes one buffer and one number.
        let found = unsafe {
            callbacks::envoy_dynamic_module_callback_network_filter_get_remote_address(
                connection,
                &raw mut address,
                &raw mut port,
            )
        };
        if !found {
            return None;
        }
        // SAFETY: Envoy has filled in the place of bytes that stay for the hook.
        let address = unsafe { items(address.data, address.length) };
        let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
        Some(SocketAddr::new(address, u16::try_from(port).ok()?))
    }

    /// Ends the connection: what was written is not waited for.
    pub fn end(&self) {
        if let Some(connection) = self.open() {
            // SAFETY: the connection is there.
            unsafe {
                callbacks::envoy_dynamic_module_callback_network_filter_close(
                    connection,
                    close_type::NO_FLUSH,
                );
            }
        }
    }

    /// What wakes the connection.
    #[must_use]
    pub fn scheduler(&self) -> Option<Scheduler> {
        let connection = self.open()?;
        // SAFETY: the connection is there.
        let scheduler = unsafe {
            callbacks::envoy_dynamic_module_callback_network_filter_scheduler_new(connection)
        };
        (!scheduler.is_null()).then(|| Scheduler(scheduler))
    }
}

/// Has Envoy call a connection in its own thread, from any other.
pub struct Scheduler(*mut c_void);

// SAFETY: Envoy lets any thread use and delete it, one at a time or several.
unsafe impl Send for Scheduler {}
// SAFETY: as above.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    /// Has Envoy call the connection, unless it is gone by then.
    pub fn commit(&self) {
        // SAFETY: it is there until it is dropped.
        unsafe {
            callbacks::envoy_dynamic_module_callback_network_filter_scheduler_commit(self.0, EVENT);
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody has it any more.
        unsafe { callbacks::envoy_dynamic_module_callback_network_filter_scheduler_delete(self.0) }
    }
}

impl ConfigHandle<NetworkFilter> {
    /// Defines a counter; its number. Envoy takes none once the configuration is loaded.
    #[must_use]
    pub fn define(&self, name: &str) -> Option<usize> {
        let config = self.open()?;
        let (name, mut id) = (buffer(name.as_bytes()), 0);
        // SAFETY: the configuration is there; Envoy copies the name, and writes one number.
        let result = unsafe {
            callbacks::envoy_dynamic_module_callback_network_filter_config_define_counter(
                config,
                name,
                &raw mut id,
            )
        };
        (result == 0).then_some(id)
    }

    /// Counts.
    pub fn count(&self, id: usize, more: u64) {
        self.hold(|config| {
            // SAFETY: the configuration is there, and stays while it is held.
            let _ = unsafe {
                callbacks::envoy_dynamic_module_callback_network_filter_config_increment_counter(
                    config, id, more,
                )
            };
        });
    }
}
