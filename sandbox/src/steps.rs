//! Tells on standard error what a start does, and how long each part took.

use std::time::{Duration, Instant};

use crate::error::Result;

/// Where the steps of a start are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steps {
    /// Nowhere: for tests.
    #[default]
    Quiet,
    /// A line for each on standard error.
    Told,
}

impl Steps {
    /// Does one step.
    pub(crate) fn step<T>(self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = work();
        if self == Self::Told && result.is_ok() {
            eprintln!("{:>7.2} s  {what}", seconds(start.elapsed()));
        }
        result
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
