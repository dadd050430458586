//! The functions that Envoy calls of a network filter.

use std::{ffi::c_void, ptr::null, rc::Rc, sync::Arc};

use crate::{
    abi::{EnvoyBuffer, items},
    connections::{Connection, Counting, Status},
    guard::{guard, release},
    host::{ConfigHandle, connections::Handle},
};

/// Runs a hook of a connection. A connection that meets a panic is ended.
///
/// # Safety
/// `connection` is null, or a pointer that [`envoy_dynamic_module_on_network_filter_new`] gave out, and has not been destroyed.
unsafe fn of_connection<R>(
    connection: *const c_void,
    stopped: R,
    call: impl FnOnce(&Rc<Connection>) -> R,
) -> R {
    if connection.is_null() {
        return stopped;
    }
    let connection = connection.cast::<Connection>();
    // SAFETY: the pointer is of `Rc::into_raw`, and its own count is given back by `destroy` alone. Envoy calls all hooks of a connection
    // in the thread that made it.
    let connection = unsafe {
        Rc::increment_strong_count(connection);
        Rc::from_raw(connection)
    };
    let answer = guard(|| call(&connection));
    if answer.is_none() {
        let _ = guard(|| connection.panicked());
    }
    release(connection);
    answer.unwrap_or(stopped)
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_network_filter_config_new(
    envoy: *mut c_void,
    _name: EnvoyBuffer,
    document: EnvoyBuffer,
) -> *const c_void {
    // SAFETY: Envoy gives bytes that last as long as this call.
    let document = unsafe { items(document.data, document.length) };
    // SAFETY: the pointer is Envoy's and good until the configuration is destroyed, which closes the handle.
    let handle = unsafe { ConfigHandle::new(envoy) };
    let counting = guard(|| Counting::new(handle, document)).flatten();
    counting.map_or(null(), |counting| Arc::into_raw(counting).cast())
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_network_filter_config_destroy(
    config: *const c_void,
) {
    if config.is_null() {
        return;
    }
    // SAFETY: Envoy destroys once what it was given.
    let counting = unsafe { Arc::from_raw(config.cast::<Counting>()) };
    let _ = guard(|| counting.destroy());
    release(counting);
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_network_filter_new(
    config: *const c_void,
    envoy: *mut c_void,
) -> *const c_void {
    // Without a filter Envoy closes the connection.
    if config.is_null() {
        return null();
    }
    let config = config.cast::<Counting>();
    // SAFETY: the pointer is of `Arc::into_raw`, and its own count is given back by `destroy` alone.
    let counting = unsafe {
        Arc::increment_strong_count(config);
        Arc::from_raw(config)
    };
    // SAFETY: the pointer is Envoy's and good until the connection's filter is destroyed, which closes the handle.
    let handle = unsafe { Handle::new(envoy) };
    let connection = guard(|| Connection::new(&counting, handle));
    if connection.is_none() {
        let _ = guard(|| counting.panicked());
    }
    release(counting);
    connection.map_or(null(), |connection| Rc::into_raw(connection).cast())
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_network_filter_new_connection(
    _envoy: *mut c_void,
    connection: *const c_void,
) -> u32 {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_connection(connection, Status::Stop, Connection::begins) as u32 }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_network_filter_scheduled(
    _envoy: *mut c_void,
    connection: *const c_void,
    _event: u64,
) {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_connection(connection, (), |connection| connection.scheduled()) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_network_filter_destroy(
    connection: *const c_void,
) {
    if connection.is_null() {
        return;
    }
    // SAFETY: Envoy destroys once what it was given.
    let connection = unsafe { Rc::from_raw(connection.cast::<Connection>()) };
    let _ = guard(|| connection.destroyed());
    release(connection);
}

super::no_ops! {
    fn envoy_dynamic_module_on_network_filter_read(envoy: *mut c_void, connection: *const c_void, length: usize, end: bool) -> u32 = Status::Continue as u32;
    fn envoy_dynamic_module_on_network_filter_write(envoy: *mut c_void, connection: *const c_void, length: usize, end: bool) -> u32 = Status::Continue as u32;
    fn envoy_dynamic_module_on_network_filter_event(envoy: *mut c_void, connection: *const c_void, event: u32);
}
