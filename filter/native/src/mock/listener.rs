//! A listener with the network filter, and connections.

use std::{
    cell::Cell,
    ffi::c_void,
    ptr::null,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::envoy_buffer;
use crate::hooks::connections::{
    envoy_dynamic_module_on_network_filter_config_destroy,
    envoy_dynamic_module_on_network_filter_config_new,
    envoy_dynamic_module_on_network_filter_destroy, envoy_dynamic_module_on_network_filter_new,
    envoy_dynamic_module_on_network_filter_new_connection,
    envoy_dynamic_module_on_network_filter_scheduled,
};

/// The numbers of the process's connections.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

#[derive(Default)]
pub(super) struct MockListener {
    pub(super) counters: Mutex<Vec<(String, u64)>>,
}

#[derive(Default)]
pub(super) struct MockPeer {
    pub(super) number: u64,
    /// Without the port; empty for none.
    pub(super) source: String,
    pub(super) is_closed: Cell<bool>,
    pub(super) has_no_scheduler: Cell<bool>,
    pub(super) events: Arc<AtomicU64>,
}

/// A configuration of the network filter that the module has taken.
pub struct Listener {
    config: Box<MockListener>,
    module: *const c_void,
}

// For a thread that stands for a worker.
unsafe impl Sync for Listener {}

impl Listener {
    /// Loads a configuration. `None` if the module refuses it.
    #[must_use]
    pub fn load(document: &str) -> Option<Self> {
        let config = Box::<MockListener>::default();
        let module = unsafe {
            envoy_dynamic_module_on_network_filter_config_new(
                (&raw const *config).cast_mut().cast(),
                envoy_buffer(b"connections"),
                envoy_buffer(document.as_bytes()),
            )
        };
        (!module.is_null()).then_some(Self { config, module })
    }

    /// The value of a counter.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.config.counters.lock().unwrap();
        counters.iter().find(|(known, _)| known == name).expect("a counter that was defined").1
    }

    /// Begins a connection.
    #[must_use]
    pub fn connect(&self, source: &str) -> Peer<'_> {
        self.begin(source, false)
    }

    /// Begins a connection that Envoy lets nobody wake.
    #[must_use]
    pub fn connect_without_scheduler(&self, source: &str) -> Peer<'_> {
        self.begin(source, true)
    }

    fn begin(&self, source: &str, has_no_scheduler: bool) -> Peer<'_> {
        let peer = Box::new(MockPeer {
            number: NUMBERS.fetch_add(1, Ordering::SeqCst),
            source: source.to_owned(),
            has_no_scheduler: Cell::new(has_no_scheduler),
            ..MockPeer::default()
        });
        let envoy = (&raw const *peer).cast_mut().cast();
        let module = unsafe { envoy_dynamic_module_on_network_filter_new(self.module, envoy) };
        let status =
            unsafe { envoy_dynamic_module_on_network_filter_new_connection(envoy, module) };
        assert_eq!(status == 1, peer.is_closed.get() || module.is_null());
        Peer { _listener: self, connection: peer, module }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let module = std::mem::replace(&mut self.module, null());
        unsafe { envoy_dynamic_module_on_network_filter_config_destroy(module) };
    }
}

/// A connection.
pub struct Peer<'a> {
    _listener: &'a Listener,
    connection: Box<MockPeer>,
    module: *const c_void,
}

impl Peer<'_> {
    /// Whether the module has closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed.get()
    }

    /// Envoy's number of it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.connection.number
    }

    /// Runs what was scheduled for it, if anything was.
    pub fn run(&self) {
        let events = self.connection.events.swap(0, Ordering::SeqCst);
        if events > 0 {
            let envoy = (&raw const *self.connection).cast_mut().cast();
            unsafe { envoy_dynamic_module_on_network_filter_scheduled(envoy, self.module, 0) };
        }
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        unsafe { envoy_dynamic_module_on_network_filter_destroy(self.module) };
    }
}
