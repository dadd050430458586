//! Any program of the project as a process: ended with everything it started, also when the process that started it is killed.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    error::{Error, Result},
    process::{Process, READY, Spec},
};

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    process: Process,
    log: PathBuf,
}

impl Program {
    /// Starts a program; its output is appended to `log`.
    pub fn start(
        program: &Path,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let words = arguments.into_iter().map(|word| word.into().to_string_lossy().into_owned());
        let pairs = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let process = Process::start(&Spec {
            name: "the program",
            program: program.to_owned(),
            arguments: words.collect(),
            environment: pairs.collect(),
            folder: None,
            log: log.to_owned(),
        })?;
        Ok(Self { process, log: log.to_owned() })
    }

    /// Waits until `ready` gives a value; the text is the reason why it does not.
    ///
    /// # Errors
    /// If the program ends before, or after two minutes.
    pub fn wait_until<T>(&mut self, ready: impl FnMut() -> Result<T, String>) -> Result<T> {
        self.process.wait_until(READY, ready)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit, || {})
    }

    /// Makes sure that it runs.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        signal(self.process.id(), Signal::TERM)
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// Kills a process by its number, as a crash would.
pub fn kill(process: u32) -> Result<()> {
    signal(process, Signal::KILL)
}

fn signal(process: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::Invalid(format!("no process {process}")))?;
    kill_process(pid, signal)
        .map_err(|error| Error::Invalid(format!("cannot signal process {process}: {error}")))
}
