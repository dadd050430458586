//! Envoy's host calls for the project's modules: what the host refuses is an error.
//!
//! The SDK's own calls panic on each answer that they do not expect, such as for a stream that has been answered already. A panic is
//! the end of the VM, and so of every request of the worker: no answer of the host is worth that. It also makes of the SDK's
//! `Result` a promise that is not kept: a check of it would never be reached. Calls to other servers stay the SDK's
//! (`Context::dispatch_http_call`): its dispatcher must know of them.
//!
//! Source of the numbers and shapes: proxy-wasm/spec, abi-versions/v0.2.1.

#![expect(unsafe_code, reason = "calls across the module's own C interface, each with its reason")]

use std::{
    ptr::null_mut,
    time::{Duration, SystemTime},
};

pub use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};

/// What the host answered in place of "ok".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such thing.
    #[error("the host knows no such thing")]
    NotFound,
    /// It cannot be done, or not any more: the stream has been answered, or is gone.
    #[error("the host refused the argument, or it is too late")]
    BadArgument,
    /// Somebody else was faster.
    #[error("the value has changed since")]
    CasMismatch,
    /// Another number of `proxy_status_t`.
    #[error("the host answered {0}")]
    Other(u32),
}

/// The answer of a host call.
pub type Result<T> = std::result::Result<T, Refused>;

mod raw {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
        pub fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            value: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub fn proxy_set_property(
            path: *const u8,
            path_size: usize,
            value: *const u8,
            size: usize,
        ) -> u32;
        pub fn proxy_get_header_map_pairs(map: u32, pairs: *mut *mut u8, size: *mut usize) -> u32;
        pub fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub fn proxy_add_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            size: usize,
        ) -> u32;
        pub fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            size: usize,
        ) -> u32;
        pub fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
        pub fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            most: usize,
            bytes: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub fn proxy_send_local_response(
            code: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            value: *mut *mut u8,
            size: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            size: usize,
            cas: u32,
        ) -> u32;
        pub fn proxy_register_shared_queue(name: *const u8, size: usize, queue: *mut u32) -> u32;
        pub fn proxy_resolve_shared_queue(
            vm_id: *const u8,
            vm_id_size: usize,
            name: *const u8,
            name_size: usize,
            queue: *mut u32,
        ) -> u32;
        pub fn proxy_dequeue_shared_queue(queue: u32, value: *mut *mut u8, size: *mut usize)
        -> u32;
        pub fn proxy_enqueue_shared_queue(queue: u32, value: *const u8, size: usize) -> u32;
        pub fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            argument: *const u8,
            argument_size: usize,
            answer: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
        pub safe fn proxy_record_metric(id: u32, value: u64) -> u32;
        pub safe fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub safe fn proxy_continue_stream(stream: u32) -> u32;
        pub safe fn proxy_close_stream(stream: u32) -> u32;
        pub safe fn proxy_set_effective_context(context: u32) -> u32;
    }
}

/// `proxy_stream_type_t`.
const HTTP_REQUEST: u32 = 0;
const DOWNSTREAM: u32 = 2;
/// `grpc_status` of an answer that is none of gRPC's.
const NO_GRPC: i32 = -1;

/// Writes a line into Envoy's log.
pub fn log(level: LogLevel, text: &str) -> Result<()> {
    // SAFETY: the host reads as many bytes as it is told, and keeps nothing.
    done(unsafe { raw::proxy_log(level as u32, text.as_ptr(), text.len()) })
}

/// The time.
pub fn get_current_time() -> Result<SystemTime> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one number.
    done(unsafe { raw::proxy_get_current_time_nanoseconds(&raw mut nanoseconds) })?;
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds));
    time.ok_or(Refused::BadArgument)
}

/// A property (Envoy's "attributes") of the present stream or plugin; none if it has no value.
pub fn get_property(path: &[&str]) -> Result<Option<Vec<u8>>> {
    let path = path.join("\0");
    // SAFETY: the host reads the path, and answers as `owned` wants it.
    optional(unsafe {
        owned(|value, size| raw::proxy_get_property(path.as_ptr(), path.len(), value, size))
    })
}

/// Sets a property of the present stream: filter state `wasm.<name>`.
pub fn set_property(name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: the host reads name and value, and copies them.
    done(unsafe { raw::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// All headers or trailers, in their order. One whose name is no text is left out: HTTP has none.
pub fn get_map(map: MapType) -> Result<Vec<(String, Vec<u8>)>> {
    let pairs = get_pairs(map)?;
    let own = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
    Ok(pairs.list().into_iter().map(own).collect())
}

/// The same as the host hands them over, in one piece.
pub fn get_pairs(map: MapType) -> Result<Pairs> {
    // SAFETY: the host answers as `owned` wants it.
    unsafe { owned(|pairs, size| raw::proxy_get_header_map_pairs(map as u32, pairs, size)) }
        .map(Pairs)
}

/// Headers or trailers in one piece.
#[derive(Debug)]
pub struct Pairs(Vec<u8>);

impl Pairs {
    /// They, in their order. One whose name is no text is left out: HTTP has none.
    #[must_use]
    pub fn list(&self) -> Vec<(&str, &[u8])> {
        read_pairs(&self.0)
    }
}

/// The value of a header; the first one of several.
pub fn get_map_value(map: MapType, name: &str) -> Result<Option<Vec<u8>>> {
    // SAFETY: the host reads the name, and answers as `owned` wants it.
    optional(unsafe {
        owned(|value, size| {
            raw::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), value, size)
        })
    })
}

/// Adds a header beside those of its name.
pub fn add_map_value(map: MapType, name: &str, value: &[u8]) -> Result<()> {
    let (map, size) = (map as u32, value.len());
    // SAFETY: the host reads name and value, and copies them.
    done(unsafe {
        raw::proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), size)
    })
}

/// Puts a header in the place of those of its name.
pub fn set_map_value(map: MapType, name: &str, value: &[u8]) -> Result<()> {
    let (map, size) = (map as u32, value.len());
    // SAFETY: the host reads name and value, and copies them.
    done(unsafe {
        raw::proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), size)
    })
}

/// Removes all headers of a name.
pub fn remove_map_value(map: MapType, name: &str) -> Result<()> {
    // SAFETY: the host reads the name.
    done(unsafe { raw::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// At most so many bytes from the start of a body; none if it has none.
pub fn get_buffer(buffer: BufferType, most: usize) -> Result<Option<Vec<u8>>> {
    // SAFETY: the host answers as `owned` wants it.
    optional(unsafe {
        owned(|bytes, size| raw::proxy_get_buffer_bytes(buffer as u32, 0, most, bytes, size))
    })
}

/// Answers the present stream. It is too late for one that has been answered.
pub fn send_http_response(code: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
    end_http_request(code, "", headers, body)
}

/// The same, with a word for the access log (`RESPONSE_CODE_DETAILS`). Where an answer has begun, the stream is reset instead.
pub fn end_http_request(
    code: u16,
    details: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<()> {
    let headers = write_pairs(headers);
    // SAFETY: the host reads details, headers and body, and copies them.
    done(unsafe {
        raw::proxy_send_local_response(
            code.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC,
        )
    })
}

/// The value of a key that all VMs of one `vm_id` share, with the number to change it by.
pub fn get_shared_data(key: &str) -> Result<Option<(Vec<u8>, u32)>> {
    let mut cas = 0;
    // SAFETY: the host reads the key, writes one number, and answers as `owned` wants it.
    let value = optional(unsafe {
        owned(|value, size| {
            raw::proxy_get_shared_data(key.as_ptr(), key.len(), value, size, &raw mut cas)
        })
    })?;
    Ok(value.map(|value| (value, cas)))
}

/// Sets it, if the number is still the one that was read; whatever it is, without a number.
pub fn set_shared_data(key: &str, value: &[u8], cas: Option<u32>) -> Result<()> {
    let (size, cas) = (value.len(), cas.unwrap_or_default());
    // SAFETY: the host reads key and value, and copies them.
    done(unsafe { raw::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), size, cas) })
}

/// The queue of this name, which the present root context hears from now on.
pub fn register_shared_queue(name: &str) -> Result<u32> {
    let mut queue = 0;
    // SAFETY: the host reads the name, and writes one number.
    done(unsafe { raw::proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) })?;
    Ok(queue)
}

/// The queue of this name that a VM of this `vm_id` has registered.
pub fn resolve_shared_queue(vm_id: &str, name: &str) -> Result<u32> {
    let mut queue = 0;
    let (vm, vm_size) = (vm_id.as_ptr(), vm_id.len());
    // SAFETY: the host reads both names, and writes one number.
    done(unsafe {
        raw::proxy_resolve_shared_queue(vm, vm_size, name.as_ptr(), name.len(), &raw mut queue)
    })?;
    Ok(queue)
}

/// The oldest message of a queue; an error if it is empty.
pub fn dequeue_shared_queue(queue: u32) -> Result<Vec<u8>> {
    const EMPTY: u32 = 7;
    // SAFETY: the host answers as `owned` wants it.
    let taken = unsafe { owned(|value, size| raw::proxy_dequeue_shared_queue(queue, value, size)) };
    match taken {
        Err(Refused::Other(EMPTY)) => Err(Refused::NotFound),
        taken => taken,
    }
}

/// Adds a message to a queue.
pub fn enqueue_shared_queue(queue: u32, message: &[u8]) -> Result<()> {
    // SAFETY: the host reads the message, and copies it.
    done(unsafe { raw::proxy_enqueue_shared_queue(queue, message.as_ptr(), message.len()) })
}

/// A function of the host's that the specification does not know; its answer may be empty.
pub fn call_foreign_function(name: &str, argument: &[u8]) -> Result<Vec<u8>> {
    // SAFETY: the host reads name and argument, and answers as `owned` wants it.
    unsafe {
        owned(|answer, size| {
            let (argument, argument_size) = (argument.as_ptr(), argument.len());
            let (name, name_size) = (name.as_ptr(), name.len());
            raw::proxy_call_foreign_function(name, name_size, argument, argument_size, answer, size)
        })
    }
}

/// A metric's id.
pub fn define_metric(kind: MetricType, name: &str) -> Result<u32> {
    let mut id = 0;
    // SAFETY: the host reads the name, and writes one number.
    done(unsafe { raw::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Sets a gauge, or adds an observation to a histogram.
pub fn record_metric(id: u32, value: u64) -> Result<()> {
    done(raw::proxy_record_metric(id, value))
}

/// Adds to a counter or a gauge.
pub fn increment_metric(id: u32, offset: i64) -> Result<()> {
    done(raw::proxy_increment_metric(id, offset))
}

/// Lets the present stream's request go on.
pub fn resume_http_request() -> Result<()> {
    done(raw::proxy_continue_stream(HTTP_REQUEST))
}

/// Closes the present connection.
pub fn close_downstream() -> Result<()> {
    done(raw::proxy_close_stream(DOWNSTREAM))
}

/// Makes the calls that follow be about this stream, connection or root. An error if it is gone.
pub fn set_effective_context(context: u32) -> Result<()> {
    done(raw::proxy_set_effective_context(context))
}

fn done(status: u32) -> Result<()> {
    match status {
        0 => Ok(()),
        1 => Err(Refused::NotFound),
        2 => Err(Refused::BadArgument),
        8 => Err(Refused::CasMismatch),
        other => Err(Refused::Other(other)),
    }
}

fn optional<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Refused::NotFound) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// The bytes that a host call hands over; empty if it has written no address.
///
/// # Safety
/// The call, if its status is 0, leaves both places as they are, or writes the address of memory that it took by the module's
/// `proxy_on_memory_allocate`, and its size. That function is the SDK's, which makes a `Vec<u8>` of that capacity and forgets it.
#[expect(
    clippy::same_length_and_capacity,
    reason = "the SDK's function takes just what it is asked for"
)]
unsafe fn owned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let (mut bytes, mut size) = (null_mut::<u8>(), 0);
    done(call(&raw mut bytes, &raw mut size))?;
    if bytes.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: by this function's own contract; the host has written all bytes.
    Ok(unsafe { Vec::from_raw_parts(bytes, size, size) })
}

/// Pairs as the interface has them: their number, the sizes of each name and value, and then those, each with a zero behind it.
fn write_pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend_from_slice(&number(name.len()));
        bytes.extend_from_slice(&number(value.len()));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}

fn read_pairs(bytes: &[u8]) -> Vec<(&str, &[u8])> {
    let (mut sizes, mut texts) = (bytes, bytes);
    let Some(count) = take_number(&mut sizes) else { return Vec::new() };
    if take(&mut texts, count.saturating_mul(8).saturating_add(4)).is_none() {
        return Vec::new();
    }
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (Some(name), Some(value)) = (take_number(&mut sizes), take_number(&mut sizes)) else {
            break;
        };
        let (Some(name), Some(value)) = (take_text(&mut texts, name), take_text(&mut texts, value))
        else {
            break;
        };
        if let Ok(name) = std::str::from_utf8(name) {
            pairs.push((name, value));
        }
    }
    pairs
}

fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(taken)
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let number = take(bytes, 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(number)).ok()
}

/// The bytes before the zero that ends them.
fn take_text<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let text = take(bytes, size)?;
    take(bytes, 1)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let pairs = [(":status", "401"), ("empty", ""), ("x", "ä\0b")];
        let bytes = write_pairs(&pairs);
        let read = read_pairs(&bytes);
        let want = pairs.map(|(name, value)| (name, value.as_bytes()));
        assert_eq!(read, want);
        for end in 0..bytes.len() {
            assert!(read_pairs(&bytes[..end]).len() < pairs.len(), "{end}");
        }
        assert_eq!(read_pairs(&[255; 64]), []);
    }

    #[test]
    fn a_name_that_is_no_text_is_left_out() {
        let mut bytes = write_pairs(&[("abc", "1"), ("b", "2")]);
        let at = bytes.iter().position(|byte| *byte == b'a').unwrap();
        bytes[at] = 255;
        assert_eq!(read_pairs(&bytes), [("b", &b"2"[..])]);
    }

    #[test]
    fn each_answer_of_the_host_is_told_apart() {
        assert_eq!(done(0), Ok(()));
        assert_eq!(optional::<()>(done(1)), Ok(None));
        assert_eq!(done(2), Err(Refused::BadArgument));
        assert_eq!(done(8), Err(Refused::CasMismatch));
        assert_eq!(done(10), Err(Refused::Other(10)));
    }
}
