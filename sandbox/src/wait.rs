//! Waiting for something that tells nobody when it happens.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    group::POLL,
};

/// Asks until there is an answer.
///
/// # Errors
/// If there is none after `limit`; with the reason that was given last.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let reason = match ask() {
            Ok(answer) => return Ok(answer),
            Err(reason) => reason,
        };
        if start.elapsed() > limit {
            return Err(Error::Timeout { what: what.to_owned(), after: limit, reason });
        }
        thread::sleep(POLL);
    }
}
