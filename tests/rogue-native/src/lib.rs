//! A native module that fails in every way a filter can, so that a test can see that the doors behind it hold without it.
//!
//! The request header `x-rogue` says how: `panic` ends Envoy, as a module does that meets its worst error; `mark` sets the marks that the
//! gate and the routes look for but writes no identity; `mark-empty` writes an empty one; `mark-own-token` claims a mode that is not
//! configured; `pause` holds the request and never lets it go; `serve` does what an honest filter does for the user `rogue`; anything else
//! lets the request pass untouched, as a filter that was skipped would. It is `tests/rogue-filter` in the other form.
//!
//! Source of the interface: as `filter/native/src/abi.rs` has it.

#![expect(unsafe_code, reason = "functions and pointers across Envoy's C interface")]

use std::{
    ffi::{c_char, c_void},
    process,
    ptr::null,
    slice,
};

/// `Continue` and `StopAllIterationAndWatermark` of headers; the first is that of bodies and trailers, too.
const CONTINUE: u32 = 0;
const PAUSE: u32 = 4;

/// Bytes of the module's.
#[repr(C)]
struct ModuleBuffer {
    data: *const u8,
    length: usize,
}

/// Bytes of Envoy's.
#[repr(C)]
struct EnvoyBuffer {
    data: *const u8,
    length: usize,
}

unsafe extern "C" {
    fn envoy_dynamic_module_callback_http_get_header(
        filter: *mut c_void,
        of: u32,
        name: ModuleBuffer,
        value: *mut EnvoyBuffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_set_header(
        filter: *mut c_void,
        of: u32,
        name: ModuleBuffer,
        value: ModuleBuffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        filter: *mut c_void,
        key: ModuleBuffer,
        value: ModuleBuffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_clear_route_cache(filter: *mut c_void);
}

/// Envoy's side of a stream, for the time of one call.
struct Filter(*mut c_void);

impl Filter {
    fn header(&self, name: &str) -> Vec<u8> {
        let (mut value, mut count) = (EnvoyBuffer { data: null(), length: 0 }, 0);
        // SAFETY: Envoy reads the name, and writes one buffer of bytes that stay for the call.
        unsafe {
            let found = envoy_dynamic_module_callback_http_get_header(
                self.0,
                0,
                buffer(name),
                &raw mut value,
                0,
                &raw mut count,
            );
            if !found || value.data.is_null() {
                return Vec::new();
            }
            slice::from_raw_parts(value.data, value.length).to_vec()
        }
    }

    fn set_header(&self, name: &str, value: &str) {
        // SAFETY: Envoy copies both.
        unsafe {
            envoy_dynamic_module_callback_http_set_header(self.0, 0, buffer(name), buffer(value));
        }
    }

    fn mark(&self, mode: &str) {
        for (key, value) in [("wasm.user", "rogue"), ("wasm.mode", mode)] {
            // SAFETY: Envoy copies both.
            unsafe {
                envoy_dynamic_module_callback_http_set_filter_state_bytes(
                    self.0,
                    buffer(key),
                    buffer(value),
                );
            }
        }
        self.set_header("x-rogue-was-here", "1");
        // SAFETY: the stream is there.
        unsafe { envoy_dynamic_module_callback_http_clear_route_cache(self.0) }
    }
}

fn buffer(text: &str) -> ModuleBuffer {
    ModuleBuffer { data: text.as_ptr(), length: text.len() }
}

// SAFETY of all exported names below: they are Envoy's for modules, which nothing else in the process defines.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    c"v0.1.0".as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    _envoy: *mut c_void,
    _name: EnvoyBuffer,
    _document: EnvoyBuffer,
) -> *const c_void {
    // Anything but null; nothing looks there.
    c"config".as_ptr().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(
    _config: *const c_void,
    _envoy: *mut c_void,
) -> *const c_void {
    c"stream".as_ptr().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: *mut c_void,
    _stream: *const c_void,
    _end: bool,
) -> u32 {
    let filter = Filter(envoy);
    match filter.header("x-rogue").as_slice() {
        b"panic" => process::abort(),
        b"mark" => filter.mark("impersonate"),
        b"mark-empty" => {
            filter.set_header("impersonate-user", "");
            filter.mark("impersonate");
        }
        b"mark-own-token" => filter.mark("own-token"),
        b"serve" => {
            filter.set_header("impersonate-user", "rogue");
            filter.mark("impersonate");
        }
        b"pause" => return PAUSE,
        _ => {}
    }
    CONTINUE
}

/// What Envoy demands of every module, and has nothing to do here.
macro_rules! unused {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $answer:ty)?;)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) $(-> $answer)? {
                $(let _ = $argument;)*
                $(<$answer>::default())?
            }
        )+
    };
}

unused! {
    envoy_dynamic_module_on_http_filter_config_destroy(config: *const c_void);
    envoy_dynamic_module_on_http_filter_destroy(stream: *const c_void);
    envoy_dynamic_module_on_http_filter_request_body(envoy: *mut c_void, stream: *const c_void, end: bool) -> u32;
    envoy_dynamic_module_on_http_filter_request_trailers(envoy: *mut c_void, stream: *const c_void) -> u32;
    envoy_dynamic_module_on_http_filter_response_headers(envoy: *mut c_void, stream: *const c_void, end: bool) -> u32;
    envoy_dynamic_module_on_http_filter_response_body(envoy: *mut c_void, stream: *const c_void, end: bool) -> u32;
    envoy_dynamic_module_on_http_filter_response_trailers(envoy: *mut c_void, stream: *const c_void) -> u32;
    envoy_dynamic_module_on_http_filter_stream_complete(envoy: *mut c_void, stream: *const c_void);
    envoy_dynamic_module_on_http_filter_scheduled(envoy: *mut c_void, stream: *const c_void, event: u64);
    envoy_dynamic_module_on_http_filter_http_callout_done(
        envoy: *mut c_void, stream: *const c_void, callout: u64, end: u32, headers: *const c_void, headers_length: usize,
        chunks: *const c_void, chunks_length: usize);
    envoy_dynamic_module_on_http_filter_http_stream_headers(
        envoy: *mut c_void, stream: *const c_void, id: u64, headers: *const c_void, headers_length: usize, end: bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(
        envoy: *mut c_void, stream: *const c_void, id: u64, chunks: *const c_void, chunks_length: usize, end: bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(
        envoy: *mut c_void, stream: *const c_void, id: u64, trailers: *const c_void, trailers_length: usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(envoy: *mut c_void, stream: *const c_void, id: u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(envoy: *mut c_void, stream: *const c_void, id: u64, reason: u32);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(envoy: *mut c_void, stream: *const c_void);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(envoy: *mut c_void, stream: *const c_void);
}
