//! What can go wrong, each in one line that says what to do about it or where to look.

use std::{io, path::PathBuf, time::Duration};

/// A failure of the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that must be installed by hand is not there.
    #[error("{program} is missing: {hint}")]
    Missing {
        /// Its name, as one would type it.
        program: String,
        /// How to get it.
        hint: String,
    },
    /// A build or download of one of the sandbox's programs failed.
    #[error("cannot build {name}: {reason}; the whole output is in {}", log.display())]
    Build {
        /// The program.
        name: String,
        /// The last line of the tool's output, mostly.
        reason: String,
        /// Everything the tool said.
        log: PathBuf,
    },
    /// A component ended although it should run.
    #[error("{name} ended ({status}): {last_line}; its log is {}", log.display())]
    Ended {
        /// The component.
        name: String,
        /// Exit status or signal.
        status: String,
        /// The last line of its log.
        last_line: String,
        /// Its log.
        log: PathBuf,
    },
    /// A component does not take a configuration.
    #[error("{name} refuses its configuration: {reason}; its log is {}", log.display())]
    Refused {
        /// The component.
        name: &'static str,
        /// What it said first.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// Something that was waited for did not happen.
    #[error("waited {} s for {what}: {reason}", after.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// What was seen last.
        reason: String,
    },
    /// A file or process operation failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// Completes the sentence "cannot …".
        action: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A server answered with an error, or not at all.
    #[error("{method} {url}: {reason}")]
    Http {
        /// The request's method.
        method: &'static str,
        /// The request's URL.
        url: String,
        /// Status and body, or why there is none.
        reason: String,
    },
    /// A command of the sandbox itself failed.
    #[error("{command} failed ({status}): {stderr}")]
    Command {
        /// Its command line.
        command: String,
        /// Exit status or signal.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// An answer is not what its protocol says.
    #[error("cannot understand {what}: {source}")]
    Json {
        /// Whose answer.
        what: String,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A file of the sandbox's own, or what a caller gave, is not usable.
    #[error("{0}")]
    Invalid(String),
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds what was being done to an I/O error.
pub(crate) trait Context<T> {
    /// The action completes the sentence "cannot …".
    fn context(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { action: action(), source })
    }
}
