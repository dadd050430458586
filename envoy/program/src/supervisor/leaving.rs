//! The end of an Envoy, so that nobody notices.
//!
//! First it goes on as before, unready, so that load balancers send no more; then it asks every connection to go (GOAWAY,
//! `connection: close`) and still answers what comes; when nobody is left, or the time is over, it is told to end. Watches end
//! with it, as they do when kube-apiserver is restarted: clients begin new ones.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tracing::warn;

use super::running::Running;

/// How long Envoy may take to end once nothing holds it.
const END: Duration = Duration::from_secs(5);
/// What asks every connection to go, in this order.
const DRAIN: [&str; 2] = ["/healthcheck/fail", "/drain_listeners?graceful&skip_exit"];

/// An Envoy that is on its way out.
pub(super) struct Leaving {
    pub envoy: Running,
    stage: Stage,
    until: Instant,
    drain: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    AsBefore,
    Draining,
    Ending,
    Killed,
}

impl Leaving {
    /// One that goes on for `delay`, and then is patient with its clients for `drain`.
    pub fn new(envoy: Running, delay: Duration, drain: Duration) -> Self {
        let mut leaving =
            Self { envoy, stage: Stage::AsBefore, until: Instant::now() + delay, drain };
        leaving.look();
        leaving
    }

    /// Takes the next step if it is time for it.
    pub fn look(&mut self) {
        let due = Instant::now() >= self.until;
        let over = match self.stage {
            Stage::Draining => due || self.nobody_is_left(),
            Stage::AsBefore | Stage::Ending => due,
            Stage::Killed => false,
        };
        if over {
            self.step();
        }
    }

    /// Takes the next step now, if it is one that somebody can want sooner.
    pub fn hurry(&mut self) {
        if matches!(self.stage, Stage::AsBefore | Stage::Draining) {
            self.step();
        }
    }

    /// Whether not even being killed has ended it.
    pub fn is_beyond_help(&self) -> bool {
        self.stage == Stage::Killed && Instant::now() >= self.until
    }

    fn step(&mut self) {
        let (stage, wait) = match self.stage {
            Stage::AsBefore => {
                for path in DRAIN {
                    if let Err(reason) = self.envoy.admin.post(path) {
                        warn!("cannot drain: {reason}");
                    }
                }
                (Stage::Draining, self.drain)
            }
            Stage::Draining => {
                self.envoy.child.signal(Signal::TERM);
                (Stage::Ending, END)
            }
            Stage::Ending | Stage::Killed => {
                warn!("Envoy does not end; it is killed");
                self.envoy.child.signal(Signal::KILL);
                (Stage::Killed, END)
            }
        };
        self.stage = stage;
        self.until = Instant::now() + wait;
    }

    fn nobody_is_left(&self) -> bool {
        self.envoy.admin.numbers().is_ok_and(|numbers| numbers.connections == 0)
    }
}
