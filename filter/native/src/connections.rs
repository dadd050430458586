//! The network filter before the connection manager: how many connections of which nobody is known one address may hold, as
//! `connections.wasm` counts them beside the Wasm filter.
//!
//! It sees a connection before its TLS handshake. A request that goes on is in the same thread as its connection, so that the HTTP filter
//! tells it at once whose user is known ([`signed_in`]).

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::{Rc, Weak},
    sync::{
        self, Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use gateway_core::metrics::Metric;
use gateway_undecided::{Settings, Undecided};

use crate::{
    guard::release,
    host::{
        self, ConfigHandle, NetworkFilter,
        connections::{Handle, Scheduler},
    },
    shared::lock,
    ticker,
};

/// At how many connections whose time is over one call looks: each is closed inside the call.
const MOST_OVERDUE: usize = 32;

/// A configuration of the network filter's.
pub struct Counting {
    settings: Settings,
    handle: ConfigHandle<NetworkFilter>,
    is_gone: AtomicBool,
    bells: Mutex<Vec<sync::Weak<Bell>>>,
    /// The metrics of what was closed, by reason, and of panics.
    limit: Option<usize>,
    late: Option<usize>,
    panics: Option<usize>,
}

/// What wakes one thread's counter: any of its connections.
#[derive(Default)]
struct Bell(Mutex<BTreeMap<u32, Scheduler>>);

impl Bell {
    fn ring(&self) {
        // Under the lock: so none is in use that the worker deletes.
        if let Some((_, scheduler)) = lock(&self.0).first_key_value() {
            scheduler.commit();
        }
    }

    fn remove(&self, id: u32) {
        let scheduler = lock(&self.0).remove(&id);
        drop(scheduler);
    }
}

/// The connections of one configuration in one thread.
struct Counter {
    counting: Arc<Counting>,
    bell: Arc<Bell>,
    undecided: RefCell<Undecided>,
    open: RefCell<HashMap<u32, Weak<Connection>>>,
    next: Cell<u32>,
}

/// One connection.
pub struct Connection {
    handle: Handle,
    counter: Rc<Counter>,
    id: u32,
    /// Envoy's number of it, while it counts.
    number: Cell<Option<u64>>,
}

/// What Envoy does with a new connection: `envoy_dynamic_module_type_on_network_filter_data_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// It goes on to the next filter.
    Continue = 0,
    /// It does not.
    Stop = 1,
}

thread_local! {
    static COUNTERS: RefCell<Counters> = const { RefCell::new(Counters(Vec::new())) };
    /// Those of which nobody is known, by Envoy's number.
    static NOBODYS: RefCell<BTreeMap<u64, Weak<Connection>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Those of a thread. Their end, with the thread's, must not panic.
struct Counters(Vec<Rc<Counter>>);

impl Drop for Counters {
    fn drop(&mut self) {
        release(std::mem::take(&mut self.0));
    }
}

/// A request has been let through for a user who signed in, on this connection of the thread's.
pub fn signed_in(number: u64) {
    let connection = NOBODYS.try_with(|nobodys| nobodys.borrow_mut().remove(&number));
    if let Some(connection) = connection.ok().flatten().and_then(|it| it.upgrade()) {
        connection.count_no_longer();
    }
}

impl Counting {
    /// Takes a configuration, in the main thread. `None` if something is wrong with it, which is in the log.
    #[must_use]
    pub fn new(handle: ConfigHandle<NetworkFilter>, document: &[u8]) -> Option<Arc<Self>> {
        let settings = match gateway_undecided::parse(document) {
            Ok(settings) => settings,
            Err(why) => {
                host::error(&format!("configuration of connections refused: {why}"));
                return None;
            }
        };
        let closed = |reason: &str| {
            let metric = Metric::ConnectionsClosed;
            // Labels are in the name: as connections.wasm has them, and as Envoy's rules for tags read them.
            handle.define(&format!("{}.{}.{reason}", metric.name(), metric.labels().first()?))
        };
        let (limit, late) = (closed("limit"), closed("undecided"));
        let panics = handle.define(Metric::Panics.name());
        let (is_gone, bells) = (AtomicBool::new(false), Mutex::default());
        let counting = Arc::new(Self { settings, handle, is_gone, bells, limit, late, panics });
        (host::only_validates() || ticker::add_counting(&counting)).then_some(counting)
    }

    /// Envoy has let go of it: its last connection has ended. In any thread.
    pub fn destroy(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        self.handle.close();
    }

    /// A panic has been caught.
    pub fn panicked(&self) {
        self.count(self.panics, 1);
    }

    /// Has each thread look whose time is over.
    pub fn tick(&self) {
        let bells: Vec<_> = lock(&self.bells).iter().filter_map(sync::Weak::upgrade).collect();
        for bell in bells {
            bell.ring();
        }
    }

    fn count(&self, metric: Option<usize>, more: usize) {
        if let (Some(metric), true) = (metric, more > 0) {
            self.handle.count(metric, u64::try_from(more).unwrap_or(u64::MAX));
        }
    }
}

impl Counter {
    /// That of this configuration in this thread.
    fn local(counting: &Arc<Counting>) -> Rc<Self> {
        let is_this = |counter: &&Rc<Self>| Arc::ptr_eq(&counter.counting, counting);
        let known = COUNTERS.with_borrow(|local| local.0.iter().find(is_this).cloned());
        known.unwrap_or_else(|| {
            let is_gone = |it: &mut Rc<Self>| it.counting.is_gone.load(Ordering::Relaxed);
            let gone: Vec<_> =
                COUNTERS.with_borrow_mut(|local| local.0.extract_if(.., is_gone).collect());
            release(gone);
            let bell = Arc::new(Bell::default());
            let mut bells = lock(&counting.bells);
            bells.retain(|bell| bell.strong_count() > 0);
            bells.push(Arc::downgrade(&bell));
            drop(bells);
            let counter = Rc::new(Self {
                counting: Arc::clone(counting),
                bell,
                undecided: RefCell::new(Undecided::new(counting.settings.clone())),
                open: RefCell::default(),
                next: Cell::new(0),
            });
            COUNTERS.with_borrow_mut(|local| local.0.push(Rc::clone(&counter)));
            counter
        })
    }

    fn next_id(&self) -> u32 {
        loop {
            let id = self.next.get();
            self.next.set(id.wrapping_add(1));
            if !self.open.borrow().contains_key(&id) {
                return id;
            }
        }
    }

    /// Ends connections whose time is over.
    fn end_late(&self) {
        // Who is known is told of, and counts no longer: so nobody else is.
        let (late, more) =
            self.undecided.borrow_mut().overdue(host::now(), MOST_OVERDUE, |_| false);
        let mut ended: usize = 0;
        for id in late {
            let connection = self.open.borrow().get(&id).and_then(Weak::upgrade);
            // It is in no queue any more; by the others the thread is woken.
            self.bell.remove(id);
            if let Some(connection) = connection {
                ended = ended.saturating_add(1);
                connection.handle.end();
                release(connection);
            }
        }
        self.counting.count(self.counting.late, ended);
        if more {
            self.bell.ring();
        }
    }
}

impl Connection {
    /// A connection of this configuration.
    #[must_use]
    pub fn new(counting: &Arc<Counting>, handle: Handle) -> Rc<Self> {
        let counter = Counter::local(counting);
        let id = counter.next_id();
        Rc::new_cyclic(|this| {
            counter.open.borrow_mut().insert(id, Weak::clone(this));
            Self { handle, counter, id, number: Cell::default() }
        })
    }

    /// It begins.
    pub fn begins(self: &Rc<Self>) -> Status {
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::place("connection");
        let counter = &self.counter;
        let source = self.handle.source().map(|source| source.to_string()).unwrap_or_default();
        let opened =
            counter.undecided.borrow_mut().open(self.id, source.as_bytes(), host::now(), |_| false);
        if !opened {
            counter.counting.count(counter.counting.limit, 1);
            self.handle.end();
            return Status::Stop;
        }
        // One that could not be ended, or of which nobody could tell that its user is known, must not stay.
        let (Some(scheduler), Some(number)) = (self.handle.scheduler(), self.handle.number())
        else {
            self.handle.end();
            return Status::Stop;
        };
        lock(&counter.bell.0).insert(self.id, scheduler);
        self.number.set(Some(number));
        NOBODYS.with_borrow_mut(|nobodys| nobodys.insert(number, Rc::downgrade(self)));
        Status::Continue
    }

    /// It is woken.
    pub fn scheduled(&self) {
        self.counter.end_late();
    }

    /// It has met a panic, and must not go on.
    pub fn panicked(&self) {
        self.counter.counting.panicked();
        self.handle.end();
    }

    /// Envoy has destroyed it.
    pub fn destroyed(&self) {
        self.handle.close();
        self.counter.open.borrow_mut().remove(&self.id);
        if let Some(number) = self.number.get() {
            NOBODYS.with_borrow_mut(|nobodys| nobodys.remove(&number));
        }
        self.count_no_longer();
    }

    fn count_no_longer(&self) {
        self.number.set(None);
        self.counter.bell.remove(self.id);
        let _ = self.counter.undecided.borrow_mut().remove(self.id);
    }
}
