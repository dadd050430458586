//! A component of the sandbox as a child process: started with its output in a log file, watched while others wait for
//! it, stopped with everything it started, when the handle is dropped or this process is gone. For the sandbox's own parts
//! and for other servers that a test needs.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Context, Error, Result},
    group::{Group, POLL},
};

/// How long a component may take to be ready. Far more than it takes on a machine that does other things too.
pub(crate) const READY: Duration = Duration::from_secs(120);

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// How messages call it.
    pub name: &'static str,
    /// The program's file.
    pub program: PathBuf,
    /// Its command line.
    pub arguments: Vec<String>,
    /// Variables beside this process's own.
    pub environment: Vec<(String, String)>,
    /// Its working folder, if not this process's.
    pub folder: Option<PathBuf>,
    /// Standard output and standard error, appended.
    pub log: PathBuf,
}

/// A running component. Dropping it kills it and everything it started.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    log: PathBuf,
    group: Group,
}

impl Process {
    /// Starts it; its standard input is closed.
    pub fn start(spec: &Spec) -> Result<Self> {
        let open = || {
            let out = File::options().create(true).append(true).open(&spec.log)?;
            Ok((out.try_clone()?, out))
        };
        let (out, err) = open().context(|| format!("open {}", spec.log.display()))?;
        let mut group = Group::spawn(&spec.program, &spec.arguments, |command| {
            command
                .envs(spec.environment.iter().map(|(k, v)| (k, v)))
                .stdout(Stdio::from(out))
                .stderr(Stdio::from(err));
            if let Some(folder) = &spec.folder {
                command.current_dir(folder);
            }
        })?;
        drop(group.stdin());
        Ok(Self { name: spec.name, log: spec.log.clone(), group })
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// If the process ends before, or `limit` passes; then with the reason `ready` gave last.
    pub fn wait_until<T>(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut() -> Result<T, String>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            let reason = match ready() {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            };
            self.check()?;
            if start.elapsed() > limit {
                let what = format!("{} to be ready", self.name);
                return Err(Error::Timeout { what, after: limit, reason });
            }
            thread::sleep(POLL);
        }
    }

    /// Makes sure that it runs.
    ///
    /// # Errors
    /// With the last line of its log if it ended.
    pub fn check(&mut self) -> Result<()> {
        match self.group.ended()? {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                name: self.name.to_owned(),
                status: describe(status),
                last_line: last_line(&self.log),
                log: self.log.clone(),
            }),
        }
    }

    /// Waits for its end, calling `each` on the way.
    pub fn wait(&mut self, limit: Duration, mut each: impl FnMut()) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.group.ended()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                let what = format!("{} to end", self.name);
                return Err(Error::Timeout { what, after: limit, reason: last_line(&self.log) });
            }
            each();
            thread::sleep(POLL);
        }
    }

    /// Kills it, with everything it started.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.group.kill()
    }
}

/// An exit status in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}

/// The last line of a log that says anything.
pub(crate) fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("no output").trim().to_owned()
}

/// A thread that panicked while it held a process has left it as it was.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Spec {
        Spec {
            name: "shell",
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("FOLDER".to_owned(), folder.display().to_string())],
            folder: None,
            log: folder.join("log"),
        }
    }

    fn alive(pid: &str) -> bool {
        // A zombie still has its folder, but no memory map.
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    #[test]
    fn killing_ends_what_the_process_started() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 1000 & echo $! >$FOLDER/tmp; mv $FOLDER/tmp $FOLDER/pid; wait";
        let mut process = Process::start(&shell(folder.path(), script)).unwrap();
        let pid = process
            .wait_until(Duration::from_secs(10), || {
                fs::read_to_string(folder.path().join("pid")).map_err(|e| e.to_string())
            })
            .unwrap();
        assert!(alive(pid.trim()));
        process.kill().unwrap();
        // The signal has been sent to all of them; the child of the child is not ours to wait for.
        let deadline = Instant::now() + Duration::from_secs(10);
        while alive(pid.trim()) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(!alive(pid.trim()));
    }

    #[test]
    fn a_process_that_ends_early_is_told_with_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start(&shell(folder.path(), "echo one; echo two >&2; exit 3")).unwrap();
        let error = process
            .wait_until(Duration::from_secs(10), || Err::<(), _>("not ready".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("shell ended (exit code 3): two; its log is /"), "{error}");
    }

    #[test]
    fn waiting_has_an_end_and_says_what_was_seen_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(&shell(folder.path(), "exec sleep 1000")).unwrap();
        let error = process
            .wait_until(Duration::from_millis(20), || Err::<(), _>("port closed".to_owned()))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "waited 0 s for shell to be ready: port closed");
    }
}
