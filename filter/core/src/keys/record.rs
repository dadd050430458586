//! What the workers share of one issuer: its last good keys, when the next fetch is due, and who is at it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    callout::{Cause, Fault},
    config::KeySetPolicy,
};

/// Time from the first failure to the next try, while there are no keys.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest time between tries while there are no keys.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The same while old keys serve: nobody waits for the answer.
const FIRST_REFRESH_RETRY: Duration = Duration::from_secs(5);
const LAST_REFRESH_RETRY: Duration = Duration::from_secs(300);
/// How long a fetch is its worker's without a sign of life: what a worker that died costs. Longer than a busy worker's tick.
const LEASE: Duration = Duration::from_secs(10);
/// A lease that lasts no longer than that is renewed.
const RENEWED: Duration = Duration::from_secs(5);
/// How long the keys of a set that has been replaced serve at most, however long it was to be fresh: for a rotation that ends a
/// stolen key.
const REPLACED: Duration = Duration::from_secs(300);
/// How many sets that have been replaced are kept.
const MOST_REPLACED: usize = 3;
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
    cause: Option<String>,
    causes: Vec<String>,
    jwks_uri: Option<String>,
    keys: Option<String>,
    fetched: Option<u64>,
    fresh_until: u64,
    replaced: Vec<Replaced>,
    alternates: bool,
    failing: Option<u64>,
    withdrawn: Option<u64>,
}

/// A key set that another one has replaced before its own time was over: its keys are good until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    keys: String,
    until: u64,
}

impl Replaced {
    /// As text.
    #[must_use]
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// When it ends.
    #[must_use]
    pub fn until(&self) -> Duration {
        Duration::from_millis(self.until)
    }
}

/// A fetch that gave keys.
#[derive(Debug, Clone, Copy)]
pub struct Fetched<'a> {
    /// Where the key set is.
    pub jwks_uri: &'a str,
    /// The key set, as text.
    pub keys: &'a str,
    /// For how long it is fresh.
    pub lifetime: Duration,
}

/// Why a fetch gave no keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which of the documents it was about.
    pub stage: &'static str,
    /// What went wrong.
    pub fault: Fault,
    /// Whether the issuer itself says that it has no keys (any more).
    pub withdrawn: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.fault)
    }
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

    /// The sets that have been replaced and are still fresh.
    pub fn replaced(&self, now: Duration) -> impl Iterator<Item = &Replaced> {
        self.replaced.iter().filter(move |set| set.until > millis(now))
    }

    /// Whether a set that had been replaced came back: the issuer publishes different ones.
    #[must_use]
    pub fn alternates(&self) -> bool {
        self.alternates
    }

    /// The failure since the last success.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What that failure was.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause.as_deref().and_then(Cause::of_keyword)
    }

    /// What failures have been since the proxy started, this one's cause among them.
    pub fn causes(&self) -> impl Iterator<Item = Cause> {
        self.causes.iter().filter_map(|cause| Cause::of_keyword(cause))
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
        Some(Self { lease: Some(lease(worker, now)), started: Some(millis(now)), ..self.clone() })
    }

    /// Whether the lease is this worker's, and half over.
    #[must_use]
    pub fn must_renew(&self, worker: u64, now: Duration) -> bool {
        let soon = millis(now.saturating_add(RENEWED));
        self.lease.as_ref().is_some_and(|lease| lease.worker == worker && lease.until <= soon)
    }

    /// The record with a lease that begins anew: its worker lives, and waits for an answer.
    #[must_use]
    pub fn renewed(&self, worker: u64, now: Duration) -> Self {
        Self { lease: Some(lease(worker, now)), ..self.clone() }
    }

    /// The record without the lease of a fetch that nobody ends: another may begin at once, for whatever reason.
    #[must_use]
    pub fn released(&self) -> Self {
        Self { lease: None, started: None, ..self.clone() }
    }

    /// The record after a fetch that gave good keys. `is_within` says whether all keys of a text are those of the new one, too.
    ///
    /// A set that was still fresh goes on beside the new one, for what is left of its time: replicas of an issuer may publish
    /// different sets (go-oidc#175). So that both are seen again before they end, the next fetch is due in half of that time.
    #[must_use]
    pub fn succeeded(
        &self,
        now: Duration,
        fetched: Fetched<'_>,
        is_within: impl Fn(&str) -> bool,
        policy: &KeySetPolicy,
        jitter: f64,
    ) -> Self {
        let Fetched { jwks_uri, keys, lifetime } = fetched;
        let until = self.fresh_until.min(millis(now.saturating_add(REPLACED)));
        let last = self.keys.iter().map(|keys| Replaced { keys: keys.clone(), until });
        let is_back = self.replaced(now).any(|set| is_within(&set.keys));
        let replaced: Vec<_> = self
            .replaced
            .iter()
            .cloned()
            .chain(last)
            .filter(|set| set.until > millis(now) && !is_within(&set.keys))
            .collect();
        let many = replaced.len().saturating_sub(MOST_REPLACED);
        let replaced: Vec<_> = replaced.into_iter().skip(many).collect();
        let due = spread(lifetime, jitter);
        let due = match replaced.iter().map(Replaced::until).min() {
            Some(end) => {
                due.min(end.saturating_sub(now).mul_f64(0.5).max(policy.minimum_refetch()))
            }
            None => due,
        };
        Self {
            version: self.version.saturating_add(1),
            lease: None,
            started: self.started,
            due: millis(now.saturating_add(due)),
            fresh_until: millis(now.saturating_add(lifetime)),
            alternates: !replaced.is_empty() && (is_back || self.alternates),
            replaced,
            failures: 0,
            error: None,
            cause: None,
            causes: self.causes.clone(),
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
        let cause = failure.fault.cause.keyword();
        let mut causes = self.causes.clone();
        if !causes.iter().any(|known| known == cause) {
            causes.push(cause.to_owned());
        }
        let failed = Self {
            lease: None,
            failures: self.failures.saturating_add(1),
            error: Some(failure.to_string()),
            cause: Some(cause.to_owned()),
            causes,
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
                replaced: Vec::new(),
                due: wait(FIRST_RETRY, LAST_RETRY),
                error: Some(format!("{failure}; the last keys ended by {bound}")),
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

fn lease(worker: u64, now: Duration) -> Lease {
    Lease { worker, until: millis(now.saturating_add(LEASE)) }
}

fn spread(time: Duration, jitter: f64) -> Duration {
    time.mul_f64(1.0 - SPREAD * jitter.clamp(0.0, 1.0))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
