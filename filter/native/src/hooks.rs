//! The functions that Envoy calls. Each turns its pointers into what they are and calls the one of the same name elsewhere in this crate,
//! behind a [`guard`] that no panic passes.
//!
//! Source: as [`abi`](crate::abi) has it.

#![expect(unsafe_code, reason = "functions and pointers across Envoy's C interface")]

pub(crate) mod connections;

use std::{
    ffi::{CStr, c_char, c_void},
    ptr::null,
    rc::Rc,
    sync::Arc,
};

use crate::{
    abi::{EnvoyBuffer, HttpHeader, items},
    config::Config,
    guard::{guard, release},
    host::{ConfigHandle, Filter},
    stream::{BodyStatus, HeadersStatus, Stream, TrailersStatus},
    version,
};

/// What Envoy demands of every module, and has nothing to do here.
macro_rules! no_ops {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $answer:ty = $value:expr)?;)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) $(-> $answer)? {
                $(let _ = $argument;)*
                $($value)?
            }
        )+
    };
}

pub(crate) use no_ops;

/// The stream behind a pointer that [`envoy_dynamic_module_on_http_filter_new`] gave out. It stays while it is held, even if Envoy
/// destroys it in the middle of a hook: an answer can be the end of a stream.
///
/// # Safety
/// `stream` is such a pointer, and has not been destroyed.
unsafe fn held(stream: *const c_void) -> Rc<Stream> {
    let stream = stream.cast::<Stream>();
    // SAFETY: the pointer is of `Rc::into_raw`, and its own count is given back by `destroy` alone. Envoy calls all hooks of a stream in
    // the thread that made it.
    unsafe {
        Rc::increment_strong_count(stream);
        Rc::from_raw(stream)
    }
}

/// # Safety
/// `config` is a pointer that [`envoy_dynamic_module_on_http_filter_config_new`] gave out, and has not been destroyed.
unsafe fn held_config(config: *const c_void) -> Arc<Config> {
    let config = config.cast::<Config>();
    // SAFETY: the pointer is of `Arc::into_raw`, and its own count is given back by `destroy` alone.
    unsafe {
        Arc::increment_strong_count(config);
        Arc::from_raw(config)
    }
}

// SAFETY of all exported names below: they are Envoy's for modules, which nothing else in the process defines.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    guard(version::load).flatten().map_or(null(), CStr::as_ptr)
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: *mut c_void,
    name: EnvoyBuffer,
    document: EnvoyBuffer,
) -> *const c_void {
    // SAFETY: Envoy gives bytes that last as long as this call.
    let (name, document) =
        unsafe { (items(name.data, name.length), items(document.data, document.length)) };
    // SAFETY: the pointer is Envoy's and good until the configuration is destroyed, which closes the handle.
    let handle = unsafe { ConfigHandle::new(envoy) };
    let config = guard(|| Config::new(handle, name, document)).flatten();
    config.map_or(null(), |config| Arc::into_raw(config).cast())
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(
    config: *const c_void,
) {
    if config.is_null() {
        return;
    }
    // SAFETY: Envoy destroys once what it was given.
    let config = unsafe { Arc::from_raw(config.cast::<Config>()) };
    let _ = guard(|| config.destroy());
    release(config);
}

/// Runs a hook of a configuration, and counts its panic.
///
/// # Safety
/// As for [`held_config`].
unsafe fn of_config(config: *const c_void, call: impl FnOnce(&Arc<Config>)) {
    if config.is_null() {
        return;
    }
    // SAFETY: by this function's own contract.
    let config = unsafe { held_config(config) };
    if guard(|| call(&config)).is_none() {
        config.panicked();
    }
    release(config);
}

/// Runs a hook of a stream. A stream that meets a panic is refused, and `stopped` said of it. What Envoy has destroyed meanwhile ends
/// here, behind the guard, too.
///
/// # Safety
/// As for [`held`].
unsafe fn of_stream<R>(
    stream: *const c_void,
    stopped: R,
    call: impl FnOnce(&Rc<Stream>) -> R,
) -> R {
    // None that could be made, or one that has been destroyed: nothing of it goes on.
    if stream.is_null() {
        return stopped;
    }
    // SAFETY: by this function's own contract.
    let stream = unsafe { held(stream) };
    let answer = guard(|| call(&stream));
    if answer.is_none() {
        stream.panicked();
    }
    release(stream);
    answer.unwrap_or(stopped)
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    _envoy: *mut c_void,
    config: *const c_void,
    _event: u64,
) {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_config(config, Config::scheduled) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    _envoy: *mut c_void,
    config: *const c_void,
    callout: u64,
    end: u32,
    headers: *const HttpHeader,
    headers_length: usize,
    chunks: *const EnvoyBuffer,
    chunks_length: usize,
) {
    // SAFETY: what came lasts as long as this call.
    let (headers, chunks) =
        unsafe { (items(headers, headers_length), items(chunks, chunks_length)) };
    // SAFETY: as above.
    let headers = headers.iter().map(|header| unsafe {
        (items(header.name, header.name_length), items(header.value, header.value_length))
    });
    // SAFETY: as above.
    let chunks = chunks.iter().map(|chunk| unsafe { items(chunk.data, chunk.length) });
    // SAFETY: Envoy gives what it was given.
    unsafe { of_config(config, |config| config.answered(callout, end, headers, chunks)) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const c_void,
    envoy: *mut c_void,
) -> *const c_void {
    // SAFETY: Envoy gives what it was given.
    let config = unsafe { held_config(config) };
    // SAFETY: the pointer is Envoy's and good until the stream is destroyed, which closes the handle.
    let filter = unsafe { Filter::new(envoy) };
    let stream = guard(|| Stream::new(&config, filter));
    release(config);
    stream.map_or(null(), |stream| Rc::into_raw(stream).cast())
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(stream: *const c_void) {
    if stream.is_null() {
        return;
    }
    // SAFETY: Envoy destroys once what it was given.
    let stream = unsafe { Rc::from_raw(stream.cast::<Stream>()) };
    let _ = guard(|| stream.destroyed());
    release(stream);
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    _envoy: *mut c_void,
    stream: *const c_void,
    end: bool,
) -> u32 {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_stream(stream, HeadersStatus::Stop, |stream| stream.request_headers(end)) as u32 }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _envoy: *mut c_void,
    stream: *const c_void,
    _end: bool,
) -> u32 {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_stream(stream, BodyStatus::Watermark, |stream| stream.request_body()) as u32 }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    _envoy: *mut c_void,
    stream: *const c_void,
) -> u32 {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_stream(stream, TrailersStatus::Stop, |stream| stream.request_trailers()) as u32 }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    _envoy: *mut c_void,
    stream: *const c_void,
    _end: bool,
) -> u32 {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_stream(stream, HeadersStatus::Stop, |stream| stream.response_headers()) as u32 }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
    _envoy: *mut c_void,
    stream: *const c_void,
    _event: u64,
) {
    // SAFETY: Envoy gives what it was given.
    unsafe { of_stream(stream, (), |stream| stream.scheduled()) }
}

no_ops! {
    fn envoy_dynamic_module_on_http_filter_response_body(envoy: *mut c_void, stream: *const c_void, end: bool) -> u32 = BodyStatus::Continue as u32;
    fn envoy_dynamic_module_on_http_filter_response_trailers(envoy: *mut c_void, stream: *const c_void) -> u32 = TrailersStatus::Continue as u32;
    fn envoy_dynamic_module_on_http_filter_stream_complete(envoy: *mut c_void, stream: *const c_void);
    fn envoy_dynamic_module_on_http_filter_http_callout_done(
        envoy: *mut c_void, stream: *const c_void, callout: u64, end: u32, headers: *const HttpHeader, headers_length: usize,
        chunks: *const EnvoyBuffer, chunks_length: usize);
    fn envoy_dynamic_module_on_http_filter_http_stream_headers(
        envoy: *mut c_void, stream: *const c_void, id: u64, headers: *const HttpHeader, headers_length: usize, end: bool);
    fn envoy_dynamic_module_on_http_filter_http_stream_data(
        envoy: *mut c_void, stream: *const c_void, id: u64, chunks: *const EnvoyBuffer, chunks_length: usize, end: bool);
    fn envoy_dynamic_module_on_http_filter_http_stream_trailers(
        envoy: *mut c_void, stream: *const c_void, id: u64, trailers: *const HttpHeader, trailers_length: usize);
    fn envoy_dynamic_module_on_http_filter_http_stream_complete(envoy: *mut c_void, stream: *const c_void, id: u64);
    fn envoy_dynamic_module_on_http_filter_http_stream_reset(envoy: *mut c_void, stream: *const c_void, id: u64, reason: u32);
    fn envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(envoy: *mut c_void, stream: *const c_void);
    fn envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(envoy: *mut c_void, stream: *const c_void);
}
