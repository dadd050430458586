//! Envoy as a child of this program.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::{self, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    thread,
};

use gateway_audit::rawlog::{self, Sink};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    metrics::{Metric, Metrics},
    say::say,
};

/// What is made of the raw lines; it outlives any one Envoy.
pub(super) type Sinks = Arc<Mutex<Vec<Box<dyn Sink>>>>;

/// A running Envoy.
pub(super) struct Child {
    handle: OwnedFd,
}

/// What the main thread is told.
#[derive(Debug)]
pub enum Event {
    /// A signal came.
    Signal(i32),
    /// Envoy ended.
    Ended(Ended),
}

/// How an Envoy ended.
#[derive(Debug)]
pub struct Ended {
    /// The status, if the system told.
    pub status: Option<ExitStatus>,
    /// The last line of its log that says why.
    pub complaint: Option<String>,
}

impl Child {
    /// Starts Envoy. Its access log goes to the sinks, its own log to this program's standard error. When it ends,
    /// `events` is told, after everything it wrote has been read.
    pub fn start(
        program: &Path,
        arguments: &[OsString],
        environment: &[(&'static str, String)],
        sinks: &Sinks,
        metrics: &Arc<Metrics>,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let handle = match handle(&child) {
            Ok(handle) => handle,
            // Nobody could end it later.
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(error);
            }
        };
        metrics.add(Metric::EnvoyStarts, ["", ""], 1);
        // An increase is seen from a zero only.
        for cause in ["envoy", "pipe"] {
            metrics.add(Metric::AuditGaps, [cause, ""], 0);
        }
        metrics.set(Metric::EnvoyUp, ["", ""], 1);
        let lines = child.stdout.take().map(|pipe| {
            let (sinks, metrics) = (Arc::clone(sinks), Arc::clone(metrics));
            thread::spawn(move || {
                let mut sinks = sinks.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = rawlog::pump(pipe, &mut sinks) {
                    say(format_args!("Envoy's access log cannot be read: {error}"));
                    metrics.add(Metric::AuditGaps, ["pipe", ""], 1);
                }
            })
        });
        let log = child.stderr.take().map(|pipe| thread::spawn(move || forward(pipe)));
        let metrics = Arc::clone(metrics);
        thread::spawn(move || {
            let status = child.wait().ok();
            drop(lines.map(thread::JoinHandle::join));
            let complaint = log.and_then(|log| log.join().ok()).flatten();
            metrics.set(Metric::EnvoyUp, ["", ""], 0);
            if status.is_none_or(|status| status.code().is_none()) {
                metrics.add(Metric::AuditGaps, ["envoy", ""], 1);
            }
            // Nobody listens any more if the program is about to end.
            let _ = events.send(Event::Ended(Ended { status, complaint }));
        });
        Ok(Self { handle })
    }

    /// Sends a signal. One that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        // The only error is that it has ended, which is told by an event.
        let _ = pidfd_send_signal(&self.handle, signal);
    }
}

/// By which a process is signalled, and no other that has its number later.
fn handle(child: &process::Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it has no number"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Copies Envoy's log and remembers its last complaint.
fn forward(pipe: impl Read) -> Option<String> {
    let mut complaint = None;
    let mut out = io::stderr();
    for line in BufReader::new(pipe).split(b'\n') {
        let Ok(mut line) = line else { break };
        let text = String::from_utf8_lossy(&line);
        let stack = text.contains("[backtrace]") || text.contains("[envoy_bug]");
        if !stack && (text.contains("[critical]") || text.contains("[error]")) {
            complaint = Some(text.trim().to_owned());
        }
        line.push(b'\n');
        // A log that cannot be written must not end the gateway.
        let _ = out.write_all(&line);
    }
    complaint
}

impl Ended {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        use std::os::unix::process::ExitStatusExt;
        let status = match self.status {
            None => "nobody knows how".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            },
        };
        match &self.complaint {
            Some(complaint) => format!("{status}: {complaint}"),
            None => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    fn start(script: &str) -> (Child, mpsc::Receiver<Event>, Arc<Metrics>) {
        let (events, received) = mpsc::channel();
        let sinks = Sinks::default();
        let arguments = ["-c".into(), script.into()];
        let metrics = Arc::default();
        let child = Child::start(Path::new("/bin/sh"), &arguments, &[], &sinks, &metrics, events);
        (child.unwrap(), received, metrics)
    }

    fn ended(events: &mpsc::Receiver<Event>) -> String {
        match events.recv_timeout(Duration::from_secs(20)).unwrap() {
            Event::Ended(ended) => ended.words(),
            event @ Event::Signal(_) => panic!("{event:?}"),
        }
    }

    #[test]
    fn an_end_is_told_with_the_last_complaint() {
        let script = "echo '[x][critical] one' >&2; echo '[x][error] two' >&2; echo '[x][critical][backtrace] #0' >&2; echo three >&2; exit 3";
        let (_child, events, metrics) = start(script);
        assert_eq!(ended(&events), "exit code 3: [x][error] two");
        assert!(metrics.text().contains("gateway_audit_gaps_total{cause=\"envoy\"} 0\n"));
    }

    #[test]
    fn signals_arrive() {
        let (child, events, metrics) = start("exec sleep 1000");
        child.signal(Signal::TERM);
        assert_eq!(ended(&events), "signal 15");
        // What it had not written yet is lost, and nobody knows how much that was.
        assert!(metrics.text().contains("gateway_audit_gaps_total{cause=\"envoy\"} 1\n"));
        child.signal(Signal::TERM);
    }
}
