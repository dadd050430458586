//! Envoy's life: started, started anew when it died, exchanged for another, and ended so that nobody notices ([`leaving`]).
//!
//! One thread does it all, woken by signals and by the ends of children, which it gets by their handles (pidfd), and now and
//! then to see whether something is due.

mod back_off;
mod child;
mod error;
mod leaving;
mod running;

use std::{
    collections::VecDeque,
    io,
    mem::replace,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};
use tracing::{info, warn};

use self::{back_off::BackOff, leaving::Leaving, running::Running};
pub use self::{
    child::{Ended, Event, Reader, Start},
    error::SupervisorError,
};

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_secs(1);
/// The same while an Envoy comes or goes.
const LOOK_CLOSELY: Duration = Duration::from_millis(100);
/// How long one that is to take another's place may take to serve.
const SERVES: Duration = Duration::from_mins(1);

/// What becomes of a change that does not come to serve.
pub const OLD: &str = "the old keys and files go on";

/// What an Envoy is run for.
pub trait Purpose {
    /// Makes sure that Envoy may be started; before each start.
    fn may_start(&mut self) -> Result<(), SupervisorError> {
        Ok(())
    }

    /// What reads the access log of an Envoy that starts, unless it goes to this program's standard output.
    fn reader(&mut self) -> Option<Reader> {
        None
    }

    /// An Envoy was started.
    fn started(&mut self) {}

    /// Whether an Envoy has ever served. `ready` asks the one that runs.
    fn has_served(&mut self, ready: &dyn Fn() -> bool) -> bool;

    /// An Envoy ended.
    fn ended(&mut self, _: &Ended) {}

    /// It is told to look at its inputs now (`SIGHUP`).
    fn look(&mut self);

    /// An Envoy that is to take the place of the one that runs, if there is one. Both share the port until it serves.
    fn renewed(&mut self) -> Option<Start> {
        None
    }

    /// One that was not to serve on has ended: what is left of it can go.
    fn gone(&mut self, _: &Start) {}

    /// The program is told to end.
    fn ending(&mut self) {}
}

/// How long an end may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long Envoy goes on as before.
    pub delay: Duration,
    /// How long clients are then asked to leave before they are cut.
    pub drain: Duration,
}

/// Runs Envoy until a signal says to end. A second signal makes each wait of the end short.
///
/// # Errors
/// If Envoy cannot be started, or ends before it has ever served.
pub fn run(
    start: &Start,
    purpose: &mut dyn Purpose,
    patience: Patience,
) -> Result<(), SupervisorError> {
    let (events, received) = mpsc::channel();
    listen(events.clone()).map_err(SupervisorError::Signals)?;
    let mut supervisor =
        Supervisor { purpose, patience, events, received, started: 0, put_off: VecDeque::new() };
    let running = supervisor.start(start)?;
    supervisor.serve(running)
}

struct Supervisor<'a> {
    purpose: &'a mut dyn Purpose,
    patience: Patience,
    events: Sender<Event>,
    received: Receiver<Event>,
    started: u64,
    /// What happened while there was no time for it.
    put_off: VecDeque<Event>,
}

/// One that is to take the place of the one that runs.
struct Candidate {
    envoy: Running,
    until: Instant,
}

impl Supervisor<'_> {
    fn start(&mut self, start: &Start) -> Result<Running, SupervisorError> {
        self.purpose.may_start()?;
        self.started += 1;
        let running = Running::start(start, self.started, self.purpose.reader(), &self.events)?;
        self.purpose.started();
        Ok(running)
    }

    fn serve(&mut self, mut running: Running) -> Result<(), SupervisorError> {
        let mut back_off = BackOff::default();
        let mut candidate: Option<Candidate> = None;
        let mut leaving: Vec<Leaving> = Vec::new();
        let mut served = false;
        let (last, result) = loop {
            served = served || self.purpose.has_served(&|| running.admin.ready().is_ok());
            let closely = !served || candidate.is_some() || !leaving.is_empty();
            match self.next(if closely { LOOK_CLOSELY } else { LOOK }) {
                Ok(Event::Signal(SIGHUP)) => self.purpose.look(),
                // Envoy opens its log files anew.
                Ok(Event::Signal(SIGUSR1)) => running.child.signal(Signal::USR1),
                Ok(Event::Signal(_)) | Err(RecvTimeoutError::Disconnected) => {
                    break (Some(running), Ok(()));
                }
                Ok(Event::Ended(ended)) if ended.number == running.number => {
                    self.purpose.ended(&ended);
                    let lived = running.since.elapsed();
                    // It may have served since the last look.
                    served = served || self.purpose.has_served(&|| false);
                    if !served && lived < BackOff::SETTLED {
                        break (None, Err(SupervisorError::Start(ended.words())));
                    }
                    warn!("Envoy ended ({}); it is started again", ended.words());
                    if self.wait(back_off.next(lived)) {
                        break (None, Ok(()));
                    }
                    running = match self.start(&running.start) {
                        Ok(running) => running,
                        Err(error) => break (None, Err(error)),
                    };
                }
                Ok(Event::Ended(ended)) => {
                    self.purpose.ended(&ended);
                    let failed = candidate.take_if(|it| it.envoy.number == ended.number);
                    if let Some(failed) = failed {
                        warn!("Envoy ended ({}); {OLD}", ended.words());
                        self.purpose.gone(&failed.envoy.start);
                    }
                    self.forget(&mut leaving, &ended);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            look(&mut leaving);
            match candidate.take() {
                None => candidate = self.candidate(),
                Some(new) if new.envoy.admin.ready().is_ok() => {
                    let old = replace(&mut running, new.envoy);
                    leaving.push(Leaving::new(old, Duration::ZERO, self.patience.drain));
                    info!("what has changed is live");
                }
                Some(late) if Instant::now() >= late.until => {
                    warn!("Envoy does not serve within {} s; {OLD}", SERVES.as_secs());
                    leaving.push(Leaving::new(late.envoy, Duration::ZERO, Duration::ZERO));
                }
                waiting => candidate = waiting,
            }
        };
        self.purpose.ending();
        let Patience { delay, drain } = self.patience;
        leaving.extend(candidate.map(|it| Leaving::new(it.envoy, Duration::ZERO, Duration::ZERO)));
        leaving.extend(last.map(|last| Leaving::new(last, delay, drain)));
        self.end(leaving);
        result
    }

    /// What has happened, or nothing in that time.
    fn next(&mut self, within: Duration) -> Result<Event, RecvTimeoutError> {
        self.put_off.pop_front().map_or_else(|| self.received.recv_timeout(within), Ok)
    }

    /// Starts one that is to take the place of the one that runs, if there is one.
    fn candidate(&mut self) -> Option<Candidate> {
        let start = self.purpose.renewed()?;
        match self.start(&start) {
            Ok(envoy) => Some(Candidate { envoy, until: Instant::now() + SERVES }),
            Err(error) => {
                warn!("{error}; {OLD}");
                None
            }
        }
    }

    /// Waits before Envoy is started anew; whether the program is told to end.
    fn wait(&mut self, back_off: Duration) -> bool {
        let until = Instant::now() + back_off;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.received.recv_timeout(left) {
                Ok(Event::Signal(SIGHUP | SIGUSR1)) => {}
                Ok(ended @ Event::Ended(_)) => self.put_off.push_back(ended),
                Err(RecvTimeoutError::Timeout) => return false,
                Ok(Event::Signal(_)) | Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// Waits until all have ended.
    fn end(&mut self, mut leaving: Vec<Leaving>) {
        while !leaving.is_empty() {
            match self.next(LOOK_CLOSELY) {
                Ok(Event::Ended(ended)) => {
                    self.purpose.ended(&ended);
                    self.forget(&mut leaving, &ended);
                }
                Ok(Event::Signal(SIGHUP | SIGUSR1)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Signal(_)) => leaving.iter_mut().for_each(Leaving::hurry),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            look(&mut leaving);
        }
    }

    fn forget(&mut self, leaving: &mut Vec<Leaving>, ended: &Ended) {
        for one in leaving.extract_if(.., |one| one.envoy.number == ended.number) {
            self.purpose.gone(&one.envoy.start);
        }
    }
}

/// Has those that leave take the steps that are due.
fn look(leaving: &mut Vec<Leaving>) {
    leaving.iter_mut().for_each(Leaving::look);
    leaving.retain(|one| !one.is_beyond_help());
}

fn listen(events: Sender<Event>) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What has happened to whom, in order.
    #[derive(Default)]
    struct Told {
        events: Vec<String>,
        served: bool,
        /// How often Envoy may start.
        starts: usize,
        renewed: Option<Start>,
    }

    impl Purpose for Told {
        fn may_start(&mut self) -> Result<(), SupervisorError> {
            let left = self.starts.checked_sub(1);
            self.starts = left.ok_or_else(|| SupervisorError::Start("no more".to_owned()))?;
            Ok(())
        }

        fn has_served(&mut self, _: &dyn Fn() -> bool) -> bool {
            self.served
        }

        fn ended(&mut self, ended: &Ended) {
            self.events.push(format!("{} {}", ended.number, ended.words()));
        }

        fn look(&mut self) {
            self.events.push("look".to_owned());
        }

        fn renewed(&mut self) -> Option<Start> {
            self.renewed.take()
        }

        fn gone(&mut self, start: &Start) {
            self.events.push(format!("gone {}", start.arguments[1].display()));
        }

        fn ending(&mut self) {
            self.events.push("ending".to_owned());
        }
    }

    fn script(text: &str) -> Start {
        Start {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), text.into()],
            environment: Vec::new(),
            admin: "/nowhere/admin.sock".into(),
        }
    }

    /// Runs a script in Envoy's place, with signals that have come already.
    fn run(text: &str, told: &mut Told, signals: &[i32]) -> Result<(), String> {
        let (events, received) = mpsc::channel();
        let patience = Patience { delay: Duration::ZERO, drain: Duration::ZERO };
        for signal in signals {
            events.send(Event::Signal(*signal)).unwrap();
        }
        let put_off = VecDeque::new();
        let mut supervisor =
            Supervisor { purpose: told, patience, events, received, started: 0, put_off };
        let running = supervisor.start(&script(text)).map_err(|error| error.to_string())?;
        supervisor.serve(running).map_err(|error| error.to_string())
    }

    #[test]
    fn an_envoy_that_never_served_ends_the_program() {
        let mut told = Told { starts: 2, ..Told::default() };
        let result = run("echo '[x][critical] why' >&2; exit 3", &mut told, &[]);
        let want = "exit code 3: [x][critical] why";
        assert_eq!(result, Err(format!("Envoy does not start: {want}")));
        assert_eq!(told.events, [format!("1 {want}"), "ending".to_owned()]);
    }

    #[test]
    fn one_that_served_is_started_anew_while_it_may_be() {
        let mut told = Told { starts: 3, served: true, ..Told::default() };
        assert_eq!(run("exit 1", &mut told, &[]), Err("Envoy does not start: no more".to_owned()));
        let ends = ["1 exit code 1", "2 exit code 1", "3 exit code 1", "ending"];
        assert_eq!(told.events, ends);
    }

    #[test]
    fn signals_have_it_look_and_end() {
        let mut told = Told { starts: 1, served: true, ..Told::default() };
        assert_eq!(run("exec sleep 1000", &mut told, &[SIGHUP, SIGTERM]), Ok(()));
        assert_eq!(told.events, ["look", "ending", "1 signal 15", "gone exec sleep 1000"]);
    }

    /// The portal's supervisor saw nothing while it waited for a new Envoy to serve.
    #[test]
    fn one_that_does_not_come_to_serve_leaves_the_old_and_keeps_no_signal_waiting() {
        let renewed = Some(script("exec sleep 999"));
        let mut told = Told { starts: 2, served: true, renewed, ..Told::default() };
        // The first event is a look, after which the new one is started; the second comes while it is waited for.
        assert_eq!(run("exec sleep 1000", &mut told, &[SIGHUP, SIGTERM]), Ok(()));
        told.events[2..].sort_unstable();
        let want = [
            "look",
            "ending",
            "1 signal 15",
            "2 signal 15",
            "gone exec sleep 1000",
            "gone exec sleep 999",
        ];
        assert_eq!(told.events, want);
    }
}
