//! What Envoy is run for as a gateway: its access log is read, and what becomes of it is counted.

use std::{
    mem::replace,
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
};

use gateway_audit::rawlog::{self, Sink};
use tracing::{error, info};

use super::{
    metrics::{Metric, Metrics},
    readiness::Readiness,
    settings::Settings,
    version,
};
use crate::supervisor::{Ended, Purpose, Reader, SupervisorError};

/// What is made of the raw lines; it outlives any one Envoy.
pub(super) type Sinks = Arc<Mutex<Vec<Box<dyn Sink>>>>;

pub(super) struct Gateway {
    pub settings: Arc<Settings>,
    pub sinks: Sinks,
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    /// Whether the Envoy that lies there has been looked at for the next start.
    pub is_checked: bool,
    /// Makes the watch look at once.
    pub wake: Sender<()>,
}

impl Purpose for Gateway {
    fn may_start(&mut self) -> Result<(), SupervisorError> {
        if replace(&mut self.is_checked, false) {
            return Ok(());
        }
        // Another one may lie there by now.
        version::check(&self.settings)
    }

    fn reader(&mut self) -> Option<Reader> {
        let (sinks, metrics) = (Arc::clone(&self.sinks), Arc::clone(&self.metrics));
        Some(Box::new(move |pipe| {
            let mut sinks = sinks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = rawlog::pump(pipe, &mut sinks) {
                error!("Envoy's access log cannot be read: {error}");
                metrics.add(Metric::AuditGaps, ["pipe", ""], 1);
            }
        }))
    }

    fn started(&mut self) {
        self.metrics.add(Metric::EnvoyStarts, ["", ""], 1);
        // An increase is seen from a zero only.
        for cause in ["envoy", "pipe"] {
            self.metrics.add(Metric::AuditGaps, [cause, ""], 0);
        }
        self.metrics.set(Metric::EnvoyUp, ["", ""], 1);
    }

    fn has_served(&mut self, _: &dyn Fn() -> bool) -> bool {
        self.readiness.served()
    }

    fn ended(&mut self, ended: &Ended) {
        self.metrics.set(Metric::EnvoyUp, ["", ""], 0);
        if ended.died() {
            self.metrics.add(Metric::AuditGaps, ["envoy", ""], 1);
        }
    }

    fn look(&mut self) {
        // The watch has ended if the program is about to.
        let _ = self.wake.send(());
    }

    fn ending(&mut self) {
        self.readiness.end();
        let Settings { shutdown_delay, drain, .. } = &*self.settings;
        info!(
            "told to end: unready for {} s, then draining for at most {} s",
            shutdown_delay.as_secs(),
            drain.as_secs()
        );
    }
}
