//! One sandbox to a folder: a lock that its process holds as long as it lives, and a file that says when it is ready.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use gateway_files::Readers;
use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Error, Result};

use super::POLL;

const LOCK: &str = "lock";
const READY: &str = "ready";

/// How long a sandbox may take to end.
const LIMIT: Duration = Duration::from_secs(30);

/// The folder of the sandbox that this process is.
pub struct State {
    folder: PathBuf,
    /// Held as long as this process lives, and by nobody it starts.
    _lock: File,
}

impl State {
    /// Makes the folder, readable by its owner only: there are keys in it.
    pub fn prepare(folder: &Path) -> Result<PathBuf> {
        let make = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            folder.canonicalize()
        };
        make().map_err(failed("make", folder))
    }

    /// Takes the folder for this process and removes what an earlier sandbox left in it.
    ///
    /// # Errors
    /// If another sandbox runs in it.
    pub fn claim(folder: &Path) -> Result<Self> {
        let folder = Self::prepare(folder)?;
        let path = folder.join(LOCK);
        let open = File::options().create(true).append(true).open(&path);
        let mut lock = open.map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let id = fs::read_to_string(&path).unwrap_or_default();
                return Err(Error::Invalid(format!(
                    "a sandbox runs in {} already, process {}; `sandbox down` ends it",
                    folder.display(),
                    id.trim()
                )));
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        let mut renew = || {
            remove(fs::remove_file(folder.join(READY)))?;
            for part in ["cluster", "gateway"] {
                remove(fs::remove_dir_all(folder.join(part)))?;
            }
            lock.set_len(0)?;
            writeln!(lock, "{}", std::process::id())
        };
        renew().map_err(failed("renew", &folder))?;
        Ok(Self { folder, _lock: lock })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says that the sandbox is ready, and how to use it.
    pub fn ready(&self, told: &str) -> Result<()> {
        let path = self.folder.join(READY);
        let text = format!("{}\n{told}", std::process::id());
        gateway_files::write(&path, text.as_bytes(), Readers::ByUmask)
            .map_err(failed("write", &path))
    }
}

/// How to use the sandbox that process `id` is, if it is ready.
pub fn told(folder: &Path, id: u32) -> Option<String> {
    let text = fs::read_to_string(folder.join(READY)).ok()?;
    let (first, told) = text.split_once('\n')?;
    (first == id.to_string()).then(|| told.to_owned())
}

/// Ends the sandbox of a folder; the number of the process that it was, or `None` if there was none.
pub fn stop(folder: &Path) -> Result<Option<u32>> {
    let path = folder.join(LOCK);
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", &path)(error)),
    };
    if lock.try_lock().is_ok() {
        return Ok(None);
    }
    // The lock is held, so the process that wrote its number lives.
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    let id: i32 = text
        .trim()
        .parse()
        .map_err(|_| Error::Invalid(format!("{} holds no process's number", path.display())))?;
    let pid = Pid::from_raw(id).filter(|_| id > 1);
    let pid = pid.ok_or_else(|| Error::Invalid(format!("{id} is no process of a sandbox")))?;
    kill_process(pid, Signal::TERM).map_err(|e| failed("end the process of", folder)(e.into()))?;
    let start = Instant::now();
    while lock.try_lock().is_err() {
        if start.elapsed() > LIMIT {
            let (what, reason) = (format!("process {id} to end"), "it runs".to_owned());
            return Err(Error::Timeout { what, after: LIMIT, reason });
        }
        thread::sleep(POLL);
    }
    Ok(id.try_into().ok())
}

fn remove(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn failed<'a>(action: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io { action: format!("{action} {}", path.display()), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_sandbox_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::claim(folder.path()).unwrap();
        let refused = State::claim(folder.path()).map(drop).unwrap_err().to_string();
        let id = std::process::id();
        assert!(refused.contains(&format!("already, process {id}; `sandbox down`")), "{refused}");
        drop(first);
        State::claim(folder.path()).unwrap();
        assert_eq!(stop(folder.path()).unwrap(), None);
    }

    #[test]
    fn readiness_is_that_of_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::claim(folder.path()).unwrap();
        let id = std::process::id();
        assert_eq!(told(folder.path(), id), None);
        state.ready("use it").unwrap();
        assert_eq!(told(folder.path(), id).as_deref(), Some("use it"));
        assert_eq!(told(folder.path(), id + 1), None);
        drop(state);
        State::claim(folder.path()).unwrap();
        assert_eq!(told(folder.path(), id), None, "an earlier sandbox's readiness is not ours");
    }
}
