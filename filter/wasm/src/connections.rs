//! The third root of the module, `connections`: a network filter before the connection manager, which counts connections of
//! which nobody is known yet.
//!
//! It sees a connection before its TLS handshake. The gateway's stream contexts, in the same VM, tell it whose user is known.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

use gateway_core::{
    connections::{ANONYMOUS, Settings, Undecided},
    metrics::{Change, Kind, Metric},
};
use log::error;
use proxy_wasm::{
    hostcalls,
    traits::{Context, RootContext, StreamContext},
    types::{Action, ContextType},
};

use crate::{host, metrics};

/// The `root_id` that Envoy's configuration names.
pub const ROOT_ID: &str = "connections";

/// How often it is looked whose time is over.
const TICK: Duration = Duration::from_secs(1);
/// The same while there is more to close.
const BUSY_TICK: Duration = Duration::from_millis(10);
/// How many connections one call closes. Envoy closes each inside the call, and the stack of the VM holds some 800.
const MOST_CLOSED: usize = 32;

type Shared = Rc<RefCell<Undecided>>;

thread_local! {
    /// What the root contexts of this VM count, for the gateway's streams.
    static ALL: RefCell<Vec<Weak<RefCell<Undecided>>>> = const { RefCell::new(Vec::new()) };
    /// Connections refused because their address had too many.
    static REFUSED: Cell<i64> = const { Cell::new(0) };
}

/// Tells that a request of the present stream goes on for this user: its connection counts no longer.
///
/// While every connection has its user this costs no host call.
pub fn decided(user: &str) {
    let all_known = ALL
        .with_borrow(|all| all.iter().filter_map(Weak::upgrade).all(|it| it.borrow().is_empty()));
    if all_known || user == ANONYMOUS {
        return;
    }
    if let Some(number) = number() {
        ALL.with_borrow(|all| {
            for undecided in all.iter().filter_map(Weak::upgrade) {
                undecided.borrow_mut().remove(number);
            }
        });
    }
}

/// Envoy's number of the connection that the effective context belongs to.
fn number() -> Option<u64> {
    let bytes = hostcalls::get_property(vec!["connection_id"]).ok().flatten()?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// The root context of one configuration.
pub struct Root {
    id: u32,
    undecided: Option<Shared>,
}

impl Root {
    /// A root context of this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id, undecided: None }
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let document = self.get_plugin_configuration().unwrap_or_default();
        let settings: Settings = match gateway_core::connections::parse(&document) {
            Ok(settings) => settings,
            Err(why) => {
                error!("configuration refused: {why}");
                return false;
            }
        };
        let undecided = Rc::new(RefCell::new(Undecided::new(settings)));
        ALL.with_borrow_mut(|all| {
            all.retain(|it| it.strong_count() > 0);
            all.push(Rc::downgrade(&undecided));
        });
        self.undecided = Some(undecided);
        self.set_tick_period(TICK);
        true
    }

    fn on_tick(&mut self) {
        let Some(undecided) = &self.undecided else { return };
        let overdue = undecided.borrow_mut().overdue(host::now(), MOST_CLOSED);
        self.set_tick_period(if overdue.len() < MOST_CLOSED { TICK } else { BUSY_TICK });
        let late = i64::try_from(overdue.len()).unwrap_or(i64::MAX);
        for context in overdue {
            // It may be gone already.
            if hostcalls::set_effective_context(context).is_ok() {
                let _ = hostcalls::close_downstream();
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
        let counts = [("limit", REFUSED.take()), ("undecided", late)];
        let changes = counts.into_iter().filter(|(_, count)| *count > 0).map(|(reason, value)| {
            let stat = format!("{}.reason.{reason}", Metric::ConnectionsClosed.name());
            Change { stat, kind: Kind::Counter, value }
        });
        metrics::report(changes.collect());
    }

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Connection { id, number: None, undecided: self.undecided.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }
}

/// One connection's context.
struct Connection {
    id: u32,
    number: Option<u64>,
    undecided: Option<Shared>,
}

impl Context for Connection {}

impl StreamContext for Connection {
    fn on_new_connection(&mut self) -> Action {
        let Some(undecided) = &self.undecided else { return Action::Continue };
        let Some(number) = number() else { return Action::Continue };
        let source = hostcalls::get_property(vec!["source", "address"]).ok().flatten();
        let source = source.unwrap_or_default();
        if undecided.borrow_mut().open(number, self.id, &source, host::now()) {
            self.number = Some(number);
            return Action::Continue;
        }
        REFUSED.set(REFUSED.get().saturating_add(1));
        let _ = hostcalls::close_downstream();
        Action::Pause
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(number), Some(undecided)) = (self.number, &self.undecided) {
            undecided.borrow_mut().remove(number);
        }
    }
}
