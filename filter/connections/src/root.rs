//! Envoy's callbacks and host calls around the counting.
//!
//! It sees a connection before its TLS handshake.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, SystemTime},
};

use gateway_hostcalls as hostcalls;
use gateway_undecided::Undecided;
use proxy_wasm::{
    traits::{Context, RootContext, StreamContext},
    types::{Action, ContextType, LogLevel, MetricType},
};

use crate::{CLOSED, SIGNED_IN};

/// How often it is looked whose time is over.
const TICK: Duration = Duration::from_secs(1);
/// The same while there are more.
const BUSY_TICK: Duration = Duration::from_millis(10);
/// At how many connections whose time is over one call looks. Envoy closes each inside the call, and the stack of the VM holds some
/// 800.
const MOST_OVERDUE: usize = 32;

/// What a root context shares with its connections.
struct Shared {
    undecided: RefCell<Undecided>,
    /// Connections refused since the last tick because their address had too many.
    refused: Cell<i64>,
    /// The metrics of what was closed, by reason.
    limit: Option<u32>,
    late: Option<u32>,
}

/// The root context of one configuration.
pub struct Root {
    id: u32,
    shared: Option<Rc<Shared>>,
}

impl Root {
    /// A root context of this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id, shared: None }
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        // Two filters of the same configuration have one root context, which Envoy then configures twice.
        if self.shared.is_some() {
            return true;
        }
        let document = self.get_plugin_configuration().unwrap_or_default();
        match gateway_undecided::parse(&document) {
            Ok(settings) => {
                self.shared = Some(Rc::new(Shared {
                    undecided: RefCell::new(Undecided::new(settings)),
                    refused: Cell::new(0),
                    limit: counter("limit"),
                    late: counter("undecided"),
                }));
                self.set_tick_period(TICK);
                true
            }
            Err(why) => {
                let _ = hostcalls::log(LogLevel::Error, &format!("configuration refused: {why}"));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let Some(shared) = &self.shared else { return };
        let (late, more) = shared.undecided.borrow_mut().overdue(now(), MOST_OVERDUE, is_signed_in);
        self.set_tick_period(if more { BUSY_TICK } else { TICK });
        for context in &late {
            // It may be gone already.
            if hostcalls::set_effective_context(*context).is_ok() {
                let _ = hostcalls::close_downstream();
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
        count(shared.limit, shared.refused.take());
        count(shared.late, i64::try_from(late.len()).unwrap_or(i64::MAX));
    }

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Connection { id, counts: false, shared: self.shared.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }
}

/// One connection's context.
struct Connection {
    id: u32,
    /// Whether it was let in, and so has to be forgotten when it ends.
    counts: bool,
    shared: Option<Rc<Shared>>,
}

impl Context for Connection {}

impl StreamContext for Connection {
    fn on_new_connection(&mut self) -> Action {
        let Some(shared) = &self.shared else { return Action::Continue };
        let source = hostcalls::get_property(&["source", "address"]).ok().flatten();
        let source = source.unwrap_or_default();
        // The borrow ends before the connection is closed, in which Envoy may end other contexts.
        self.counts = shared.undecided.borrow_mut().open(self.id, &source, now(), is_signed_in);
        if self.counts {
            return Action::Continue;
        }
        let _ = hostcalls::set_effective_context(self.id);
        shared.refused.set(shared.refused.get().saturating_add(1));
        let _ = hostcalls::close_downstream();
        Action::Pause
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (true, Some(shared)) = (self.counts, &self.shared) {
            shared.undecided.borrow_mut().remove(self.id);
        }
    }
}

/// Whether the gateway's filter has let a request of this connection through for a user who signed in. Leaves the connection's
/// context the effective one.
fn is_signed_in(context: u32) -> bool {
    hostcalls::set_effective_context(context).is_ok()
        && matches!(hostcalls::get_property(&[SIGNED_IN]), Ok(Some(_)))
}

fn counter(reason: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Counter, &format!("{CLOSED}.{reason}")).ok()
}

fn count(metric: Option<u32>, more: i64) {
    if let (Some(metric), true) = (metric, more > 0) {
        let _ = hostcalls::increment_metric(metric, more);
    }
}

/// Time since the epoch.
fn now() -> Duration {
    hostcalls::get_current_time()
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .unwrap_or_default()
}
