//! Waking workers: every worker has a shared queue of its own, and a list in shared data names them all.
//!
//! Envoy notifies one root context of an item, the last that registered the queue's name. So each worker registers a name that
//! only it has, and to wake all is to put an item into each queue. What the item says does not count: who wakes reads the
//! shared records. A lost wake-up costs a tick.

use gateway_core::keys::{SharedStore, TRIES};
use proxy_wasm::{
    hostcalls,
    types::{Bytes, Status},
};

use crate::host::SharedData;

const LIST: &str = "queues";
/// A worker whose VM died leaves its name behind; the oldest names go first.
const MOST_NAMES: usize = 512;

/// Registers this worker's queue for the calling root context, and its name in the list.
pub fn register(id: u64) -> Option<u32> {
    let name = name(id);
    let queue = hostcalls::register_shared_queue(&name).ok()?;
    change(|names| {
        let surplus = names.len().saturating_add(1).saturating_sub(MOST_NAMES);
        names.drain(..surplus.min(names.len()));
        names.push(name.clone());
    });
    Some(queue)
}

/// Takes this worker's name from the list.
pub fn deregister(id: u64) {
    let name = name(id);
    change(|names| names.retain(|known| *known != name));
}

fn change(edit: impl Fn(&mut Vec<String>)) {
    for _ in 0..TRIES {
        let (list, cas) = match SharedData.read(LIST) {
            Some((list, cas)) => (list, Some(cas)),
            None => (Vec::new(), None),
        };
        let mut names = split(&list);
        edit(&mut names);
        if SharedData.write(LIST, names.join("\n").as_bytes(), cas).is_ok() {
            return;
        }
    }
}

fn split(list: &[u8]) -> Vec<String> {
    let names = list.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Wakes the worker's own root context as soon as the present callback has returned.
pub fn wake_self(queue: u32) {
    let _: Result<(), Status> = hostcalls::enqueue_shared_queue(queue, Some(b"self"));
}

/// Wakes every other worker, those of other gateways too: they may share keys.
pub fn wake_others(id: u64) {
    let own = name(id);
    let Some((list, _)) = SharedData.read(LIST) else { return };
    let vm_id = vm_id();
    for name in split(&list).into_iter().filter(|name| *name != own) {
        if let Ok(Some(queue)) = hostcalls::resolve_shared_queue(&vm_id, &name) {
            let _: Result<(), Status> = hostcalls::enqueue_shared_queue(queue, Some(b"keys"));
        }
    }
}

/// Takes out what lies in the queue.
pub fn drain(queue: u32) {
    while let Ok(Some::<Bytes>(_)) = hostcalls::dequeue_shared_queue(queue) {}
}

/// The `vm_id` of Envoy's configuration, by which queues are found. Istio's `WasmPlugin` cannot set it.
fn vm_id() -> String {
    let id = hostcalls::get_property(vec!["plugin_vm_id"]).ok().flatten();
    id.and_then(|id| String::from_utf8(id).ok()).unwrap_or_default()
}

fn name(id: u64) -> String {
    format!("worker-{id:016x}")
}
