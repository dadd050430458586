//! Envoy as a child of this program.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{self, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// An Envoy to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Its command line.
    pub arguments: Vec<OsString>,
    /// Its whole environment, which is readable by this user alone.
    pub environment: Vec<(&'static str, String)>,
    /// The socket of its administration.
    pub admin: PathBuf,
}

/// Reads Envoy's standard output to its end, in a thread of its own.
pub type Reader = Box<dyn FnOnce(ChildStdout) + Send>;

/// What the main thread is told.
#[derive(Debug)]
pub enum Event {
    /// A signal came.
    Signal(i32),
    /// An Envoy ended.
    Ended(Ended),
}

/// How an Envoy ended.
#[derive(Debug)]
pub struct Ended {
    /// Which one: the number that it was started with.
    pub number: u64,
    /// The status, if the system told.
    pub status: Option<ExitStatus>,
    /// The last line of its log that says why.
    pub complaint: Option<String>,
}

/// A running Envoy.
pub(super) struct Child {
    handle: OwnedFd,
}

impl Child {
    /// Starts Envoy. Its access log goes to `reader`, or else to this program's standard output; its own log to this program's
    /// standard error. When it ends, `events` is told, after everything it wrote has been read.
    pub fn start(
        start: &Start,
        number: u64,
        reader: Option<Reader>,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let mut child = Command::new(&start.program)
            .args(&start.arguments)
            .env_clear()
            .envs(start.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(if reader.is_some() { Stdio::piped() } else { Stdio::inherit() })
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
        let lines = reader.zip(child.stdout.take());
        let lines = lines.map(|(read, pipe)| thread::spawn(move || read(pipe)));
        let log = child.stderr.take().map(|pipe| thread::spawn(move || forward(pipe)));
        thread::spawn(move || {
            let status = child.wait().ok();
            drop(lines.map(thread::JoinHandle::join));
            let complaint = log.and_then(|log| log.join().ok()).flatten();
            // Nobody listens any more if the program is about to end.
            let _ = events.send(Event::Ended(Ended { number, status, complaint }));
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
    /// Whether it died, so that what it had not written yet is lost.
    #[must_use]
    pub fn died(&self) -> bool {
        self.status.is_none_or(|status| status.code().is_none())
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
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

    fn start(script: &str, reader: Option<Reader>) -> (Child, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel();
        let start = Start {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            admin: "/nowhere".into(),
        };
        (Child::start(&start, 7, reader, events).unwrap(), received)
    }

    fn ended(events: &mpsc::Receiver<Event>) -> Ended {
        match events.recv_timeout(Duration::from_secs(20)).unwrap() {
            Event::Ended(ended) => ended,
            event @ Event::Signal(_) => panic!("{event:?}"),
        }
    }

    #[test]
    fn an_end_is_told_with_the_last_complaint() {
        let script = "echo '[x][critical] one' >&2; echo '[x][error] two' >&2; echo '[x][critical][backtrace] #0' >&2; echo three >&2; exit 3";
        let (_child, events) = start(script, None);
        let ended = ended(&events);
        assert_eq!(ended.words(), "exit code 3: [x][error] two");
        assert_eq!((ended.number, ended.died()), (7, false));
    }

    #[test]
    fn an_end_is_told_after_all_that_was_written() {
        let (read, lines) = mpsc::channel();
        let reader: Reader = Box::new(move |pipe| {
            // Slower than its end.
            thread::sleep(Duration::from_millis(50));
            let _ = read.send(io::read_to_string(pipe).unwrap());
        });
        let (_child, events) = start("echo one; echo two", Some(reader));
        ended(&events);
        assert_eq!(lines.try_recv().unwrap(), "one\ntwo\n");
    }

    #[test]
    fn signals_arrive() {
        let (child, events) = start("exec sleep 1000", None);
        child.signal(Signal::TERM);
        let ended = ended(&events);
        assert_eq!(ended.words(), "signal 15");
        assert!(ended.died());
        child.signal(Signal::TERM);
    }
}
