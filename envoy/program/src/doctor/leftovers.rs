//! What must not outlive the command. A signal that ends it runs no destructor: the Envoy would go on, and the gateway's credential would stay
//! in a folder. So a thread waits for such signals, and clears up before it lets them have their way.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// Clears up when a signal ends the program.
pub(super) struct Leftovers(Arc<Mutex<Left>>);

struct Left {
    folder: PathBuf,
    child: Option<Pid>,
}

impl Leftovers {
    /// Begins to wait, with a folder to remove.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let left = Left { folder: folder.to_owned(), child: None };
        let left = Arc::new(Mutex::new(left));
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let shared = Arc::clone(&left);
        thread::spawn(move || {
            for signal in signals.forever() {
                // Held until the end, so that nothing is begun that nobody would end.
                let left = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(child) = left.child {
                    let _ = kill_process(child, Signal::KILL);
                }
                let _ = fs::remove_dir_all(&left.folder);
                let _ = emulate_default_handler(signal);
            }
        });
        Ok(Self(left))
    }

    /// Starts a child by `start`, and has it killed by such a signal.
    pub fn child<T>(&self, start: impl FnOnce() -> Result<(Pid, T), String>) -> Result<T, String> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (child, started) = start()?;
        left.child = Some(child);
        Ok(started)
    }

    /// Waits for the child by `wait`, after which its number may be another's. Nothing has changed if it says nothing.
    pub fn waited<T>(&self, wait: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = wait();
        if status.is_some() {
            left.child = None;
        }
        status
    }
}
