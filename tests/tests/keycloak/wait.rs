//! Waiting for what tells nobody when it happens.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than anything here takes on a machine that does other things too.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Asks until there is an answer.
///
/// # Panics
/// If there is none after [`LIMIT`].
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "never happened: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
