//! How many steps one caller may try: each reads the object, one after the other, and what is refused is a line of the log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Steps a second, and at once: a person at a page needs fewer.
const PER_SECOND: u32 = 1;
const BURST: u32 = 30;
/// Callers that are remembered. Those for whom there is no room share what one has.
const MOST: usize = 4096;

/// A bucket for each caller, by issuer and subject.
#[derive(Default)]
pub(super) struct Rate(Mutex<HashMap<(String, String), Bucket>>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    /// Whether a caller may try one more.
    pub fn take(&self, issuer: &str, subject: &str) -> bool {
        self.take_at(issuer, subject, Instant::now())
    }

    fn take_at(&self, issuer: &str, subject: &str, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of = (issuer.to_owned(), subject.to_owned());
        if buckets.len() >= MOST && !buckets.contains_key(&of) {
            let full = Duration::from_secs((BURST / PER_SECOND).into());
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < full);
            if buckets.len() >= MOST {
                of = (String::new(), String::new());
            }
        }
        let bucket =
            buckets.entry(of).or_insert_with(|| Bucket { left: f64::from(BURST), at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * f64::from(PER_SECOND)).min(f64::from(BURST));
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_some_steps_at_once_and_then_one_a_second() {
        let (rate, start) = (Rate::default(), Instant::now());
        let taken =
            |subject: &str, at| (0..100).filter(|_| rate.take_at("https://i", subject, at)).count();
        assert_eq!((taken("a", start), taken("b", start)), (30, 30));
        // A namesake of another issuer is somebody else.
        assert!(rate.take_at("https://other", "a", start));
        assert_eq!(taken("a", start + Duration::from_secs(3)), 3);
    }

    #[test]
    fn many_callers_take_a_bounded_room() {
        let (rate, start) = (Rate::default(), Instant::now());
        let take = |n: u32, at| rate.take_at("https://i", &n.to_string(), at);
        let taken = (0..10_000).filter(|n| take(*n, start)).count();
        let room = || rate.0.lock().unwrap().len();
        assert_eq!((taken, room()), (MOST + 30, MOST + 1));
        assert!(take(1, start));
        assert!(take(9_999, start + Duration::from_secs(31)));
        assert!(room() < 10);
    }
}
