//! Waiting for something that tells nobody when it happens.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    group::POLL,
};

/// Longer than anything takes on a machine that does other things too.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What an attempt may give.
pub trait Attempt {
    /// What is waited for.
    type Answer;

    /// The answer, or why there is none yet.
    ///
    /// # Errors
    /// With that reason.
    fn answer(self) -> Result<Self::Answer, String>;
}

impl<T> Attempt for Result<T, String> {
    type Answer = T;

    fn answer(self) -> Self {
        self
    }
}

impl<T> Attempt for Option<T> {
    type Answer = T;

    fn answer(self) -> Result<T, String> {
        self.ok_or_else(|| "there is nothing".to_owned())
    }
}

/// Asks until there is an answer, for tests.
///
/// # Panics
/// If there is none after [`LIMIT`]; with the reason that was given last.
#[track_caller]
pub fn until<A: Attempt>(what: &str, ask: impl FnMut() -> A) -> A::Answer {
    match within(LIMIT, what, ask) {
        Ok(answer) => answer,
        Err(error) => panic!("{error}"),
    }
}

/// Asks until there is an answer.
///
/// # Errors
/// If there is none after `limit`; with the reason that was given last.
pub fn within<A: Attempt>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> A,
) -> Result<A::Answer> {
    let start = Instant::now();
    loop {
        let reason = match ask().answer() {
            Ok(answer) => return Ok(answer),
            Err(reason) => reason,
        };
        if start.elapsed() > limit {
            return Err(Error::Timeout { what: what.to_owned(), after: limit, reason });
        }
        thread::sleep(POLL);
    }
}
