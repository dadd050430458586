//! Tells on standard error what a long step does and how far it is.

use std::{
    cell::{Cell, RefCell},
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

/// How often a line is renewed on a terminal, and repeated in a log.
const ON_TERMINAL: Duration = Duration::from_secs(1);
const IN_LOG: Duration = Duration::from_secs(20);

/// Lines of progress, `[step/steps] what: how far, seconds`.
#[derive(Debug, Default)]
pub struct Progress {
    quiet: bool,
    prefix: RefCell<String>,
    last: Cell<Option<Instant>>,
}

impl Progress {
    /// Tells on standard error.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells nothing.
    #[must_use]
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// What follows belongs to step `index` (from 1) of `count`.
    pub(super) fn step(&self, index: usize, count: usize) {
        *self.prefix.borrow_mut() = format!("[{index}/{count}] ");
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        if !self.quiet {
            let clear = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
            let _ = writeln!(stderr(), "{clear}{}{text}", self.prefix.borrow());
            self.last.set(Some(Instant::now()));
        }
    }

    /// A line that the next one replaces, if it is time for one.
    pub(super) fn update(&self, text: impl FnOnce() -> String) {
        let terminal = stderr().is_terminal();
        let interval = if terminal { ON_TERMINAL } else { IN_LOG };
        let due = self.last.get().is_none_or(|last| last.elapsed() >= interval);
        if self.quiet || !due {
            return;
        }
        if terminal {
            let _ = write!(stderr(), "\r\x1b[K{}{}", self.prefix.borrow(), text());
            let _ = stderr().flush();
            self.last.set(Some(Instant::now()));
        } else {
            self.line(&text());
        }
    }
}
