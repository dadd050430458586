//! Envoy's side of the interface in this process: whole requests are driven through the module's hooks, for tests and for fuzzing.
//!
//! Everything happens when it is asked for: what the module schedules runs in [`Envoy::run`] and [`Request::run`], and callouts are
//! answered by [`Envoy::answer`].

#![expect(unsafe_code, reason = "the other side of Envoy's C interface")]
#![allow(
    clippy::missing_panics_doc,
    clippy::missing_safety_doc,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by them"
)]
#![allow(
    unsafe_op_in_unsafe_fn,
    clippy::undocumented_unsafe_blocks,
    reason = "each pointer is one that this file gave out, or the module's for the call"
)]

mod callbacks;
mod listener;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ffi::c_void,
    ptr::null,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::abi::{EnvoyBuffer, HttpHeader};
use crate::hooks::{
    envoy_dynamic_module_on_http_filter_config_destroy,
    envoy_dynamic_module_on_http_filter_config_http_callout_done,
    envoy_dynamic_module_on_http_filter_config_new,
    envoy_dynamic_module_on_http_filter_config_scheduled,
    envoy_dynamic_module_on_http_filter_destroy, envoy_dynamic_module_on_http_filter_new,
    envoy_dynamic_module_on_http_filter_request_body,
    envoy_dynamic_module_on_http_filter_request_headers,
    envoy_dynamic_module_on_http_filter_request_trailers,
    envoy_dynamic_module_on_http_filter_response_headers,
    envoy_dynamic_module_on_http_filter_scheduled,
};

pub use listener::{Listener, Peer};

type HeaderList = Vec<(String, Vec<u8>)>;

thread_local! {
    /// How many changes of a stream Envoy takes before it refuses one.
    static TAKEN: Cell<Option<u32>> = const { Cell::new(None) };
}

/// In this thread, Envoy refuses one change of a stream, after `others`; none with `None`.
pub fn refuse_after(others: Option<u32>) {
    TAKEN.set(others);
}

/// Whether a change is taken.
fn takes() -> bool {
    match TAKEN.get() {
        None => true,
        Some(0) => {
            TAKEN.set(None);
            false
        }
        Some(more) => {
            TAKEN.set(Some(more.saturating_sub(1)));
            true
        }
    }
}

/// A callout that the module has made.
#[derive(Debug, Clone)]
pub struct Callout {
    /// Its number.
    pub id: u64,
    /// The cluster.
    pub cluster: String,
    /// Its headers.
    pub headers: HeaderList,
    /// Its body.
    pub body: Vec<u8>,
}

impl Callout {
    /// `:path`
    #[must_use]
    pub fn path(&self) -> String {
        value(&self.headers, ":path")
            .map(|path| String::from_utf8_lossy(&path).into_owned())
            .unwrap_or_default()
    }
}

/// What the module has answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub code: u32,
    /// Its headers.
    pub headers: HeaderList,
    /// Its body.
    pub body: String,
}

#[derive(Default)]
struct MockConfig {
    metrics: Mutex<Vec<(String, Vec<String>)>>,
    values: Mutex<BTreeMap<String, i64>>,
    callouts: Mutex<Vec<Callout>>,
    next: AtomicU64,
    events: Arc<AtomicU64>,
}

/// A configuration that the module has taken.
pub struct Envoy {
    config: Box<MockConfig>,
    module: Cell<*const c_void>,
}

// For a thread that stands for a worker.
unsafe impl Sync for Envoy {}

impl Envoy {
    /// Loads a configuration. `None` if the module refuses it.
    #[must_use]
    pub fn load(name: &str, document: &str) -> Option<Self> {
        let config = Box::<MockConfig>::default();
        let envoy = (&raw const *config).cast_mut().cast();
        let module = unsafe {
            envoy_dynamic_module_on_http_filter_config_new(
                envoy,
                envoy_buffer(name.as_bytes()),
                envoy_buffer(document.as_bytes()),
            )
        };
        (!module.is_null()).then_some(Self { config, module: Cell::new(module) })
    }

    fn raw(&self) -> *mut c_void {
        (&raw const *self.config).cast_mut().cast()
    }

    /// Runs what the module has scheduled in the main thread, and whatever else is due there.
    pub fn run(&self) {
        self.config.events.store(0, Ordering::SeqCst);
        unsafe {
            envoy_dynamic_module_on_http_filter_config_scheduled(self.raw(), self.module.get(), 0);
        }
    }

    /// How often the module has asked for the main thread since it last ran.
    #[must_use]
    pub fn scheduled(&self) -> u64 {
        self.config.events.load(Ordering::SeqCst)
    }

    /// Takes out the callouts that have been made.
    #[must_use]
    pub fn callouts(&self) -> Vec<Callout> {
        std::mem::take(&mut *self.config.callouts.lock().unwrap())
    }

    /// Answers a callout.
    pub fn answer(&self, id: u64, status: &str, headers: &[(&str, &str)], body: &[u8]) {
        let status = (":status", status);
        let headers: Vec<_> = [status]
            .iter()
            .chain(headers)
            .map(|(n, v)| header(n.as_bytes(), v.as_bytes()))
            .collect();
        // In two parts, as it comes.
        let (one, other) = body.split_at(body.len() / 2);
        let chunks = [envoy_buffer(one), envoy_buffer(other)];
        unsafe {
            envoy_dynamic_module_on_http_filter_config_http_callout_done(
                self.raw(),
                self.module.get(),
                id,
                0,
                headers.as_ptr(),
                headers.len(),
                chunks.as_ptr(),
                chunks.len(),
            );
        }
    }

    /// Ends a callout without a response.
    pub fn fail(&self, id: u64, end: u32) {
        unsafe {
            envoy_dynamic_module_on_http_filter_config_http_callout_done(
                self.raw(),
                self.module.get(),
                id,
                end,
                null(),
                0,
                null(),
                0,
            );
        }
    }

    /// The value of a metric, by its name and the values of its labels.
    #[must_use]
    pub fn metric(&self, series: &str) -> i64 {
        self.config.values.lock().unwrap().get(series).copied().unwrap_or(0)
    }

    /// All metrics that have a value.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, i64> {
        self.config.values.lock().unwrap().clone()
    }

    /// Begins a request.
    #[must_use]
    pub fn request(&self, headers: HeaderList) -> Request<'_> {
        let stream =
            Box::new(MockStream { request: RefCell::new(headers), ..MockStream::default() });
        let module =
            unsafe { envoy_dynamic_module_on_http_filter_new(self.module.get(), stream.raw()) };
        Request { envoy: self, stream, module: Cell::new(module) }
    }

    /// Begins a request on a connection.
    #[must_use]
    pub fn request_on(&self, peer: &Peer<'_>, headers: HeaderList) -> Request<'_> {
        let request = self.request(headers);
        request.stream.connection.set(peer.number());
        request
    }

    /// Lets go of the configuration; what its metrics are then.
    #[must_use]
    pub fn unload(self) -> BTreeMap<String, i64> {
        self.destroy();
        self.metrics()
    }

    /// Lets go of the configuration, whoever still has it.
    pub fn destroy(&self) {
        let module = self.module.replace(null());
        unsafe { envoy_dynamic_module_on_http_filter_config_destroy(module) };
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.destroy();
    }
}

#[derive(Default)]
struct MockStream {
    request: RefCell<HeaderList>,
    trailers: RefCell<HeaderList>,
    response: RefCell<HeaderList>,
    state: RefCell<BTreeMap<String, Vec<u8>>>,
    answer: RefCell<Option<Answer>>,
    continued: Cell<u32>,
    /// Bytes of its body that Envoy keeps.
    buffered: Cell<usize>,
    route_chosen_anew: Cell<bool>,
    events: Arc<AtomicU64>,
    /// Envoy's number of its connection; none with 0.
    connection: Cell<u64>,
    /// Whose end an answer is.
    ends_with_answer: Cell<Option<*const c_void>>,
}

impl MockStream {
    fn raw(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    fn map(&self, of: u32) -> &RefCell<HeaderList> {
        match of {
            0 => &self.request,
            1 => &self.trailers,
            2 => &self.response,
            other => panic!("headers of type {other}"),
        }
    }
}

/// What the hooks of a stream say that the module has not made, or that is gone: headers, body, trailers, and the response's headers. Those
/// of a configuration that is gone say nothing.
#[must_use]
pub fn of_nothing() -> [u32; 4] {
    let (nobody, none) = (std::ptr::null_mut(), null());
    unsafe {
        envoy_dynamic_module_on_http_filter_config_scheduled(nobody, none, 0);
        envoy_dynamic_module_on_http_filter_config_http_callout_done(
            nobody,
            none,
            7,
            0,
            null(),
            3,
            null(),
            3,
        );
        envoy_dynamic_module_on_http_filter_config_destroy(none);
        envoy_dynamic_module_on_http_filter_scheduled(nobody, none, 0);
        envoy_dynamic_module_on_http_filter_destroy(none);
        [
            envoy_dynamic_module_on_http_filter_request_headers(nobody, none, true),
            envoy_dynamic_module_on_http_filter_request_body(nobody, none, true),
            envoy_dynamic_module_on_http_filter_request_trailers(nobody, none),
            envoy_dynamic_module_on_http_filter_response_headers(nobody, none, true),
        ]
    }
}

/// A request on its way.
pub struct Request<'a> {
    envoy: &'a Envoy,
    stream: Box<MockStream>,
    module: Cell<*const c_void>,
}

impl Request<'_> {
    /// Its headers have come; the module's word, as a number of Envoy's.
    #[must_use]
    pub fn headers(&self, end: bool) -> u32 {
        unsafe {
            envoy_dynamic_module_on_http_filter_request_headers(
                self.stream.raw(),
                self.module.get(),
                end,
            )
        }
    }

    /// As [`Self::headers`], where an answer is the end of the stream before the module has it back.
    #[must_use]
    pub fn headers_that_end(&self) -> u32 {
        self.stream.ends_with_answer.set(Some(self.module.get()));
        let status = self.headers(true);
        if self.stream.ends_with_answer.take().is_none() {
            self.module.set(null());
        }
        status
    }

    /// A part of its body has come.
    #[must_use]
    pub fn body(&self) -> u32 {
        unsafe {
            envoy_dynamic_module_on_http_filter_request_body(
                self.stream.raw(),
                self.module.get(),
                false,
            )
        }
    }

    /// A part of its body has come while it waits, which Envoy keeps to itself until it goes on.
    pub fn body_while_it_waits(&self) {
        self.stream.buffered.set(1);
    }

    /// Its trailers have come.
    #[must_use]
    pub fn trailers(&self, trailers: HeaderList) -> u32 {
        self.stream.trailers.replace(trailers);
        unsafe {
            envoy_dynamic_module_on_http_filter_request_trailers(
                self.stream.raw(),
                self.module.get(),
            )
        }
    }

    /// The response's headers have come.
    #[must_use]
    pub fn response(&self, headers: HeaderList) -> u32 {
        self.stream.response.replace(headers);
        unsafe {
            envoy_dynamic_module_on_http_filter_response_headers(
                self.stream.raw(),
                self.module.get(),
                false,
            )
        }
    }

    /// Runs what was scheduled for it. False if nothing was.
    pub fn run(&self) -> bool {
        let events = self.stream.events.swap(0, Ordering::SeqCst);
        if events > 0 {
            unsafe {
                envoy_dynamic_module_on_http_filter_scheduled(
                    self.stream.raw(),
                    self.module.get(),
                    0,
                );
            }
        }
        events > 0
    }

    /// What the module has answered.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        self.stream.answer.borrow().clone()
    }

    /// How often the module has let it go on.
    #[must_use]
    pub fn continued(&self) -> u32 {
        self.stream.continued.get()
    }

    /// Filter state.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<String> {
        let state = self.stream.state.borrow();
        state.get(key).map(|value| String::from_utf8(value.clone()).unwrap())
    }

    /// Whether the route was chosen anew.
    #[must_use]
    pub fn route_chosen_anew(&self) -> bool {
        self.stream.route_chosen_anew.get()
    }

    /// All values of a header, as it goes on.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<String> {
        values(&self.stream.request.borrow(), name)
    }

    /// All values of a header of the response, as it goes on.
    #[must_use]
    pub fn response_values(&self, name: &str) -> Vec<String> {
        values(&self.stream.response.borrow(), name)
    }

    /// All values of a trailer, as it goes on.
    #[must_use]
    pub fn trailer_values(&self, name: &str) -> Vec<String> {
        values(&self.stream.trailers.borrow(), name)
    }

    /// The configuration that it is of.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        self.envoy
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let module = self.module.replace(null());
        unsafe { envoy_dynamic_module_on_http_filter_destroy(module) };
    }
}

/// Headers of these pairs.
#[must_use]
pub fn headers(pairs: &[(&str, &str)]) -> HeaderList {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

fn values(headers: &HeaderList, name: &str) -> Vec<String> {
    let of_name = headers.iter().filter(|(known, _)| known == name);
    of_name.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

fn value(headers: &HeaderList, name: &str) -> Option<Vec<u8>> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn envoy_buffer(bytes: &[u8]) -> EnvoyBuffer {
    EnvoyBuffer { data: bytes.as_ptr(), length: bytes.len() }
}

fn header(name: &[u8], value: &[u8]) -> HttpHeader {
    HttpHeader {
        name: name.as_ptr(),
        name_length: name.len(),
        value: value.as_ptr(),
        value_length: value.len(),
    }
}
