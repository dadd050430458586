//! Waking workers: every worker has a shared queue of its own, and a list in shared data names them all.
//!
//! Envoy notifies one root context of an item, the last that registered the queue's name. So each worker registers a name that
//! only it has, and to wake all is to put an item into each queue. What the item says does not count: who wakes reads the
//! shared records. A lost wake-up costs a tick.

use gateway_core::{
    keys::{SharedStore, TRIES},
    workers::Workers,
};
use gateway_hostcalls as hostcalls;

use crate::host::{self, SharedData};

const LIST: &str = "queues";

/// Registers this worker's queue for the calling root context, and its name in the list.
pub fn register(id: u64) -> Option<u32> {
    let queue = hostcalls::register_shared_queue(&name(id)).ok()?;
    show(id);
    Some(queue)
}

/// Shows that this worker lives: to be done every [`SHOWN_EVERY`](gateway_core::workers::SHOWN_EVERY).
pub fn show(id: u64) {
    change(|workers| workers.seen(&name(id), host::now()));
}

/// Takes this worker from the list.
pub fn deregister(id: u64) {
    change(|workers| workers.gone(&name(id)));
}

fn change(edit: impl Fn(&mut Workers)) {
    for _ in 0..TRIES {
        let (mut workers, cas) = match SharedData.read(LIST) {
            Some((list, cas)) => (Workers::read(&list), Some(cas)),
            None => (Workers::default(), None),
        };
        edit(&mut workers);
        if SharedData.write(LIST, workers.text().as_bytes(), cas).is_ok() {
            return;
        }
    }
}

/// Wakes the worker's own root context as soon as the present callback has returned.
pub fn wake_self(queue: u32) {
    let _ = hostcalls::enqueue_shared_queue(queue, b"self");
}

/// Wakes every other worker, those of other gateways too: they may share keys.
pub fn wake_others(id: u64) {
    let Some((list, _)) = SharedData.read(LIST) else { return };
    let vm_id = vm_id();
    for name in Workers::read(&list).others(&name(id)) {
        if let Ok(queue) = hostcalls::resolve_shared_queue(&vm_id, name) {
            let _ = hostcalls::enqueue_shared_queue(queue, b"keys");
        }
    }
}

/// Takes out what lies in the queue.
pub fn drain(queue: u32) {
    while hostcalls::dequeue_shared_queue(queue).is_ok() {}
}

/// The `vm_id` of Envoy's configuration, by which queues are found. Istio's `WasmPlugin` cannot set it.
fn vm_id() -> String {
    let id = hostcalls::get_property(&["plugin_vm_id"]).ok().flatten();
    id.and_then(|id| String::from_utf8(id).ok()).unwrap_or_default()
}

fn name(id: u64) -> String {
    format!("worker-{id:016x}")
}
