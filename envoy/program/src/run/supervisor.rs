//! Envoy's life: started, started anew when it died, and ended so that nobody notices.
//!
//! The order at the end: first the gateway is unready and goes on, so that load balancers send no more; then Envoy asks every
//! connection to go (GOAWAY, `connection: close`) and still answers what comes; when nobody is left, or the time is over, it
//! ends. Watches end with it, as they do when kube-apiserver is restarted: clients begin new ones.

use std::{
    ffi::OsString,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};

use gateway_control::Admin;

use super::{
    child::{Child, Ended, Event, Sinks},
    error::RunError,
    metrics::Metrics,
    readiness::Readiness,
    say::say,
    settings::Settings,
    version,
};

/// How long Envoy may take to end once nothing holds it.
pub(crate) const END: Duration = Duration::from_secs(5);
/// What asks every connection to go, in this order.
pub(crate) const DRAIN: [&str; 2] = ["/healthcheck/fail", "/drain_listeners?graceful&skip_exit"];

pub(super) struct Supervisor<'a> {
    pub settings: &'a Settings,
    pub arguments: Vec<OsString>,
    /// Envoy's whole environment.
    pub environment: Vec<(&'static str, String)>,
    pub sinks: Sinks,
    pub admin: Admin,
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    /// Makes the watch look at once.
    pub wake: Sender<()>,
}

/// What the program is to do when it has waited.
enum Next {
    GoOn,
    End,
}

impl Supervisor<'_> {
    /// Runs Envoy until a signal says to end.
    ///
    /// # Errors
    /// If Envoy cannot be started, or ends before it has ever served.
    pub fn run(self) -> Result<(), RunError> {
        let (events, received) = mpsc::channel();
        listen(events.clone()).map_err(RunError::Signals)?;
        let mut back_off = BackOff::default();
        loop {
            let started = Instant::now();
            let child = self.start(&events)?;
            let ended = loop {
                match received.recv() {
                    Ok(Event::Ended(ended)) => break ended,
                    Ok(Event::Signal(signal)) => match self.signal(signal, &child) {
                        Next::GoOn => {}
                        Next::End => {
                            self.end(&child, &received);
                            return Ok(());
                        }
                    },
                    Err(_) => return Ok(()),
                }
            };
            if !self.readiness.served() && started.elapsed() < BackOff::SETTLED {
                return Err(RunError::Envoy(ended.words()));
            }
            say(format_args!("Envoy ended ({}); it is started anew", ended.words()));
            if let Next::End = wait(back_off.next(started.elapsed()), &received) {
                return Ok(());
            }
            // Another one may lie there by now.
            version::check(self.settings)?;
        }
    }

    fn start(&self, events: &Sender<Event>) -> Result<Child, RunError> {
        let Self { settings, arguments, environment, sinks, metrics, .. } = self;
        let envoy = &settings.envoy;
        Child::start(envoy, arguments, environment, sinks, metrics, events.clone())
            .map_err(|source| RunError::NoEnvoy { envoy: envoy.clone(), source })
    }

    fn signal(&self, signal: i32, child: &Child) -> Next {
        match signal {
            SIGHUP => drop(self.wake.send(())),
            // Envoy opens its log files anew.
            SIGUSR1 => child.signal(Signal::USR1),
            _ => return Next::End,
        }
        Next::GoOn
    }

    /// Ends Envoy. A second signal makes it short.
    fn end(&self, child: &Child, events: &Receiver<Event>) {
        let Settings { shutdown_delay, drain, .. } = self.settings;
        self.readiness.end();
        say(format_args!(
            "told to end: unready for {} s, then draining for at most {} s",
            shutdown_delay.as_secs(),
            drain.as_secs()
        ));
        if ended(events, *shutdown_delay, || false) {
            return;
        }
        for path in DRAIN {
            if let Err(reason) = self.admin.post(path) {
                say(format_args!("cannot drain: {reason}"));
            }
        }
        let nobody_left = || self.admin.numbers().is_ok_and(|numbers| numbers.connections == 0);
        if ended(events, *drain, nobody_left) {
            return;
        }
        child.signal(Signal::TERM);
        if !ended(events, END, || false) {
            say("Envoy does not end; it is killed");
            child.signal(Signal::KILL);
            ended(events, END, || false);
        }
    }
}

/// How long to wait before Envoy is started anew: twice as long each time, until one has lived for a while.
pub(crate) struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);
    /// After that much time an Envoy is no longer one that has just been started.
    pub const SETTLED: Duration = Duration::from_secs(60);

    /// The wait after an Envoy that lived so long.
    pub fn next(&mut self, lived: Duration) -> Duration {
        if lived >= Self::SETTLED {
            *self = Self::default();
        }
        let wait = self.0;
        self.0 = (wait * 2).min(Self::LONGEST);
        wait
    }
}

/// Waits before Envoy is started anew.
fn wait(back_off: Duration, events: &Receiver<Event>) -> Next {
    let until = Instant::now() + back_off;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match events.recv_timeout(left) {
            Ok(Event::Signal(SIGHUP | SIGUSR1) | Event::Ended(_)) => {}
            Err(RecvTimeoutError::Timeout) => return Next::GoOn,
            Ok(Event::Signal(_)) | Err(RecvTimeoutError::Disconnected) => return Next::End,
        }
    }
}

/// Waits until Envoy ended, the time is over, a signal comes, or `enough` says so; whether Envoy ended.
fn ended(events: &Receiver<Event>, limit: Duration, mut enough: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match events.recv_timeout(left.min(Duration::from_millis(100))) {
            Ok(Event::Ended(Ended { .. })) | Err(RecvTimeoutError::Disconnected) => return true,
            Ok(Event::Signal(SIGHUP | SIGUSR1)) => {}
            Ok(Event::Signal(_)) => return false,
            Err(RecvTimeoutError::Timeout) if left.is_zero() || enough() => return false,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn listen(events: Sender<Event>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}
