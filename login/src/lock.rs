//! One login at a time: of many kubectl processes one asks the person, the others wait and use what it got.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use gateway_files::Readers;
use serde::{Deserialize, Serialize};

use crate::{console::plain, store::Key};

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it for longer than a person may take.
    #[error("another kubectl has been logging in for {} s; finish that login, or end it (lock: {})", waited.as_secs(), path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock file cannot be used.
    #[error("the lock {} cannot be used: {}; --token-store-dir names another folder", path.display(), plain(error))]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The lock of one login. The operating system frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    /// Another process held it when we came.
    pub waited: bool,
}

/// How often to look where the one before us waits for the person.
const LOOK: Duration = Duration::from_millis(200);

/// How long a failure is the answer to the same kubectl, which asks again at once: five times for most commands.
const MOMENT: TimeDelta = TimeDelta::seconds(10);

/// What a process that failed leaves for those that wait, so that they do not ask the person again one after the other, and
/// for those that the same kubectl starts next.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    at: DateTime<Utc>,
    message: String,
    /// The kubectl processes that had this answer.
    #[serde(default)]
    askers: BTreeSet<u32>,
}

/// A login that somebody else tried, and that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// While we waited for it.
    Meanwhile(String),
    /// A moment ago, and the same kubectl was told.
    Before(String),
}

/// The locks of all places where one login may lie: a lock lies beside its entry. Every process takes them in one order.
#[derive(Debug)]
pub struct Locks(Vec<Lock>);

impl Locks {
    /// Takes the lock of `key` in each folder, as [`Lock::take`] does. Where none can be had, as in a read-only home, there is
    /// none, which is told by `unusable`.
    pub fn take<'a>(
        folders: impl IntoIterator<Item = &'a Path>,
        key: &Key,
        patience: Duration,
        on_wait: impl Fn(Option<&str>),
        unusable: impl Fn(&LockError),
    ) -> Result<Self, LockError> {
        let waited = std::cell::Cell::new(false);
        let mut locks = Vec::new();
        for folder in folders {
            let once = |place: Option<&str>| {
                if !waited.replace(true) || place.is_some() {
                    on_wait(place);
                }
            };
            match Lock::take(folder, key, patience, once) {
                Ok(lock) => locks.push(lock),
                Err(error @ LockError::File { .. }) => unusable(&error),
                Err(busy) => return Err(busy),
            }
        }
        Ok(Self(locks))
    }

    /// [`Lock::failure`]
    #[must_use]
    pub fn failure(&self, since: DateTime<Utc>, asker: Option<u32>) -> Option<Failed> {
        self.0.iter().find_map(|lock| lock.failure(since, asker))
    }

    /// Says where the person is to log in, to those that wait.
    pub fn announce(&self, place: &str) {
        self.0.iter().for_each(|lock| lock.announce(place));
    }

    /// [`Lock::leave_failure`]
    pub fn leave_failure(&self, message: &str, asker: Option<u32>) {
        self.0.iter().for_each(|lock| lock.leave_failure(message, asker));
    }
}

impl Lock {
    /// Takes the lock of `key` in `folder`, waiting up to `patience`; `on_wait` is called before waiting, and whenever the one that has
    /// it says where the person is to log in.
    pub fn take(
        folder: &Path,
        key: &Key,
        patience: Duration,
        on_wait: impl Fn(Option<&str>),
    ) -> Result<Self, LockError> {
        let folder = folder.join("locks");
        let path = folder.join(format!("{}.lock", key.digest()));
        let failed = |error| LockError::File { path: path.clone(), error };
        gateway_files::folder(&folder).map_err(failed)?;
        let file = open(&path).or_else(|error| {
            // Of root, from a time with sudo, when nobody else was locked out by it.
            if error.kind() != io::ErrorKind::PermissionDenied {
                return Err(error);
            }
            fs::remove_file(&path)?;
            open(&path)
        });
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => return Ok(Self::taken(file, path, false)),
            Err(TryLockError::WouldBlock) => on_wait(None),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (sender, receiver) = mpsc::channel();
        // A thread that waits without end, since locks have no timeout; it ends with the process.
        thread::spawn(move || {
            let locked = file.lock().map(|()| file);
            let _ = sender.send(locked);
        });
        let deadline = Instant::now() + patience;
        let mut told = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(left.min(LOOK)) {
                Ok(Ok(file)) => return Ok(Self::taken(file, path, true)),
                Ok(Err(error)) => return Err(failed(error)),
                Err(_) if left.is_zero() => return Err(LockError::Busy { path, waited: patience }),
                Err(_) => {}
            }
            let place = fs::read_to_string(announcement(&path)).unwrap_or_default();
            if !place.is_empty() && place != told {
                on_wait(Some(&place));
                told = place;
            }
        }
    }

    fn taken(file: File, path: PathBuf, waited: bool) -> Self {
        // Of one that was killed.
        let _ = fs::remove_file(announcement(&path));
        Self { file, path, waited }
    }

    /// Says where the person is to log in, to those that wait. It stands in a file of its own, since on Windows a locked one cannot be
    /// read.
    fn announce(&self, place: &str) {
        let _ = gateway_files::write(&announcement(&self.path), place.as_bytes(), Readers::Owner);
    }

    /// A login that failed after `since`, that is, while we waited for it, or that `asker`, the process that asks us, knows to
    /// have failed a moment ago.
    #[must_use]
    pub fn failure(&self, since: DateTime<Utc>, asker: Option<u32>) -> Option<Failed> {
        let mut text = String::new();
        (&self.file).rewind().ok()?;
        (&self.file).take(16 * 1024).read_to_string(&mut text).ok()?;
        let mut failure: Failure = serde_json::from_str(&text).ok()?;
        let age = Utc::now() - failure.at;
        if failure.at >= since {
            let message = failure.message.clone();
            failure.askers.extend(asker);
            self.leave(&failure);
            Some(Failed::Meanwhile(message))
        } else if (TimeDelta::zero()..MOMENT).contains(&age)
            && asker.is_some_and(|asker| failure.askers.contains(&asker))
        {
            Some(Failed::Before(failure.message))
        } else {
            None
        }
    }

    /// Leaves a message for those that wait now, and for what `asker` starts next.
    pub fn leave_failure(&self, message: &str, asker: Option<u32>) {
        let askers = asker.into_iter().collect();
        self.leave(&Failure { at: Utc::now(), message: message.to_owned(), askers });
    }

    fn leave(&self, failure: &Failure) {
        let written = (|| {
            self.file.set_len(0)?;
            (&self.file).rewind()?;
            (&self.file).write_all(serde_json::to_string(failure)?.as_bytes())
        })();
        // Without the message the others ask the person once more, which is no harm.
        drop::<io::Result<()>>(written);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(announcement(&self.path));
    }
}

fn announcement(lock: &Path) -> PathBuf {
    lock.with_extension("place")
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_and_learns_of_the_firsts_failure() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new("i", "c", &[]);
        let before = Utc::now();
        let first = Lock::take(folder.path(), &key, Duration::ZERO, |_| panic!("free")).unwrap();
        assert!(!first.waited);
        let (waiting, waits) = mpsc::channel();
        let second = thread::scope(|scope| {
            let second = scope.spawn(|| {
                Lock::take(folder.path(), &key, Duration::from_secs(30), |_| {
                    waiting.send(()).unwrap();
                })
            });
            waits.recv().unwrap();
            first.leave_failure("cancelled", Some(1));
            drop(first);
            second.join().unwrap().unwrap()
        });
        assert!(second.waited);
        let message = || "cancelled".to_owned();
        assert_eq!(second.failure(before, Some(2)), Some(Failed::Meanwhile(message())));
        // Whoever had that answer has it again; a process that comes later has nothing to do with it.
        let later = Utc::now() + TimeDelta::seconds(1);
        for (asker, want) in [
            (Some(1), Some(Failed::Before(message()))),
            (Some(2), Some(Failed::Before(message()))),
            (Some(3), None),
            (None, None),
        ] {
            assert_eq!(second.failure(later, asker), want, "{asker:?}");
        }
        let askers = BTreeSet::from([1]);
        second.leave(&Failure { at: Utc::now() - MOMENT, message: message(), askers });
        assert_eq!(second.failure(later, Some(1)), None, "that was long ago");
        drop(second);
        assert!(!Lock::take(folder.path(), &key, Duration::ZERO, |_| {}).unwrap().waited);
    }

    #[test]
    fn waiting_ends() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new("i", "c", &[]);
        let _held = Lock::take(folder.path(), &key, Duration::ZERO, |_| {}).unwrap();
        let busy = Lock::take(folder.path(), &key, Duration::from_millis(10), |_| {});
        assert!(matches!(busy, Err(LockError::Busy { .. })));
        let other = Key::new("i", "other", &[]);
        assert!(Lock::take(folder.path(), &other, Duration::ZERO, |_| {}).is_ok());
    }
}
