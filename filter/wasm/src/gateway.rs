//! One gateway: what a root context shares with its streams.
//!
//! Envoy runs all filters of one `vm_id` and module in one VM of a worker thread, each with a root context of its own. A stream
//! belongs to its root context, and with it to that one's configuration, caches, limits and metrics. What lies outside of it, in
//! thread-local variables, would be shared by gateways that have nothing to do with each other.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    time::Duration,
};

use gateway_core::{
    metrics::{Change, ONLY_GATEWAY},
    stream::Remembered,
    worker::{Instance, Worker},
};
use gateway_hostcalls as hostcalls;

use crate::{host, verifier::Counts};

thread_local! {
    /// The youngest of each name in this VM.
    static YOUNGEST: RefCell<HashMap<String, Weak<Gateway>>> = RefCell::default();
}

/// A gateway whose configuration is valid.
pub struct Gateway {
    name: String,
    label: String,
    /// Tells this worker from the others of the proxy.
    pub id: u64,
    /// The queue that wakes its root context.
    pub queue: u32,
    /// Whether connections are counted of which nobody is known, so that it must be said of which somebody is.
    pub marks_connections: bool,
    counts: Counts,
    worker: RefCell<Worker>,
    /// When it last decided on a request.
    used: Cell<Duration>,
    /// What is remembered of streams that waited, by their ids, in the order of these; until their answers come, or they end.
    waited: RefCell<Vec<(u32, Remembered)>>,
}

/// Who a gateway is, before it has a worker.
pub struct Name {
    /// The name of the filter in Envoy's configuration.
    name: String,
    /// Its worker's part.
    pub instance: Instance,
}

impl Name {
    /// The name of the plugin whose root context is the effective one.
    pub fn read() -> Result<Self, String> {
        let name = hostcalls::get_property(&["plugin_name"]).ok().flatten().unwrap_or_default();
        let name = String::from_utf8_lossy(&name).into_owned();
        let gateway = if name == ONLY_GATEWAY { String::new() } else { name.clone() };
        let instance = Instance::new(host::random(), gateway, host::secret()?);
        Ok(Self { name, instance })
    }
}

impl Gateway {
    /// A gateway, which takes the place of the one of its name.
    #[must_use]
    pub fn new(
        name: Name,
        queue: u32,
        marks_connections: bool,
        counts: Counts,
        mut worker: Worker,
    ) -> Rc<Self> {
        let before = YOUNGEST.with_borrow(|youngest| youngest.get(&name.name)?.upgrade());
        if let Some((documents, as_of)) = before.and_then(|it| it.with(|worker| worker.documents()))
        {
            worker.inherit_documents(documents, as_of);
        }
        let key = name.name.clone();
        let gateway = Rc::new(Self {
            id: name.instance.id,
            name: name.name,
            label: name.instance.gateway,
            queue,
            marks_connections,
            counts,
            worker: RefCell::new(worker),
            used: Cell::new(host::now()),
            waited: RefCell::default(),
        });
        YOUNGEST.with_borrow_mut(|youngest| youngest.insert(key, Rc::downgrade(&gateway)));
        gateway
    }

    /// Runs `f` with the worker. `f` must make no host call that could call back into the module.
    pub fn with<R>(&self, f: impl FnOnce(&mut Worker) -> R) -> R {
        f(&mut self.worker.borrow_mut())
    }

    /// A stream is gone.
    pub fn closed(&self, stream: u32) {
        // Streams end in callbacks of their own, in which nobody has the worker.
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.closed(stream);
        }
    }

    /// What has been counted, by the worker in the way of `take` and by its verifier.
    pub fn take_metrics(&self, take: impl FnOnce(&mut Worker) -> Vec<Change>) -> Vec<Change> {
        let mut changes = self.with(take);
        changes.extend(self.counts.take(&self.label));
        changes
    }

    /// Remembers what was decided on a stream that waited: its root context cannot reach it.
    pub fn remember(&self, stream: u32, remembered: Remembered) {
        let mut waited = self.waited.borrow_mut();
        match waited.binary_search_by_key(&stream, |(id, _)| *id) {
            Ok(place) => drop(waited.remove(place)),
            Err(place) => waited.insert(place, (stream, remembered)),
        }
    }

    /// Takes out what is remembered of a stream that waited.
    pub fn remembered(&self, stream: u32) -> Option<Remembered> {
        let mut waited = self.waited.borrow_mut();
        let place = waited.binary_search_by_key(&stream, |(id, _)| *id).ok()?;
        Some(waited.remove(place).1)
    }

    /// Notes that a request came.
    pub fn use_at(&self, now: Duration) {
        self.used.set(now);
    }

    /// Whether a new configuration has taken this one's place and no request has come for so long: the streams that it still
    /// has need nothing of it.
    ///
    /// Another gateway of the same name looks the same from here. It then waits for keys that are due before it decides.
    #[must_use]
    pub fn is_superseded(&self, now: Duration, idle: Duration) -> bool {
        let is_youngest = |it: &Weak<Self>| std::ptr::eq(it.as_ptr(), self);
        let youngest =
            YOUNGEST.with_borrow(|youngest| youngest.get(&self.name).is_some_and(is_youngest));
        !youngest && now.saturating_sub(self.used.get()) >= idle
    }
}
