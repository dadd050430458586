//! The life of the portal's Envoy: started with the keys in its environment, ended without cutting an answer off.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gateway_control::Admin;
use gateway_core::portal::keys::VARIABLE;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::run::{BackOff, DRAIN, END, say};

const POLL: Duration = Duration::from_millis(50);
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long an Envoy may take to serve.
const SERVES: Duration = Duration::from_mins(1);

/// Why the portal does not run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Envoy cannot be started.
    #[error("cannot run {envoy:?}: {source}")]
    NoEnvoy {
        /// The program.
        envoy: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Envoy ended before it ever served.
    #[error("Envoy ended: {0}")]
    Ended(ExitStatus),
    /// Envoy was started and does not come to serve.
    #[error("Envoy does not serve within {} s", SERVES.as_secs())]
    Late,
    /// The system does not tell of signals or children.
    #[error("cannot wait for Envoy: {0}")]
    Wait(#[from] io::Error),
}

/// An Envoy to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its command line.
    pub arguments: Vec<OsString>,
    /// The keys: its environment holds them and nothing else, and is readable by this user alone.
    pub keys: String,
    /// The folder of its own files and sockets; taken away when it has ended, unless it is the first one's.
    pub directory: PathBuf,
}

/// Runs Envoy until a signal says to end; then waits at most `grace` for open connections.
///
/// `renewed` is asked every second for an Envoy to take the running one's place. Both listen on the same port until the new
/// one serves; then the old one ends as at the end. One that does not come to serve leaves the old one. An Envoy that ends by
/// itself after it has served is started anew.
pub fn run(
    envoy: &Path,
    start: &Start,
    mut renewed: impl FnMut() -> Option<Start>,
    grace: Duration,
) -> Result<(), RunError> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let hurry = Arc::new(AtomicBool::new(false));
    let mut leaving: Vec<JoinHandle<()>> = Vec::new();
    let mut running = Running::start(envoy, start)?;
    let mut asked = Instant::now();
    let (mut served, mut back_off) = (false, BackOff::default());
    loop {
        if !served && running.admin().ready().is_ok() {
            served = true;
            say("the portal serves");
        }
        if signals.pending().next().is_some() {
            break;
        }
        if let Some(status) = running.child.try_wait()? {
            if !served {
                return Err(RunError::Ended(status));
            }
            say(format_args!("Envoy ended ({status}); it is started anew"));
            let wait = Instant::now() + back_off.next(running.since.elapsed());
            while Instant::now() < wait {
                if signals.pending().next().is_some() {
                    return Ok(());
                }
                thread::sleep(POLL);
            }
            running = Running::start(envoy, &running.start)?;
        }
        if asked.elapsed() >= LOOK {
            asked = Instant::now();
            if let Some(start) = renewed() {
                match Running::start(envoy, &start).and_then(Running::serving) {
                    Ok(new) => {
                        let mut old = std::mem::replace(&mut running, new);
                        let (hurry, own) = (Arc::clone(&hurry), leaving.is_empty());
                        leaving.push(thread::spawn(move || {
                            // It has ended one way or the other.
                            let _ = old.leave(grace, || hurry.load(Ordering::Relaxed));
                            let _ = (!own).then(|| fs::remove_dir_all(&old.start.directory));
                        }));
                        say("what has changed is live");
                    }
                    Err(error) => say(format_args!("{error}; the old keys and files go on")),
                }
            }
        }
        thread::sleep(POLL);
    }
    // A second signal makes it short.
    let result = running.leave(grace, || {
        let again = signals.pending().next().is_some();
        hurry.fetch_or(again, Ordering::Relaxed) || again
    });
    hurry.store(true, Ordering::Relaxed);
    for thread in leaving {
        let _ = thread.join();
    }
    result
}

/// A running Envoy.
struct Running {
    child: Child,
    start: Start,
    since: Instant,
}

impl Running {
    fn start(envoy: &Path, start: &Start) -> Result<Self, RunError> {
        let child = Command::new(envoy)
            .args(&start.arguments)
            .env_clear()
            .env(VARIABLE, &start.keys)
            .stdin(Stdio::null())
            .spawn()
            .map_err(|source| RunError::NoEnvoy { envoy: envoy.to_owned(), source })?;
        Ok(Self { child, start: start.clone(), since: Instant::now() })
    }

    fn admin(&self) -> Admin {
        Admin::new(&self.start.directory.join("admin.sock"))
    }

    /// Waits until it serves.
    fn serving(mut self) -> Result<Self, RunError> {
        let until = Instant::now() + SERVES;
        while self.admin().ready().is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(RunError::Ended(status));
            }
            if Instant::now() >= until {
                end(&mut self.child)?;
                return Err(RunError::Late);
            }
            thread::sleep(POLL);
        }
        Ok(self)
    }

    /// Ends it when nobody is connected any more, at the latest after `grace`.
    fn leave(&mut self, grace: Duration, mut hurry: impl FnMut() -> bool) -> Result<(), RunError> {
        let admin = self.admin();
        for path in DRAIN {
            // Without an answer there is nothing to drain.
            let _ = admin.post(path);
        }
        let until = Instant::now() + grace;
        while Instant::now() < until
            && admin.numbers().is_ok_and(|numbers| numbers.connections > 0)
            && !hurry()
        {
            thread::sleep(POLL);
        }
        end(&mut self.child)
    }
}

fn end(child: &mut Child) -> Result<(), RunError> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The only error is that it has ended.
        let _ = kill_process(pid, Signal::TERM);
    }
    let until = Instant::now() + END;
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
        }
        thread::sleep(POLL);
    }
    Ok(())
}
