//! How many requests each endpoint got, with a way to wait for the next ones.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::endpoint::Endpoint;

/// Counts of one issuer.
#[derive(Default)]
pub(crate) struct Requests {
    counts: Mutex<BTreeMap<Endpoint, u64>>,
    more: Condvar,
}

impl Requests {
    /// Counts a request before it is answered.
    pub(crate) fn count(&self, endpoint: Endpoint) {
        *self.lock().entry(endpoint).or_default() += 1;
        self.more.notify_all();
    }

    pub(crate) fn of(&self, endpoint: Endpoint) -> u64 {
        self.lock().get(&endpoint).copied().unwrap_or_default()
    }

    /// All counts, zeros included.
    pub(crate) fn all(&self) -> BTreeMap<Endpoint, u64> {
        let counts = self.lock();
        let of = |endpoint| (endpoint, counts.get(&endpoint).copied().unwrap_or_default());
        Endpoint::ALL.into_iter().map(of).collect()
    }

    pub(crate) fn reset(&self) {
        self.lock().clear();
    }

    /// Waits until `endpoint` has had `count` requests; whether it had them in time.
    pub(crate) fn wait_for(&self, endpoint: Endpoint, count: u64, at_most: Duration) -> bool {
        let enough = |counts: &mut BTreeMap<Endpoint, u64>| {
            counts.get(&endpoint).copied().unwrap_or_default() >= count
        };
        let waited = self.more.wait_timeout_while(self.lock(), at_most, |counts| !enough(counts));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Endpoint, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Instant};

    use super::*;

    #[test]
    fn waiting_ends_with_the_request() {
        const ROUNDS: u16 = 200;
        let requests = Requests::default();
        let (next, turns) = mpsc::channel();
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                for count in 1..=ROUNDS {
                    next.send(()).unwrap();
                    assert!(requests.wait_for(
                        Endpoint::Jwks,
                        count.into(),
                        Duration::from_secs(60)
                    ));
                }
            });
            // Sometimes the request comes before the other thread waits, sometimes while it does.
            for () in turns.iter().take(ROUNDS.into()) {
                thread::yield_now();
                requests.count(Endpoint::Jwks);
            }
        });
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(!requests.wait_for(Endpoint::Token, 1, Duration::from_millis(1)));
    }
}
