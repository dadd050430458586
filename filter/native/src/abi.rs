//! Envoy's interface for dynamic modules, as far as it is used here: its types and numbers, and the functions of Envoy's that are called. Those
//! that Envoy calls are in [`hooks`](crate::hooks).
//!
//! Source: envoyproxy/envoy, `source/extensions/dynamic_modules/abi/abi.h`, ABI v0.1.0 (Envoy 1.39) and v0.2.0 (Envoy 1.40), in which
//! all of this is the same. A test compares the names with what an Envoy exports.

#![expect(unsafe_code, reason = "functions and pointers across Envoy's C interface")]

use std::slice;

/// Bytes of Envoy's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EnvoyBuffer {
    /// May be null if there are none.
    pub data: *const u8,
    /// How many.
    pub length: usize,
}

/// Bytes of the module's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModuleBuffer {
    /// May be null if there are none.
    pub data: *const u8,
    /// How many.
    pub length: usize,
}

/// A header, of Envoy's or of the module's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HttpHeader {
    /// Its name.
    pub name: *const u8,
    /// The name's length.
    pub name_length: usize,
    /// Its value.
    pub value: *const u8,
    /// The value's length.
    pub value_length: usize,
}

/// Whose headers: `envoy_dynamic_module_type_http_header_type`.
#[expect(missing_docs, reason = "Envoy's own names")]
pub mod header_type {
    pub const REQUEST: u32 = 0;
    pub const REQUEST_TRAILERS: u32 = 1;
    pub const RESPONSE: u32 = 2;
}

/// What is known of a stream: `envoy_dynamic_module_type_attribute_id`.
#[expect(missing_docs, reason = "Envoy's own names")]
pub mod attribute {
    pub const REQUEST_PROTOCOL: u32 = 10;
    pub const SOURCE_ADDRESS: u32 = 24;
    pub const CONNECTION_ID: u32 = 28;
}

/// `envoy_dynamic_module_type_log_level`
#[expect(missing_docs, reason = "Envoy's own names")]
pub mod log_level {
    pub const INFO: u32 = 2;
    pub const WARN: u32 = 3;
    pub const ERROR: u32 = 4;
}

/// What came of starting a callout: `envoy_dynamic_module_type_http_callout_init_result`.
#[expect(missing_docs, reason = "Envoy's own names")]
pub mod callout_start {
    pub const SUCCESS: u32 = 0;
    pub const CLUSTER_NOT_FOUND: u32 = 2;
    pub const CANNOT_CREATE_REQUEST: u32 = 4;
}

/// What came of a callout: `envoy_dynamic_module_type_http_callout_result`.
#[expect(missing_docs, reason = "Envoy's own names")]
pub mod callout_end {
    pub const SUCCESS: u32 = 0;
    pub const TOO_LARGE: u32 = 2;
}

/// Of what a body is: `envoy_dynamic_module_type_http_body_type`.
#[expect(missing_docs, reason = "Envoy's own names")]
pub mod body_type {
    pub const BUFFERED_REQUEST: u32 = 1;
}

/// How a connection ends: `envoy_dynamic_module_type_network_connection_close_type`.
#[expect(missing_docs, reason = "Envoy's own names")]
pub mod close_type {
    pub const NO_FLUSH: u32 = 1;
}

/// Every name of [`callbacks`], for the comparison with Envoy.
macro_rules! callbacks {
    ($($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $answer:ty)?;)+) => {
        /// Functions of Envoy's.
        #[expect(missing_docs, reason = "Envoy's own documentation has them")]
        pub mod callbacks {
            use std::ffi::c_void;

            use super::{EnvoyBuffer, HttpHeader, ModuleBuffer};

            unsafe extern "C" {
                $($(#[$attribute])* pub fn $name($($argument: $type),*) $(-> $answer)?;)+
            }
        }

        /// The names of all of Envoy's functions that are called.
        pub const CALLBACKS: &[&str] = &[$(stringify!($name)),+];
    };
}

callbacks! {
    fn envoy_dynamic_module_callback_log(level: u32, message: ModuleBuffer);
    fn envoy_dynamic_module_callback_log_enabled(level: u32) -> bool;
    fn envoy_dynamic_module_callback_is_validation_mode() -> bool;
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: *mut c_void, name: ModuleBuffer, labels: *mut ModuleBuffer, labels_length: usize, id: *mut usize) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: *mut c_void, name: ModuleBuffer, labels: *mut ModuleBuffer, labels_length: usize, id: *mut usize) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_define_histogram(
        config: *mut c_void, name: ModuleBuffer, labels: *mut ModuleBuffer, labels_length: usize, id: *mut usize) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_increment_counter(
        config: *mut c_void, id: usize, values: *mut ModuleBuffer, values_length: usize, value: u64) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_increment_gauge(
        config: *mut c_void, id: usize, values: *mut ModuleBuffer, values_length: usize, value: u64) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_decrement_gauge(
        config: *mut c_void, id: usize, values: *mut ModuleBuffer, values_length: usize, value: u64) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_set_gauge(
        config: *mut c_void, id: usize, values: *mut ModuleBuffer, values_length: usize, value: u64) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_record_histogram_value(
        config: *mut c_void, id: usize, values: *mut ModuleBuffer, values_length: usize, value: u64) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_http_callout(
        config: *mut c_void, id: *mut u64, cluster: ModuleBuffer, headers: *mut HttpHeader, headers_length: usize,
        body: ModuleBuffer, timeout_milliseconds: u64) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(config: *mut c_void) -> *mut c_void;
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(scheduler: *mut c_void, event: u64);
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: *mut c_void);
    fn envoy_dynamic_module_callback_http_filter_scheduler_new(filter: *mut c_void) -> *mut c_void;
    fn envoy_dynamic_module_callback_http_filter_scheduler_commit(scheduler: *mut c_void, event: u64);
    fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: *mut c_void);
    fn envoy_dynamic_module_callback_http_get_header(
        filter: *mut c_void, of: u32, name: ModuleBuffer, value: *mut EnvoyBuffer, index: usize, count: *mut usize) -> bool;
    fn envoy_dynamic_module_callback_http_get_headers_size(filter: *mut c_void, of: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_headers(filter: *mut c_void, of: u32, headers: *mut HttpHeader) -> bool;
    fn envoy_dynamic_module_callback_http_add_header(
        filter: *mut c_void, of: u32, name: ModuleBuffer, value: ModuleBuffer) -> bool;
    fn envoy_dynamic_module_callback_http_set_header(
        filter: *mut c_void, of: u32, name: ModuleBuffer, value: ModuleBuffer) -> bool;
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        filter: *mut c_void, key: ModuleBuffer, value: ModuleBuffer) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        filter: *mut c_void, attribute: u32, value: *mut EnvoyBuffer) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_attribute_int(
        filter: *mut c_void, attribute: u32, value: *mut u64) -> bool;
    fn envoy_dynamic_module_callback_http_clear_route_cache(filter: *mut c_void);
    fn envoy_dynamic_module_callback_http_send_response(
        filter: *mut c_void, status: u32, headers: *mut HttpHeader, headers_length: usize, body: ModuleBuffer,
        details: ModuleBuffer);
    fn envoy_dynamic_module_callback_http_filter_continue_decoding(filter: *mut c_void);
    fn envoy_dynamic_module_callback_http_get_body_size(filter: *mut c_void, of: u32) -> usize;
    fn envoy_dynamic_module_callback_network_filter_config_define_counter(
        config: *mut c_void, name: ModuleBuffer, id: *mut usize) -> u32;
    fn envoy_dynamic_module_callback_network_filter_config_increment_counter(
        config: *mut c_void, id: usize, value: u64) -> u32;
    fn envoy_dynamic_module_callback_network_filter_get_connection_id(connection: *mut c_void) -> u64;
    fn envoy_dynamic_module_callback_network_filter_get_remote_address(
        connection: *mut c_void, address: *mut EnvoyBuffer, port: *mut u32) -> bool;
    fn envoy_dynamic_module_callback_network_filter_close(connection: *mut c_void, how: u32);
    fn envoy_dynamic_module_callback_network_filter_scheduler_new(connection: *mut c_void) -> *mut c_void;
    fn envoy_dynamic_module_callback_network_filter_scheduler_commit(scheduler: *mut c_void, event: u64);
    fn envoy_dynamic_module_callback_network_filter_scheduler_delete(scheduler: *mut c_void);
}

/// # Safety
/// `data` is null, or the place of that many items that can be read for as long as the answer is used.
pub(crate) unsafe fn items<'a, T>(data: *const T, length: usize) -> &'a [T] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: by this function's own contract.
    unsafe { slice::from_raw_parts(data, length) }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, process::Command};

    use super::CALLBACKS;

    /// A function that an Envoy does not have would be the end of it at the first call, or keep it from loading the module.
    #[test]
    fn envoy_has_every_function_that_is_called() {
        let envoy = std::env::var_os("ENVOY_BIN").expect("ENVOY_BIN names an Envoy");
        let output = Command::new("nm").args(["-D", "--defined-only"]).arg(&envoy).output();
        let output = output.expect("nm of binutils");
        let symbols = String::from_utf8(output.stdout).unwrap();
        let known: HashSet<_> =
            symbols.lines().filter_map(|line| line.split(' ').next_back()).collect();
        let missing: Vec<_> = CALLBACKS.iter().filter(|name| !known.contains(*name)).collect();
        assert!(missing.is_empty(), "{} does not export {missing:?}", envoy.display());
    }

    /// The very program is told from others.
    #[test]
    fn the_envoy_of_the_tests_is_a_tested_one() {
        let envoy = std::env::var_os("ENVOY_BIN").expect("ENVOY_BIN names an Envoy");
        let program = std::fs::File::open(envoy).unwrap();
        if let Err(why) = crate::version::of_program(program) {
            panic!("{why}");
        }
    }
}
