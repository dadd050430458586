//! Each issuer's keys: when they are fetched, by which worker, and what holds when that fails.
//!
//! All workers of a proxy share one [`Record`] for each issuer, changed by compare-and-swap only. The record says who
//! is fetching (a lease), when the next fetch is due and what the last good keys were; a worker keeps a parsed copy.
//! So any number of workers and waiting requests make one fetch, a worker that dies loses nothing but its lease, and
//! the keys outlive both a restarted worker and an issuer that cannot be reached. An issuer that answers that it has none
//! loses them after a while.

mod freshness;
mod record;
mod sets;
mod shared;
mod unknown;

pub use record::{Failure, FetchReason, Fetched, Record, Replaced};
pub use shared::{CasConflict, SharedStore, TRIES};

use std::{rc::Rc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use kube_authn::{
    Rules,
    config::JwtAuthenticator,
    discovery::{self, DiscoveryError, Endpoint},
    jwks::KeySet,
};
use sha2::{Digest, Sha256};

use self::{
    sets::{KeySets, newly_skipped, no_usable_key, parse_keys},
    unknown::UnknownKeys,
};
use crate::{
    callout::{self, Callout, CalloutResult, Cause, Fault, Purpose, Response},
    config::KeySetPolicy,
};

/// How much later than its time-out an answer may arrive.
const ANSWER_SLACK: Duration = Duration::from_millis(500);

/// What the adapter is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Make this call; what comes of it goes to [`IssuerKeys::answered`].
    Call(Callout),
    /// A fetch ended and the shared record says how: wake the other workers, and tell the operator.
    Broadcast {
        /// `issuer.url`.
        issuer: String,
        /// What went wrong, if something did, and in words.
        error: Option<(Cause, String)>,
        /// The issuer's last good keys have ended with that.
        lost: bool,
        /// Keys of the set that are not used, and were none of the last set's: each with what spoils it.
        skipped: Vec<String>,
        /// From now on it is known that the issuer publishes now one set, now another.
        alternates: bool,
    },
}

/// What a worker knows of an issuer's keys.
#[derive(Debug)]
pub enum KeyState<'a> {
    /// Keys to try.
    Ready {
        /// The last good ones.
        keys: &'a Rc<KeySet>,
        /// Grows with every fetch.
        version: u64,
    },
    /// None yet, but a fetch is under way or due at once.
    Pending,
    /// None, and the next fetch is not due yet.
    Missing {
        /// The last failure.
        reason: String,
        /// What it was.
        cause: Option<Cause>,
        /// Time until the next try.
        retry_after: Duration,
    },
}

/// One issuer's keys, as one worker sees them.
#[derive(Debug)]
pub struct IssuerKeys {
    issuer: String,
    rules: Rules,
    discovery_url: String,
    cluster: String,
    shared_key: String,
    record: Record,
    /// The shared store's number of that record: while it stands, there is nothing to read.
    record_number: Option<u32>,
    sets: KeySets,
    flight: Option<InFlight>,
    unknown: UnknownKeys,
}

/// A callout under way.
#[derive(Debug)]
struct InFlight {
    id: u64,
    stage: Stage,
    /// When its answer, even that of a time-out, is no longer to be expected.
    deadline: Duration,
}

#[derive(Debug)]
enum Stage {
    Discovery,
    Keys { jwks_uri: String },
}

/// What every step of a fetch needs.
pub struct FetchContext<'a> {
    /// The time since the epoch.
    pub now: Duration,
    /// From 0 to 1: spreads the next fetch, so that many gateways do not ask at once.
    pub jitter: f64,
    /// Who asks, among the workers.
    pub worker: u64,
    /// A number that no other callout of this worker has.
    pub callout: u64,
    /// What the workers share.
    pub shared: &'a dyn SharedStore,
    /// When keys are fetched.
    pub policy: &'a KeySetPolicy,
}

impl IssuerKeys {
    /// Takes up an issuer, with the keys that the workers already share for it.
    pub fn new(jwt: &JwtAuthenticator, cluster: &str, shared: &dyn SharedStore) -> Self {
        let mut issuer = Self {
            issuer: jwt.issuer_url().to_owned(),
            rules: jwt.rules(),
            discovery_url: jwt.discovery_url(),
            cluster: cluster.to_owned(),
            shared_key: shared_key(jwt, cluster),
            record: Record::default(),
            record_number: None,
            sets: KeySets::default(),
            flight: None,
            unknown: UnknownKeys::default(),
        };
        if shared.read(&issuer.shared_key).is_none() {
            // Without a value there is nothing to compare with, so that the first write is no compare-and-swap. The
            // main thread configures before any worker starts: this write has no rival.
            let _ = shared.write(&issuer.shared_key, &issuer.record.encode(), None);
        }
        // What was replaced counts from the first tick on: no clock is at hand yet.
        issuer.sync(Duration::MAX, shared);
        issuer.record_number = None;
        issuer.sets.read_anew();
        issuer
    }

    /// `issuer.url`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The number of keys, and the second of the epoch when they were fetched.
    #[must_use]
    pub fn figures(&self) -> (i64, i64) {
        let keys = self.sets.all().map_or(0, |keys| keys.len());
        let fetched = self.record.fetched().map_or(0, |time| time.as_secs());
        (i64::try_from(keys).unwrap_or(0), i64::try_from(fetched).unwrap_or(0))
    }

    /// What there is to verify with.
    #[must_use]
    pub fn state(&self, now: Duration) -> KeyState<'_> {
        match self.sets.good_at(now) {
            Some(keys) => KeyState::Ready { keys, version: self.sets.version() },
            None if self.record.leased(now) || self.record.due() <= now => KeyState::Pending,
            None => KeyState::Missing {
                reason: self.record.error().unwrap_or("not fetched yet").to_owned(),
                cause: self.record.cause(),
                retry_after: self.record.due().saturating_sub(now),
            },
        }
    }

    /// What the last fetch failed by, if it did, among all that fetches have failed by since the proxy started.
    pub fn failing(&self) -> impl Iterator<Item = (Cause, bool)> {
        let now = self.record.cause();
        self.record.causes().map(move |cause| (cause, Some(cause) == now))
    }

    /// Whether a token of this key, that none of `version` verifies, is worth a wait: newer keys are here or can be had.
    #[must_use]
    pub fn may_refetch(
        &self,
        now: Duration,
        version: u64,
        key_id: Option<&str>,
        policy: &KeySetPolicy,
    ) -> bool {
        self.sets.version() > version
            || self.record.leased(now)
            || (self.record.refetch_allowed(now, policy.minimum_refetch())
                && self.unknown.may_fetch(key_id, now))
    }

    /// Notes that a request which had waited for newer keys still found none for its token.
    pub fn missed(&mut self, key_id: Option<&str>, now: Duration, policy: &KeySetPolicy) {
        self.unknown.missed(key_id, now, policy.minimum_refetch());
    }

    /// Gives up a fetch under way, so that another worker can begin one at once.
    pub fn release(&mut self, worker: u64, shared: &dyn SharedStore) {
        if self.flight.take().is_none() {
            return;
        }
        for _ in 0..TRIES {
            let Some((bytes, cas)) = shared.read(&self.shared_key) else { return };
            let record = Record::decode(&bytes).unwrap_or_default();
            if !record.leased_by(worker)
                || shared.write(&self.shared_key, &record.released().encode(), Some(cas)).is_ok()
            {
                return;
            }
        }
    }

    /// Shows that this worker still waits for the answer of its fetch. To be done at every tick.
    pub fn renew(&mut self, worker: u64, now: Duration, shared: &dyn SharedStore) {
        if self.flight.is_none() || !self.record.must_renew(worker, now) {
            return;
        }
        let Some((bytes, cas)) = shared.read(&self.shared_key) else { return };
        let record = Record::decode(&bytes).unwrap_or_default();
        // One that has ended may be another's by now.
        if !record.leased_by(worker) {
            return;
        }
        let renewed = record.renewed(worker, now);
        if shared.write(&self.shared_key, &renewed.encode(), Some(cas)).is_ok() {
            self.record = renewed;
        }
    }

    /// Changes whenever a key is gone: what was verified before may have been by that key.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.sets.epoch()
    }

    /// When [`Self::fetch`] has something to do without being asked.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.record.due()
    }

    /// Reads the shared record; true if the keys or the record's state changed. To be done at every tick: keys that were replaced
    /// end with it.
    pub fn sync(&mut self, now: Duration, shared: &dyn SharedStore) -> bool {
        self.sets.end_replaced(&self.record, self.rules, now);
        let Some((bytes, number)) = shared.read(&self.shared_key) else { return false };
        // A set of a thousand keys is no matter for every tick.
        if self.record_number == Some(number) {
            return false;
        }
        let Some(record) = Record::decode(&bytes) else { return false };
        let changed = record != self.record;
        self.record = record;
        self.record_number = Some(number);
        self.sets.read(&self.record, self.rules, now);
        changed
    }

    /// Whether a worker, this or another, is fetching.
    #[must_use]
    pub fn fetching(&self, now: Duration) -> bool {
        self.record.leased(now)
    }

    /// The Envoy cluster that reaches it.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Whether this worker waits for the answer to this callout.
    #[must_use]
    pub fn awaits(&self, callout: u64) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.id == callout)
    }

    /// Starts a fetch if `why` allows one and no worker has one under way.
    pub fn fetch(&mut self, why: FetchReason, context: &FetchContext<'_>) -> Option<Action> {
        match &self.flight {
            // A reload can take the callout's owner away, and its answer with it.
            Some(flight) if flight.deadline <= context.now => {
                let stage = flight.stage.name();
                return Some(self.finish(Err(failure(stage, Fault::lost())), context));
            }
            Some(_) => return None,
            None => {}
        }
        let (bytes, cas) = context.shared.read(&self.shared_key)?;
        let record = Record::decode(&bytes).unwrap_or_default();
        let claimed = record.claim(why, context.now, context.worker, context.policy)?;
        // On a conflict another worker has just claimed it; its broadcast will come.
        context.shared.write(&self.shared_key, &claimed.encode(), Some(cas)).ok()?;
        self.record = claimed;
        let (stage, url) = match self.record.jwks_uri() {
            Some(uri) => (Stage::Keys { jwks_uri: uri.to_owned() }, uri.to_owned()),
            None => (Stage::Discovery, self.discovery_url.clone()),
        };
        Some(self.call(stage, &url, context))
    }

    /// Takes the answer to the callout under way.
    pub fn answered(
        &mut self,
        result: CalloutResult<'_>,
        context: &FetchContext<'_>,
    ) -> Option<Action> {
        let stage = self.flight.take()?.stage;
        let name = stage.name();
        // The resource is not there (RFC 9110, sections 15.5.5 and 15.5.11): no fault that passes by itself.
        let withdrawn = matches!(result, Ok(Response { status: 404 | 410, .. }));
        let lifetime = lifetime(&result, context.now, context.policy);
        let most = context.policy.maximum_bytes as usize;
        let outcome = match (callout::body(result, &[200], most, "keySets.maximumBytes"), stage) {
            (Err(fault), _) => Err(Failure { stage: name, fault, withdrawn }),
            (Ok(body), Stage::Discovery) => match discovery::parse(&body, &self.issuer) {
                Err(error) => Err(failure(name, Fault::new(cause_of(&error), error))),
                Ok(document) => {
                    let jwks_uri = document.jwks_uri;
                    let stage = Stage::Keys { jwks_uri: jwks_uri.clone() };
                    return Some(self.call(stage, &jwks_uri, context));
                }
            },
            (Ok(body), Stage::Keys { jwks_uri }) => {
                // Go repairs text that is not UTF-8, too.
                let text = String::from_utf8_lossy(&body).into_owned();
                match parse_keys(&text, self.rules) {
                    Err(error) => Err(failure(name, Fault::new(Cause::Document, error))),
                    Ok(keys) if keys.is_empty() => {
                        let fault = Fault::new(Cause::NoUsableKey, no_usable_key(&keys));
                        Err(Failure { stage: name, fault, withdrawn: true })
                    }
                    Ok(_) => Ok((jwks_uri, text, lifetime)),
                }
            }
        };
        Some(self.finish(outcome, context))
    }

    fn call(&mut self, stage: Stage, url: &str, context: &FetchContext<'_>) -> Action {
        match self.callout(url, context) {
            Ok(callout) => {
                let deadline =
                    context.now.saturating_add(callout.timeout).saturating_add(ANSWER_SLACK);
                self.flight = Some(InFlight { id: context.callout, stage, deadline });
                Action::Call(callout)
            }
            Err(fault) => self.finish(Err(failure(stage.name(), fault)), context),
        }
    }

    /// Writes the outcome, unless another worker took over an expired lease.
    fn finish(
        &mut self,
        outcome: Result<(String, String, Duration), Failure>,
        context: &FetchContext<'_>,
    ) -> Action {
        self.flight = None;
        let mut lost = None;
        for _ in 0..TRIES {
            let Some((bytes, cas)) = context.shared.read(&self.shared_key) else { break };
            let record = Record::decode(&bytes).unwrap_or_default();
            if !record.leased_by(context.worker) {
                break;
            }
            let done = match &outcome {
                Ok((jwks_uri, keys, lifetime)) => {
                    let fetched = Fetched { jwks_uri, keys, lifetime: *lifetime };
                    let new = parse_keys(keys, self.rules).unwrap_or_default();
                    let is_within = |old: &str| {
                        old == keys.as_str()
                            || parse_keys(old, self.rules).is_ok_and(|old| old.is_within(&new))
                    };
                    let FetchContext { now, policy, jitter, .. } = *context;
                    record.succeeded(now, fetched, is_within, policy, jitter)
                }
                Err(failure) => record.failed(context.now, failure, context.policy, context.jitter),
            };
            if context.shared.write(&self.shared_key, &done.encode(), Some(cas)).is_ok() {
                if record.keys().is_some() && done.keys().is_none() {
                    lost = done.error().map(str::to_owned);
                }
                break;
            }
        }
        let (before, alternated) = (self.sets.last().cloned(), self.record.alternates());
        self.sync(context.now, context.shared);
        let issuer = self.issuer.clone();
        let is_lost = lost.is_some();
        let error = outcome
            .err()
            .map(|failure| (failure.fault.cause, lost.unwrap_or_else(|| failure.to_string())));
        let skipped = newly_skipped(before.as_deref(), self.sets.last().map(Rc::as_ref));
        let alternates = self.record.alternates() && !alternated;
        Action::Broadcast { issuer, error, lost: is_lost, skipped, alternates }
    }

    fn callout(&self, url: &str, context: &FetchContext<'_>) -> Result<Callout, Fault> {
        let endpoint = Endpoint::parse(url)
            .map_err(|error| Fault::new(Cause::Url, format_args!("URL {url:?}: {error}")))?;
        Ok(Callout {
            traceparent: None,
            purpose: Purpose::Keys(context.callout),
            cluster: self.cluster.clone(),
            authority: endpoint.authority().to_owned(),
            path: endpoint.target().to_owned(),
            authorization: None,
            body: None,
            timeout: context.policy.timeout(),
        })
    }
}

/// All that decides where the keys come from, and by whose rules a set has any. Gateways that differ in any of it, and a configuration that changes it, must not
/// have the keys of the other.
fn shared_key(jwt: &JwtAuthenticator, cluster: &str) -> String {
    let authority = Sha256::digest(jwt.certificate_authority().unwrap_or_default());
    let authority = STANDARD.encode(authority);
    let (issuer, discovery, rules) = (jwt.issuer_url(), jwt.discovery_url(), jwt.rules());
    format!("issuer\n{issuer}\n{discovery}\n{cluster}\n{authority}\n{rules}")
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Keys { .. } => "key set",
        }
    }
}

/// What is wrong with a discovery document: the document, or where it leads.
fn cause_of(error: &DiscoveryError) -> Cause {
    match error {
        DiscoveryError::JwksUriNotHttps(_) => Cause::Url,
        _ => Cause::Document,
    }
}

/// A fault that says nothing of the issuer's keys.
fn failure(stage: &'static str, fault: Fault) -> Failure {
    Failure { stage, fault, withdrawn: false }
}

fn lifetime(result: &CalloutResult<'_>, now: Duration, policy: &KeySetPolicy) -> Duration {
    let of = |response: &Response<'_>| freshness::lifetime(response.headers, now, policy);
    result.as_ref().map_or(Duration::ZERO, of)
}

#[cfg(test)]
mod tests;
