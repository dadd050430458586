//! What the workers share of one issuer: its last good keys, when the next fetch is due, and who is at it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::KeySetPolicy;

/// Time from the first failure to the next try, while there are no keys.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest time between tries while there are no keys.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The same while old keys serve: nobody waits for the answer.
const FIRST_REFRESH_RETRY: Duration = Duration::from_secs(5);
const LAST_REFRESH_RETRY: Duration = Duration::from_secs(300);
/// The part of a time by which jitter may shorten it.
const SPREAD: f64 = 0.2;

/// Why a fetch is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchReason {
    /// The keys are due for a refresh, or there are none.
    Due,
    /// A token that no key of this version verifies.
    UnknownKey {
        /// The version of the keys that were tried.
        version: u64,
    },
}

/// The shared state of one issuer. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    version: u64,
    lease: Option<Lease>,
    started: Option<u64>,
    due: u64,
    failures: u32,
    error: Option<String>,
    jwks_uri: Option<String>,
    keys: Option<String>,
    fetched: Option<u64>,
    failing: Option<u64>,
    withdrawn: Option<u64>,
}

/// Why a fetch gave no keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub why: String,
    /// Whether the issuer itself says that it has no keys (any more).
    pub withdrawn: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    worker: u64,
    until: u64,
}

impl Record {
    /// The record as bytes for the shared store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Serialising plain data into memory has no way to fail; empty bytes would decode as no record.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The record from the shared store.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Grows with every successful fetch, and when the keys end; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The last good key set, as text.
    #[must_use]
    pub fn keys(&self) -> Option<&str> {
        self.keys.as_deref()
    }

    /// Where the key set is, if discovery has said so and it has not failed since.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        self.jwks_uri.as_deref()
    }

    /// The failure since the last success.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// When the next fetch is due.
    #[must_use]
    pub fn due(&self) -> Duration {
        Duration::from_millis(self.due)
    }

    /// When the last good keys were fetched.
    #[must_use]
    pub fn fetched(&self) -> Option<Duration> {
        self.fetched.map(Duration::from_millis)
    }

    /// Whether a worker is fetching.
    #[must_use]
    pub fn leased(&self, now: Duration) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until > millis(now))
    }

    /// Whether the lease, expired or not, is this worker's.
    #[must_use]
    pub fn leased_by(&self, worker: u64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.worker == worker)
    }

    /// Whether an unknown key may cause a fetch now.
    #[must_use]
    pub fn refetch_allowed(&self, now: Duration, minimum: Duration) -> bool {
        self.started
            .is_none_or(|started| now.saturating_sub(Duration::from_millis(started)) >= minimum)
    }

    /// The record with a lease for `worker`, if a fetch for this reason is in order.
    #[must_use]
    pub fn claim(
        &self,
        why: FetchReason,
        now: Duration,
        worker: u64,
        policy: &KeySetPolicy,
    ) -> Option<Self> {
        let in_order = match why {
            FetchReason::Due => self.due() <= now,
            FetchReason::UnknownKey { version } => {
                self.version <= version && self.refetch_allowed(now, policy.minimum_refetch())
            }
        };
        if !in_order || self.leased(now) {
            return None;
        }
        // A fetch is two callouts at most; the rest is for a worker that is slow to handle the answer.
        let until = now
            .saturating_add(policy.timeout().saturating_mul(2))
            .saturating_add(Duration::from_secs(1));
        Some(Self {
            lease: Some(Lease { worker, until: millis(until) }),
            started: Some(millis(now)),
            ..self.clone()
        })
    }

    /// The record without the lease of a fetch that nobody ends: another may begin at once, for whatever reason.
    #[must_use]
    pub fn released(&self) -> Self {
        Self { lease: None, started: None, ..self.clone() }
    }

    /// The record after a fetch that gave good keys.
    #[must_use]
    pub fn succeeded(
        &self,
        now: Duration,
        jwks_uri: &str,
        keys: &str,
        lifetime: Duration,
        jitter: f64,
    ) -> Self {
        Self {
            version: self.version.saturating_add(1),
            lease: None,
            started: self.started,
            due: millis(now.saturating_add(spread(lifetime, jitter))),
            failures: 0,
            error: None,
            jwks_uri: Some(jwks_uri.to_owned()),
            keys: Some(keys.to_owned()),
            fetched: Some(millis(now)),
            failing: None,
            withdrawn: None,
        }
    }

    /// The record after a fetch that failed: the next try starts from discovery, and the keys stay until `policy` ends them.
    #[must_use]
    pub fn failed(
        &self,
        now: Duration,
        failure: &Failure,
        policy: &KeySetPolicy,
        jitter: f64,
    ) -> Self {
        let failing = self.failing.unwrap_or(millis(now));
        let withdrawn = self.withdrawn.or(failure.withdrawn.then_some(millis(now)));
        // Keys that the issuer took back do not end in an outage that follows: it may have them again by then.
        let withdrawal = withdrawn.filter(|_| failure.withdrawn);
        let ends = [
            end(Some(failing), policy.maximum_outage_seconds, "keySets.maximumOutageSeconds"),
            end(withdrawal, policy.maximum_withdrawn_seconds, "keySets.maximumWithdrawnSeconds"),
        ];
        let ends = ends.into_iter().flatten();
        let failed = Self {
            lease: None,
            failures: self.failures.saturating_add(1),
            error: Some(failure.why.clone()),
            jwks_uri: None,
            failing: Some(failing),
            withdrawn,
            ..self.clone()
        };
        let wait = |first: Duration, last: Duration| {
            let wait = first.saturating_mul(1 << self.failures.min(16)).min(last);
            millis(now.saturating_add(spread(wait, jitter)))
        };
        if self.keys.is_none() {
            return Self { due: wait(FIRST_RETRY, LAST_RETRY), ..failed };
        }
        let over = ends.clone().find(|(end, _)| *end <= millis(now));
        if let Some((_, bound)) = over {
            return Self {
                version: self.version.saturating_add(1),
                keys: None,
                due: wait(FIRST_RETRY, LAST_RETRY),
                error: Some(format!("{}; the last keys ended by {bound}", failure.why)),
                ..failed
            };
        }
        // The fetch that ends the keys, or saves them, is not late.
        let due = wait(FIRST_REFRESH_RETRY, LAST_REFRESH_RETRY);
        Self { due: ends.map(|(end, _)| end).fold(due, u64::min), ..failed }
    }
}

/// When keys end that have been bad since then, and by which bound; never, if that is 0.
fn end(since: Option<u64>, seconds: u32, bound: &'static str) -> Option<(u64, &'static str)> {
    let bounded = since.filter(|_| seconds > 0)?;
    Some((bounded.saturating_add(u64::from(seconds).saturating_mul(1000)), bound))
}

fn spread(time: Duration, jitter: f64) -> Duration {
    time.mul_f64(1.0 - SPREAD * jitter.clamp(0.0, 1.0))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
