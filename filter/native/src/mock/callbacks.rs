//! The functions of Envoy's that the module calls.

use std::{
    ffi::c_void,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Answer, Callout, HeaderList, MockConfig, MockStream, envoy_buffer, header,
    listener::{MockListener, MockPeer},
    takes,
};
use crate::{
    abi::{EnvoyBuffer, HttpHeader, ModuleBuffer},
    hooks::envoy_dynamic_module_on_http_filter_destroy,
};

unsafe fn bytes<'a>(data: *const u8, length: usize) -> &'a [u8] {
    if length == 0 { &[] } else { std::slice::from_raw_parts(data, length) }
}

unsafe fn text(buffer: ModuleBuffer) -> String {
    String::from_utf8(bytes(buffer.data, buffer.length).to_vec()).unwrap()
}

unsafe fn list(headers: *const HttpHeader, length: usize) -> HeaderList {
    let headers = if length == 0 { &[][..] } else { std::slice::from_raw_parts(headers, length) };
    let pair = |header: &HttpHeader| {
        let name = String::from_utf8(bytes(header.name, header.name_length).to_vec()).unwrap();
        (name, bytes(header.value, header.value_length).to_vec())
    };
    headers.iter().map(pair).collect()
}

unsafe fn stream<'a>(filter: *mut c_void) -> &'a MockStream {
    &*filter.cast::<MockStream>()
}

unsafe fn config<'a>(config: *mut c_void) -> &'a MockConfig {
    &*config.cast::<MockConfig>()
}

unsafe fn listener<'a>(config: *mut c_void) -> &'a MockListener {
    &*config.cast::<MockListener>()
}

unsafe fn peer<'a>(connection: *mut c_void) -> &'a MockPeer {
    &*connection.cast::<MockPeer>()
}

/// An event counter, as a scheduler.
fn scheduler(events: &Arc<AtomicU64>) -> *mut c_void {
    Box::into_raw(Box::new(Arc::clone(events))).cast()
}

unsafe fn commit(scheduler: *mut c_void) {
    (*scheduler.cast::<Arc<AtomicU64>>()).fetch_add(1, Ordering::SeqCst);
}

unsafe fn define(
    envoy: *mut c_void,
    name: ModuleBuffer,
    labels: *mut ModuleBuffer,
    length: usize,
    id: *mut usize,
) -> u32 {
    let labels = (0..length).map(|index| text(*labels.add(index))).collect();
    let mut metrics = config(envoy).metrics.lock().unwrap();
    *id = metrics.len();
    metrics.push((text(name), labels));
    0
}

unsafe fn change(
    envoy: *mut c_void,
    id: usize,
    labels: *mut ModuleBuffer,
    length: usize,
    change: impl FnOnce(i64) -> i64,
) -> u32 {
    let config = config(envoy);
    let (name, names) =
        config.metrics.lock().unwrap().get(id).cloned().expect("a metric that was defined");
    assert_eq!(names.len(), length, "{name}");
    let mut series = name;
    for (index, label) in names.iter().enumerate() {
        series = format!("{series}{{{label}={}}}", text(*labels.add(index)));
    }
    let mut values = config.values.lock().unwrap();
    let value = values.entry(series).or_default();
    *value = change(*value);
    0
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap()
}

macro_rules! envoy {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $answer:ty)? $body:block)+) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) $(-> $answer)? $body
        )+
    };
}

envoy! {
    fn envoy_dynamic_module_callback_log(_level: u32, message: ModuleBuffer) {
        let line = text(message);
        if std::env::var_os("MOCK_LOG").is_some() {
            eprintln!("{line}");
        }
    }
    fn envoy_dynamic_module_callback_log_enabled(_level: u32) -> bool { true }
    fn envoy_dynamic_module_callback_is_validation_mode() -> bool { false }
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        envoy: *mut c_void, name: ModuleBuffer, labels: *mut ModuleBuffer, length: usize, id: *mut usize) -> u32 {
        define(envoy, name, labels, length, id)
    }
    fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        envoy: *mut c_void, name: ModuleBuffer, labels: *mut ModuleBuffer, length: usize, id: *mut usize) -> u32 {
        define(envoy, name, labels, length, id)
    }
    fn envoy_dynamic_module_callback_http_filter_config_define_histogram(
        envoy: *mut c_void, name: ModuleBuffer, labels: *mut ModuleBuffer, length: usize, id: *mut usize) -> u32 {
        define(envoy, name, labels, length, id)
    }
    fn envoy_dynamic_module_callback_http_filter_config_increment_counter(
        envoy: *mut c_void, id: usize, labels: *mut ModuleBuffer, length: usize, value: u64) -> u32 {
        change(envoy, id, labels, length, |before| before + signed(value))
    }
    fn envoy_dynamic_module_callback_http_filter_config_increment_gauge(
        envoy: *mut c_void, id: usize, labels: *mut ModuleBuffer, length: usize, value: u64) -> u32 {
        change(envoy, id, labels, length, |before| before + signed(value))
    }
    fn envoy_dynamic_module_callback_http_filter_config_decrement_gauge(
        envoy: *mut c_void, id: usize, labels: *mut ModuleBuffer, length: usize, value: u64) -> u32 {
        change(envoy, id, labels, length, |before| before - signed(value))
    }
    fn envoy_dynamic_module_callback_http_filter_config_set_gauge(
        envoy: *mut c_void, id: usize, labels: *mut ModuleBuffer, length: usize, value: u64) -> u32 {
        change(envoy, id, labels, length, |_| signed(value))
    }
    fn envoy_dynamic_module_callback_http_filter_config_record_histogram_value(
        envoy: *mut c_void, id: usize, labels: *mut ModuleBuffer, length: usize, _value: u64) -> u32 {
        change(envoy, id, labels, length, |before| before + 1)
    }
    fn envoy_dynamic_module_callback_http_filter_config_http_callout(
        envoy: *mut c_void, id: *mut u64, cluster: ModuleBuffer, headers: *mut HttpHeader, length: usize,
        body: ModuleBuffer, _timeout: u64) -> u32 {
        let config = config(envoy);
        let cluster = text(cluster);
        if cluster == "none" {
            return 2;
        }
        *id = config.next.fetch_add(1, Ordering::SeqCst);
        let (headers, body) = (list(headers, length), bytes(body.data, body.length).to_vec());
        config.callouts.lock().unwrap().push(Callout { id: *id, cluster, headers, body });
        0
    }
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(envoy: *mut c_void) -> *mut c_void {
        scheduler(&config(envoy).events)
    }
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(scheduler: *mut c_void, _event: u64) {
        commit(scheduler);
    }
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: *mut c_void) {
        drop(Box::from_raw(scheduler.cast::<Arc<AtomicU64>>()));
    }
    fn envoy_dynamic_module_callback_http_filter_scheduler_new(filter: *mut c_void) -> *mut c_void {
        scheduler(&stream(filter).events)
    }
    fn envoy_dynamic_module_callback_http_filter_scheduler_commit(scheduler: *mut c_void, _event: u64) {
        commit(scheduler);
    }
    fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: *mut c_void) {
        drop(Box::from_raw(scheduler.cast::<Arc<AtomicU64>>()));
    }
    fn envoy_dynamic_module_callback_http_get_header(
        filter: *mut c_void, of: u32, name: ModuleBuffer, value: *mut EnvoyBuffer, index: usize, count: *mut usize) -> bool {
        let name = text(name);
        let headers = stream(filter).map(of).borrow();
        let of_name: Vec<_> = headers.iter().filter(|(known, _)| *known == name).collect();
        *count = of_name.len();
        if let Some((_, found)) = of_name.get(index) {
            *value = envoy_buffer(found);
        }
        true
    }
    fn envoy_dynamic_module_callback_http_get_headers_size(filter: *mut c_void, of: u32) -> usize {
        stream(filter).map(of).borrow().len()
    }
    fn envoy_dynamic_module_callback_http_get_headers(filter: *mut c_void, of: u32, headers: *mut HttpHeader) -> bool {
        for (index, (name, value)) in stream(filter).map(of).borrow().iter().enumerate() {
            *headers.add(index) = header(name.as_bytes(), value);
        }
        takes()
    }
    fn envoy_dynamic_module_callback_http_add_header(
        filter: *mut c_void, of: u32, name: ModuleBuffer, value: ModuleBuffer) -> bool {
        let (name, value) = (text(name), bytes(value.data, value.length).to_vec());
        stream(filter).map(of).borrow_mut().push((name, value));
        takes()
    }
    fn envoy_dynamic_module_callback_http_set_header(
        filter: *mut c_void, of: u32, name: ModuleBuffer, value: ModuleBuffer) -> bool {
        let name = text(name);
        let mut headers = stream(filter).map(of).borrow_mut();
        headers.retain(|(known, _)| *known != name);
        if !value.data.is_null() {
            headers.push((name, bytes(value.data, value.length).to_vec()));
        }
        takes()
    }
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        filter: *mut c_void, key: ModuleBuffer, value: ModuleBuffer) -> bool {
        if !takes() {
            return false;
        }
        let (key, value) = (text(key), bytes(value.data, value.length).to_vec());
        let before = stream(filter).state.borrow_mut().insert(key.clone(), value);
        assert!(before.is_none(), "{key} is read-only");
        true
    }
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        _filter: *mut c_void, attribute: u32, value: *mut EnvoyBuffer) -> bool {
        *value = envoy_buffer(match attribute {
            10 => b"HTTP/1.1",
            24 => b"[2001:db8::1]:4711",
            other => panic!("attribute {other}"),
        });
        true
    }
    fn envoy_dynamic_module_callback_http_filter_get_attribute_int(
        filter: *mut c_void, attribute: u32, value: *mut u64) -> bool {
        assert_eq!(attribute, 28);
        *value = stream(filter).connection.get();
        *value > 0
    }
    fn envoy_dynamic_module_callback_http_clear_route_cache(filter: *mut c_void) {
        stream(filter).route_chosen_anew.set(true);
    }
    fn envoy_dynamic_module_callback_http_send_response(
        filter: *mut c_void, status: u32, headers: *mut HttpHeader, length: usize, body: ModuleBuffer, _details: ModuleBuffer) {
        let stream = stream(filter);
        let answer = Answer { code: status, headers: list(headers, length), body: text(body) };
        let before = stream.answer.replace(Some(answer));
        assert!(before.is_none(), "answered twice");
        if let Some(module) = stream.ends_with_answer.take() {
            envoy_dynamic_module_on_http_filter_destroy(module);
        }
    }
    fn envoy_dynamic_module_callback_http_filter_continue_decoding(filter: *mut c_void) {
        let continued = &stream(filter).continued;
        continued.set(continued.get() + 1);
    }
    fn envoy_dynamic_module_callback_http_get_body_size(filter: *mut c_void, of: u32) -> usize {
        assert_eq!(of, 1);
        stream(filter).buffered.get()
    }
    fn envoy_dynamic_module_callback_network_filter_config_define_counter(
        envoy: *mut c_void, name: ModuleBuffer, id: *mut usize) -> u32 {
        let mut counters = listener(envoy).counters.lock().unwrap();
        *id = counters.len();
        counters.push((text(name), 0));
        0
    }
    fn envoy_dynamic_module_callback_network_filter_config_increment_counter(
        envoy: *mut c_void, id: usize, value: u64) -> u32 {
        listener(envoy).counters.lock().unwrap().get_mut(id).expect("a counter that was defined").1 += value;
        0
    }
    fn envoy_dynamic_module_callback_network_filter_get_connection_id(filter: *mut c_void) -> u64 {
        peer(filter).number
    }
    fn envoy_dynamic_module_callback_network_filter_get_remote_address(
        filter: *mut c_void, address: *mut EnvoyBuffer, port: *mut u32) -> bool {
        let source = &peer(filter).source;
        *address = envoy_buffer(source.as_bytes());
        *port = 4711;
        !source.is_empty()
    }
    fn envoy_dynamic_module_callback_network_filter_close(filter: *mut c_void, how: u32) {
        assert_eq!(how, 1);
        peer(filter).is_closed.set(true);
    }
    fn envoy_dynamic_module_callback_network_filter_scheduler_new(filter: *mut c_void) -> *mut c_void {
        if peer(filter).has_no_scheduler.get() { std::ptr::null_mut() } else { scheduler(&peer(filter).events) }
    }
    fn envoy_dynamic_module_callback_network_filter_scheduler_commit(scheduler: *mut c_void, _event: u64) {
        commit(scheduler);
    }
    fn envoy_dynamic_module_callback_network_filter_scheduler_delete(scheduler: *mut c_void) {
        drop(Box::from_raw(scheduler.cast::<Arc<AtomicU64>>()));
    }
}
