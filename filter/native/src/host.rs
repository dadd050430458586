//! Envoy's functions as safe ones: what is gone is not asked, and what is refused is told.

#![expect(unsafe_code, reason = "calls of Envoy's functions, each with its reason")]

mod config;
pub mod connections;
mod handle;

use std::{
    cell::Cell,
    ffi::c_void,
    fmt::Display,
    ptr::{null, null_mut},
    time::{Duration, SystemTime},
};

pub use self::{
    config::{ConfigScheduler, fault},
    handle::{ConfigHandle, HttpFilter, NetworkFilter},
};

use crate::abi::{
    EnvoyBuffer, HttpHeader, ModuleBuffer, attribute, body_type, callbacks, header_type, items,
    log_level,
};

/// What the stream's events of [`StreamScheduler`] and the configuration's of [`ConfigScheduler`] say: that there is something to do.
const EVENT: u64 = 0;

/// Headers or trailers of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// The request's headers.
    Request,
    /// The request's trailers.
    RequestTrailers,
    /// The response's headers.
    Response,
}

impl Headers {
    fn number(self) -> u32 {
        match self {
            Self::Request => header_type::REQUEST,
            Self::RequestTrailers => header_type::REQUEST_TRAILERS,
            Self::Response => header_type::RESPONSE,
        }
    }
}

/// Headers or trailers, copied in one piece: Envoy's own bytes stay only until a header is written.
#[derive(Debug)]
pub struct Pairs {
    /// Each name and its value, one behind the other.
    bytes: Vec<u8>,
    /// The length of each name and of its value.
    lengths: Vec<(usize, usize)>,
}

impl Pairs {
    /// They, in their order. One whose name is no text is left out: HTTP has none.
    #[must_use]
    pub fn list(&self) -> Vec<(&str, &[u8])> {
        let mut rest = &self.bytes[..];
        let mut take = |length| {
            let (taken, more) = rest.split_at_checked(length)?;
            rest = more;
            Some(taken)
        };
        let pair = |&(name, value): &(usize, usize)| {
            let (name, value) = (take(name)?, take(value)?);
            Some((std::str::from_utf8(name).ok()?, value))
        };
        self.lengths.iter().filter_map(pair).collect()
    }
}

/// Envoy's side of one stream. Once the stream has been destroyed, each call is refused.
pub struct Filter(Cell<*mut c_void>);

impl Filter {
    /// # Safety
    /// Envoy gave the pointer for a stream of this thread. It stays good until the stream is destroyed, upon which [`Self::close`] is
    /// called.
    pub(crate) unsafe fn new(filter: *mut c_void) -> Self {
        Self(Cell::new(filter))
    }

    /// The stream is gone.
    pub fn close(&self) {
        self.0.set(null_mut());
    }

    /// Whether the stream is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.get().is_null()
    }

    fn open(&self) -> Option<*mut c_void> {
        Some(self.0.get()).filter(|filter| !filter.is_null())
    }

    /// All headers, in their order; `None` if they cannot be read.
    #[must_use]
    pub fn headers(&self, of: Headers) -> Option<Pairs> {
        let filter = self.open()?;
        // SAFETY: the stream is there.
        let count = unsafe {
            callbacks::envoy_dynamic_module_callback_http_get_headers_size(filter, of.number())
        };
        let empty = HttpHeader { name: null(), name_length: 0, value: null(), value_length: 0 };
        let mut headers = vec![empty; count];
        // SAFETY: as above, and there is room for as many as there are.
        let read = unsafe {
            callbacks::envoy_dynamic_module_callback_http_get_headers(
                filter,
                of.number(),
                headers.as_mut_ptr(),
            )
        };
        if !read {
            return None;
        }
        let size = headers.iter().fold(0, |size: usize, header| {
            size.saturating_add(header.name_length).saturating_add(header.value_length)
        });
        let mut bytes = Vec::with_capacity(size);
        for header in &headers {
            // SAFETY: Envoy has filled in the places of bytes that stay until a header is written, which happens after this.
            let (name, value) = unsafe {
                (items(header.name, header.name_length), items(header.value, header.value_length))
            };
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        let lengths = headers.into_iter().map(|header| (header.name_length, header.value_length));
        Some(Pairs { bytes, lengths: lengths.collect() })
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, of: Headers, name: &str) -> Option<Vec<u8>> {
        let filter = self.open()?;
        let (mut value, mut count) = (EnvoyBuffer { data: null(), length: 0 }, 0);
        // SAFETY: the stream is there; Envoy reads the name, and writes one buffer and one number.
        let found = unsafe {
            callbacks::envoy_dynamic_module_callback_http_get_header(
                filter,
                of.number(),
                buffer(name.as_bytes()),
                &raw mut value,
                0,
                &raw mut count,
            )
        };
        // SAFETY: Envoy has filled in the place of bytes that stay until a header is written, which happens after this.
        (found && count > 0).then(|| unsafe { items(value.data, value.length) }.to_vec())
    }

    /// Adds a header beside those of its name. False if Envoy refused.
    #[must_use]
    pub fn add_header(&self, of: Headers, name: &str, value: &[u8]) -> bool {
        self.open().is_some_and(|filter| {
            let (name, value) = (buffer(name.as_bytes()), buffer(value));
            // SAFETY: the stream is there; Envoy copies name and value.
            unsafe {
                callbacks::envoy_dynamic_module_callback_http_add_header(
                    filter,
                    of.number(),
                    name,
                    value,
                )
            }
        })
    }

    /// Puts a header in the place of those of its name. False if Envoy refused.
    #[must_use]
    pub fn set_header(&self, of: Headers, name: &str, value: &[u8]) -> bool {
        self.write(of, name, buffer(value))
    }

    /// Removes all headers of a name. False if Envoy refused.
    #[must_use]
    pub fn remove_header(&self, of: Headers, name: &str) -> bool {
        // A value without a place removes.
        self.write(of, name, ModuleBuffer { data: null(), length: 0 })
    }

    fn write(&self, of: Headers, name: &str, value: ModuleBuffer) -> bool {
        self.open().is_some_and(|filter| {
            let name = buffer(name.as_bytes());
            // SAFETY: the stream is there; Envoy copies name and value.
            unsafe {
                callbacks::envoy_dynamic_module_callback_http_set_header(
                    filter,
                    of.number(),
                    name,
                    value,
                )
            }
        })
    }

    /// Sets filter state, which is read-only from then on: no key is set twice. False if Envoy refused.
    #[must_use]
    pub fn set_state(&self, key: &str, value: &str) -> bool {
        self.open().is_some_and(|filter| {
            let (key, value) = (buffer(key.as_bytes()), buffer(value.as_bytes()));
            // SAFETY: the stream is there; Envoy copies key and value.
            unsafe {
                callbacks::envoy_dynamic_module_callback_http_set_filter_state_bytes(
                    filter, key, value,
                )
            }
        })
    }

    /// The client's address and port, as far as Envoy's trusted hops tell it; empty if unknown.
    #[must_use]
    pub fn source_address(&self) -> String {
        self.attribute(attribute::SOURCE_ADDRESS)
    }

    /// The version of HTTP in which the client speaks.
    #[must_use]
    pub fn protocol(&self) -> String {
        self.attribute(attribute::REQUEST_PROTOCOL)
    }

    fn attribute(&self, attribute: u32) -> String {
        let Some(filter) = self.open() else { return String::new() };
        let mut value = EnvoyBuffer { data: null(), length: 0 };
        // SAFETY: the stream is there; Envoy writes one buffer.
        let found = unsafe {
            callbacks::envoy_dynamic_module_callback_http_filter_get_attribute_string(
                filter,
                attribute,
                &raw mut value,
            )
        };
        if !found {
            return String::new();
        }
        // SAFETY: Envoy has filled in the place of bytes that stay for the hook.
        String::from_utf8_lossy(unsafe { items(value.data, value.length) }).into_owned()
    }

    /// Envoy's number of the connection that it came on, which no other connection of the process has.
    #[must_use]
    pub fn connection(&self) -> Option<u64> {
        let filter = self.open()?;
        let mut number = 0;
        // SAFETY: the stream is there; Envoy writes one number.
        let found = unsafe {
            callbacks::envoy_dynamic_module_callback_http_filter_get_attribute_int(
                filter,
                attribute::CONNECTION_ID,
                &raw mut number,
            )
        };
        found.then_some(number)
    }

    /// Has the route chosen anew.
    pub fn clear_route_cache(&self) {
        if let Some(filter) = self.open() {
            // SAFETY: the stream is there.
            unsafe { callbacks::envoy_dynamic_module_callback_http_clear_route_cache(filter) }
        }
    }

    /// Answers. It may be the end of the stream.
    pub fn respond(&self, code: u16, headers: &[(&str, &[u8])], body: &[u8]) {
        self.end(code, "", headers, body);
    }

    /// The same, with a word for the access log (`RESPONSE_CODE_DETAILS`). Where an answer has begun, the stream is reset instead.
    pub fn end(&self, code: u16, details: &str, headers: &[(&str, &[u8])], body: &[u8]) {
        let Some(filter) = self.open() else { return };
        let mut headers = headers_of(headers);
        // No place means that Envoy says so in its own words.
        let details = if details.is_empty() {
            ModuleBuffer { data: null(), length: 0 }
        } else {
            buffer(details.as_bytes())
        };
        // SAFETY: the stream is there; Envoy copies headers, body and details.
        unsafe {
            callbacks::envoy_dynamic_module_callback_http_send_response(
                filter,
                code.into(),
                headers.as_mut_ptr(),
                headers.len(),
                buffer(body),
                details,
            );
        }
    }

    /// Lets a request go on that was stopped. It may be the end of the stream.
    pub fn continue_decoding(&self) {
        if let Some(filter) = self.open() {
            // SAFETY: the stream is there.
            unsafe {
                callbacks::envoy_dynamic_module_callback_http_filter_continue_decoding(filter);
            }
        }
    }

    /// Whether Envoy keeps some of the request's body.
    #[must_use]
    pub fn has_buffered_body(&self) -> bool {
        self.open().is_some_and(|filter| {
            // SAFETY: the stream is there.
            let size = unsafe {
                callbacks::envoy_dynamic_module_callback_http_get_body_size(
                    filter,
                    body_type::BUFFERED_REQUEST,
                )
            };
            size > 0
        })
    }

    /// What wakes the stream.
    #[must_use]
    pub fn scheduler(&self) -> Option<StreamScheduler> {
        let filter = self.open()?;
        // SAFETY: the stream is there.
        let scheduler =
            unsafe { callbacks::envoy_dynamic_module_callback_http_filter_scheduler_new(filter) };
        (!scheduler.is_null()).then(|| StreamScheduler(scheduler))
    }
}

/// Has Envoy call a stream in its own thread, from any other.
pub struct StreamScheduler(*mut c_void);

// SAFETY: Envoy lets any thread use and delete it, one at a time or several.
unsafe impl Send for StreamScheduler {}
// SAFETY: as above.
unsafe impl Sync for StreamScheduler {}

impl StreamScheduler {
    /// Has Envoy call the stream, unless it is gone by then.
    pub fn commit(&self) {
        // SAFETY: it is there until it is dropped.
        unsafe {
            callbacks::envoy_dynamic_module_callback_http_filter_scheduler_commit(self.0, EVENT);
        }
    }
}

impl Drop for StreamScheduler {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody has it any more.
        unsafe { callbacks::envoy_dynamic_module_callback_http_filter_scheduler_delete(self.0) }
    }
}

/// Whether Envoy only looks whether its configuration is valid. For the main thread alone.
#[must_use]
pub fn only_validates() -> bool {
    // SAFETY: it takes nothing, and this is the main thread.
    unsafe { callbacks::envoy_dynamic_module_callback_is_validation_mode() }
}

/// Writes a line of this level into Envoy's log.
pub fn info(line: &str) {
    log(log_level::INFO, line);
}

/// Writes a warning into Envoy's log.
pub fn warn(line: &str) {
    log(log_level::WARN, line);
}

/// Writes an error into Envoy's log.
pub fn error(line: &str) {
    log(log_level::ERROR, line);
}

fn log(level: u32, line: &str) {
    let line = buffer(line.as_bytes());
    // SAFETY: Envoy reads the line, and keeps nothing.
    unsafe {
        if callbacks::envoy_dynamic_module_callback_log_enabled(level) {
            callbacks::envoy_dynamic_module_callback_log(level, line);
        }
    }
}

/// Time since the epoch.
#[must_use]
pub fn now() -> Duration {
    // The greatest time makes every token expired.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::MAX)
}

/// A random number that no other worker has.
#[must_use]
pub fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// A secret that nobody knows. Without one there is no cache, and so no service.
pub fn secret() -> Result<[u8; 16], impl Display> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map(|()| secret)
}

/// A random number from 0 to 1.
#[must_use]
pub fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

fn buffer(bytes: &[u8]) -> ModuleBuffer {
    ModuleBuffer { data: bytes.as_ptr(), length: bytes.len() }
}

fn buffers(texts: &[&str]) -> Vec<ModuleBuffer> {
    texts.iter().map(|text| buffer(text.as_bytes())).collect()
}

fn headers_of(headers: &[(&str, &[u8])]) -> Vec<HttpHeader> {
    let header = |(name, value): &(&str, &[u8])| HttpHeader {
        name: name.as_ptr(),
        name_length: name.len(),
        value: value.as_ptr(),
        value_length: value.len(),
    };
    headers.iter().map(header).collect()
}
