//! A child process with everything it starts: one process group, ended as one.

use std::{
    ffi::OsStr,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    error::{Context, Error, Result},
    watchdog,
};

/// How often a process is looked at while something waits for it.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Waits for a line, then becomes the command it was given, with as many open files as the system allows: a gateway in
/// front of thousands of watches needs two for each.
const LAUNCH: &str = r#"read -r go || exit 1
ulimit -n "$(ulimit -Hn)"
exec "$@""#;

/// A child process that leads a group. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts a program; `prepare` sets its output, environment and folder. It has a pipe as standard input.
    ///
    /// It does not run before the watchdog knows its group, so there is no moment at which it can be left behind.
    pub fn spawn(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let action = || format!("start {}", program.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", LAUNCH, "sandbox"]).arg(program).args(arguments);
        prepare(&mut command);
        command.stdin(Stdio::piped()).process_group(0);
        let child = command.spawn().context(action)?;
        let mut group = Self { child, ended: None };
        watchdog::kill_at_end(group.id())?;
        let stdin = group.child.stdin.as_mut();
        let stdin = stdin.ok_or_else(|| Error::Invalid(format!("cannot {}", action())))?;
        writeln!(stdin, "go").context(action)?;
        Ok(group)
    }

    /// The number of the process and of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output and error, once, if they are pipes.
    pub fn output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Its exit status, if it ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context(|| "wait for a process".to_owned())?;
            if self.ended.is_some() {
                // What it left in its group has no reason to live on.
                self.signal(Signal::KILL);
                watchdog::forget(self.id());
            }
        }
        Ok(self.ended)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// With `limit` passed.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                let what = "a process to end".to_owned();
                let reason = format!("process {} runs", self.id());
                return Err(Error::Timeout { what, after: limit, reason });
            }
            thread::sleep(POLL);
        }
    }

    /// Kills it, with everything it started.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::KILL);
        let status = self.child.wait().context(|| "wait for a process".to_owned())?;
        self.ended = Some(status);
        watchdog::forget(self.id());
        Ok(status)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // The only error is that nobody is left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
