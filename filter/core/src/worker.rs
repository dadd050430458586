//! One worker's whole state: its configuration, its view of the keys, and the requests that wait.

mod access;
mod authenticate;
mod conditions;
mod decide;
mod elevation;
mod groups;
mod introspection;
mod lookups;
mod verified;

pub use decide::Peer;

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use kube_authn::crypto::SignatureVerifier;

use self::{lookups::LookupResult, verified::VerifiedTokens};
use crate::{
    access::OpenStreams,
    cache::TokenCache,
    callout::{Callout, CalloutResult, Fault, Purpose, Response},
    config::Configuration,
    decision::{Attempt, Wait, Waiter},
    elevation::Table,
    follower::Follower,
    group_store::Store,
    keys::{Action, FetchContext, FetchReason, IssuerKeys, KeyState, SharedStore},
    lookups::{Bounds, Failure, LookupId, Lookups},
    metrics::{Change, Metric, Metrics},
    rate::common_secret,
    refusal::Refusal,
    token_hash::{SipHash, TokenHash},
};

/// Results of lookups that are remembered, for each worker.
const MOST_RESULTS: u32 = 10_000;
/// Lookups that are under way at once, for each worker.
const MOST_LOOKUPS: u32 = 1_000;

/// Which worker of which gateway it is.
#[derive(Clone)]
pub struct Instance {
    /// Tells the workers of one proxy apart.
    pub id: u64,
    /// Tells the gateways of one proxy apart, in metrics and in limits that the workers share; empty if there is one.
    pub gateway: String,
    /// Random, and known to nobody.
    pub secret: [u8; 16],
    /// How it knows tokens again.
    pub tokens: Rc<dyn TokenHash>,
}

impl Instance {
    /// A worker that knows tokens by their [`SipHash`].
    #[must_use]
    pub fn new(id: u64, gateway: String, secret: [u8; 16]) -> Self {
        Self { id, gateway, secret, tokens: Rc::new(SipHash::new(secret)) }
    }
}

/// One worker of one gateway: its configuration, its view of the keys, and the requests that wait for some.
///
/// Several gateways may live in one proxy and in one VM. Each has its own worker there, and so its own rules, caches and limits. They
/// share the keys of an issuer where all that decides where these come from is the same ([`IssuerKeys`]).
pub struct Worker {
    instance: Instance,
    verifier: Box<dyn SignatureVerifier>,
    configuration: Arc<Configuration>,
    issuers: Vec<IssuerKeys>,
    shared: Rc<dyn SharedStore>,
    cache: TokenCache,
    lookups: Lookups<LookupResult>,
    groups: Store,
    /// Questions about tokens, by endpoint.
    introspections: Vec<Lookups<LookupResult>>,
    /// TokenReviews and questions about tokens, with the network from whose rate each was taken.
    charged: HashMap<LookupId, String>,
    waiting: Vec<Waiter>,
    verified: VerifiedTokens,
    access: Follower,
    open: OpenStreams,
    callouts: u64,
    resting: bool,
    lent: Table,
    metrics: Metrics,
    reported: Reported,
}

/// This worker's part of the gauges that are summed, as reported last.
#[derive(Debug, Default)]
struct Reported {
    entries: usize,
    bytes: usize,
    evictions: usize,
    waiting: usize,
}

impl Worker {
    /// A worker with a valid configuration, which it may share with others.
    #[must_use]
    pub fn new(
        instance: Instance,
        verifier: Box<dyn SignatureVerifier>,
        configuration: impl Into<Arc<Configuration>>,
        shared: Rc<dyn SharedStore>,
    ) -> Self {
        let configuration = configuration.into();
        let issuers = issuers(&configuration, shared.as_ref());
        let cache = TokenCache::new(Rc::clone(&instance.tokens), &configuration.gateway);
        let lookups = lookups(instance.secret, &configuration);
        let introspections = introspection::lookups(instance.secret, &configuration);
        let groups = groups(&instance, &configuration, shared.as_ref());
        let mut metrics = Metrics::default();
        metrics.count(Metric::Configurations, ["", ""]);
        let access = Follower::new(&configuration);
        Self {
            instance,
            verifier,
            configuration,
            issuers,
            shared,
            cache,
            lookups,
            introspections,
            groups,
            charged: HashMap::new(),
            waiting: Vec::new(),
            verified: VerifiedTokens::default(),
            access,
            open: OpenStreams::default(),
            callouts: 0,
            resting: false,
            lent: Table::default(),
            metrics,
            reported: Reported::default(),
        }
    }

    /// Lets go of what only further requests need. For a worker whose configuration has been replaced, and which stays as long as
    /// its streams do: it fetches no more keys. Should a request come all the same, it waits for keys that are due.
    pub fn rest(&mut self) {
        if !self.resting {
            self.resting = true;
            self.cache =
                TokenCache::new(Rc::clone(&self.instance.tokens), &self.configuration.gateway);
            self.reported.evictions = 0;
            self.lookups = lookups(self.instance.secret, &self.configuration);
            self.introspections = introspection::lookups(self.instance.secret, &self.configuration);
            self.groups = groups(&self.instance, &self.configuration, self.shared.as_ref());
            self.verified = VerifiedTokens::default();
        }
    }

    /// Ends this worker's part in what the workers share: fetches under way are anybody's again, and its part of the summed gauges is
    /// taken back. Gives what is to be counted.
    pub fn retire(&mut self) -> Vec<Change> {
        self.release();
        self.take_metrics()
    }

    /// Ends this worker's part in what the workers share. What it counted, [`Self::move_metrics`] has.
    pub fn release(&mut self) {
        for issuer in &mut self.issuers {
            issuer.release(self.instance.id, self.shared.as_ref());
        }
        self.rest();
        self.waiting.clear();
    }

    /// Lets a request wait. `Err` with the refusal if too many do already.
    pub fn wait(
        &mut self,
        stream: u32,
        wait: Wait,
        mut attempt: Attempt,
        now: Duration,
    ) -> Result<(), Refusal> {
        let since = *attempt.since.get_or_insert(now);
        let gateway = &self.configuration.gateway;
        let most = gateway.limits.waiting_requests as usize;
        if self.waiting.len() >= most || self.is_greedy(&wait, most) {
            return Err(Refusal::TooManyWaiting);
        }
        let timeout = now.saturating_add(gateway.reviews.timeout());
        let deadline = match wait {
            Wait::Keys { .. } => {
                attempt.keys = attempt.keys.saturating_add(1);
                // From when the request came: two waits together last no longer than one may.
                since.saturating_add(Duration::from_secs(gateway.limits.wait_seconds.into()))
            }
            Wait::Reviews(_) => {
                attempt.reviews = true;
                timeout
            }
            Wait::Groups(_) => {
                attempt.groups = true;
                timeout
            }
            Wait::Introspection { endpoint, .. } => {
                attempt.introspection = true;
                let endpoint = self.configuration.introspection.get(endpoint);
                let timeout = endpoint.map_or(Duration::ZERO, |it| it.policy.timeout());
                now.saturating_add(timeout)
            }
            Wait::GroupSource(_) => {
                attempt.groups = true;
                // As for keys: the source may take longer, for the next request.
                since.saturating_add(Duration::from_secs(gateway.limits.wait_seconds.into()))
            }
        };
        self.waiting.push(Waiter { stream, wait, attempt, deadline });
        Ok(())
    }

    /// Whether those who wait for the same answer, or for the same server, have their part of the places already. A server that is slow
    /// takes nothing from the others, and neither does one who asks very often about one token.
    fn is_greedy(&self, wait: &Wait, most: usize) -> bool {
        let is_server_s = |other: &Wait| match (wait, other) {
            (Wait::Introspection { endpoint, .. }, Wait::Introspection { endpoint: other, .. }) => {
                endpoint == other
            }
            (Wait::GroupSource(id), Wait::GroupSource(other)) => {
                self.groups.source(*id) == self.groups.source(*other)
            }
            _ => false,
        };
        let waits = self.waiting.iter().map(|waiter| &waiter.wait);
        let others: Vec<_> = waits.filter(|other| is_server_s(other)).collect();
        let same = others.iter().filter(|other| **other == wait).count();
        others.len() >= most.div_ceil(2) || same >= most.div_ceil(4)
    }

    /// Notes how long it took to verify a token.
    pub fn observe_authentication(&mut self, time: Duration) {
        let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.metrics.observe(Metric::AuthenticationTime, time);
    }

    /// Whether a request waits.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Starts the fetches that are due or that requests wait for, and the lookups that were not sent yet.
    pub fn poll(&mut self, now: Duration, jitter: f64) -> Vec<Action> {
        let wanted = self.wanted_keys();
        let mut actions = self.poll_keys(&wanted, now, jitter);
        actions.extend(self.poll_lookups(now).into_iter().map(Action::Call));
        actions
    }

    /// The keys that requests wait for: an issuer's, and of a newer version than this, if there are any.
    fn wanted_keys(&self) -> Vec<(usize, Option<u64>)> {
        let wanted = self.waiting.iter().filter_map(|waiter| match waiter.wait {
            Wait::Keys { issuer, newer_than } => Some((issuer, newer_than)),
            _ => None,
        });
        wanted.collect()
    }

    /// Starts the fetches that are due, and those of `wanted` issuers' keys. For a worker that fetches for others; [`Self::poll`] is
    /// for one that fetches for itself.
    pub fn poll_keys(
        &mut self,
        wanted: &[(usize, Option<u64>)],
        now: Duration,
        jitter: f64,
    ) -> Vec<Action> {
        self.resting = false;
        let shared = self.shared.as_ref();
        let mut actions = Vec::new();
        for (index, issuer) in self.issuers.iter_mut().enumerate() {
            issuer.renew(self.instance.id, now, shared);
            let of_issuer = wanted.iter().filter(|(wanted, _)| *wanted == index);
            let why = of_issuer.map(|(_, newer_than)| *newer_than).max().map(|newer_than| {
                newer_than.map_or(FetchReason::Due, |version| FetchReason::UnknownKey { version })
            });
            if why.is_none() && issuer.due() > now {
                continue;
            }
            issuer.sync(now, shared);
            let why = match why {
                Some(why) if issuer.due() > now => why,
                _ => FetchReason::Due,
            };
            self.callouts = self.callouts.wrapping_add(1);
            let policy = &self.configuration.gateway.key_sets;
            let context = FetchContext {
                now,
                jitter,
                worker: self.instance.id,
                callout: self.callouts,
                shared,
                policy,
            };
            let action = issuer.fetch(why, &context);
            count_fetch(&mut self.metrics, index, action.as_ref());
            actions.extend(action);
        }
        actions
    }

    /// The lookups that were not sent yet.
    pub fn poll_lookups(&mut self, now: Duration) -> Vec<Callout> {
        let cluster = &self.configuration.review_cluster;
        let timeout = self.configuration.gateway.reviews.timeout();
        let unsent = self.lookups.unsent().into_iter();
        let mut callouts: Vec<_> =
            unsent.map(|unsent| lookups::callout(unsent, cluster, timeout)).collect();
        let endpoints = self.configuration.introspection.iter().enumerate();
        for (lookups, (index, endpoint)) in self.introspections.iter_mut().zip(endpoints) {
            let unsent = lookups.unsent().into_iter();
            callouts.extend(
                unsent.filter_map(|unsent| introspection::callout(index, unsent, endpoint)),
            );
        }
        callouts.extend(self.poll_groups(now));
        callouts
    }

    /// Reads what other workers wrote about every issuer.
    pub fn sync(&mut self, now: Duration) {
        for issuer in &mut self.issuers {
            issuer.sync(now, self.shared.as_ref());
        }
    }

    /// Takes what came of a callout.
    pub fn answered(
        &mut self,
        purpose: Purpose,
        result: CalloutResult<'_>,
        now: Duration,
        jitter: f64,
    ) -> Option<Action> {
        let id = match purpose {
            Purpose::Keys(callout) => return self.fetched(callout, result, now, jitter),
            Purpose::Introspection { endpoint, id } => {
                self.introspected(endpoint, id, result, now);
                return None;
            }
            Purpose::GroupSource(id) => {
                self.groups_answered(id, result, now);
                return None;
            }
            Purpose::AccessReview(id) | Purpose::TokenReview(id) | Purpose::Groups(id) => id,
            Purpose::Documents => {
                self.documents_answered(result, now);
                return None;
            }
        };
        self.looked_up(purpose, id, result, now);
        None
    }

    fn fetched(
        &mut self,
        callout: u64,
        result: CalloutResult<'_>,
        now: Duration,
        jitter: f64,
    ) -> Option<Action> {
        let (index, issuer) =
            self.issuers.iter_mut().enumerate().find(|(_, issuer)| issuer.awaits(callout))?;
        self.callouts = self.callouts.wrapping_add(1);
        let context = FetchContext {
            now,
            jitter,
            worker: self.instance.id,
            callout: self.callouts,
            shared: self.shared.as_ref(),
            policy: &self.configuration.gateway.key_sets,
        };
        let action = issuer.answered(result, &context);
        count_fetch(&mut self.metrics, index, action.as_ref());
        action
    }

    fn looked_up(
        &mut self,
        purpose: Purpose,
        id: LookupId,
        result: CalloutResult<'_>,
        now: Duration,
    ) {
        let gateway = &self.configuration.gateway;
        let is_forbidden = matches!(&result, Ok(Response { status: 403, .. }));
        let result = lookups::read(purpose, result, gateway);
        let word = result.as_ref().map_or("failed", LookupResult::word);
        let kind = purpose.keyword();
        self.metrics.count(Metric::Reviews, [kind, word]);
        if let Err(fault) = &result {
            self.metrics.count(Metric::CalloutFailures, [kind, fault.cause.keyword()]);
        }
        let failed = |fault: Fault| Failure { why: fault.to_string(), is_forbidden };
        self.lookups.finish(id, result.map_err(failed), now);
    }

    /// Moves what has been counted since the last time into `sink`, from which somebody else with this configuration takes it out. What
    /// gauges say of issuers is not moved.
    pub fn move_metrics(&mut self, sink: &mut Metrics) {
        self.measure();
        self.metrics.move_into(sink);
    }

    fn measure(&mut self) {
        let (metrics, reported) = (&mut self.metrics, &mut self.reported);
        metrics.set_part(Metric::TokenCacheEntries, self.cache.len(), &mut reported.entries);
        metrics.set_part(Metric::TokenCacheBytes, self.cache.bytes(), &mut reported.bytes);
        metrics.set_part(
            Metric::TokenCacheEvictions,
            self.cache.evictions(),
            &mut reported.evictions,
        );
        metrics.set_part(Metric::WaitingRequests, self.waiting.len(), &mut reported.waiting);
    }

    /// Takes out what has been counted since the last time.
    pub fn take_metrics(&mut self) -> Vec<Change> {
        self.measure();
        let metrics = &mut self.metrics;
        if let Some(as_of) = self.access.as_of() {
            metrics
                .set(Metric::AccessDocuments, i64::try_from(as_of.as_secs()).unwrap_or(i64::MAX));
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            let (keys, fetched) = issuer.figures();
            metrics.set_issuer(Metric::IssuerKeys, index, keys);
            metrics.set_issuer(Metric::IssuerKeysFetched, index, fetched);
            for (cause, now) in issuer.failing() {
                let reason = cause.keyword();
                metrics.set_issuer_value(Metric::IssuerFailing, reason, index, now.into());
            }
        }
        if metrics.is_empty() {
            return Vec::new();
        }
        metrics.take(&self.configuration.metric_names(), &self.instance.gateway)
    }

    /// Lets a request go that waits: its stream has ended. For adapters that are not called again when its time is over.
    pub fn give_up(&mut self, stream: u32) {
        self.waiting.retain(|waiter| waiter.stream != stream);
    }

    /// Takes out waiting requests that can be decided on now, at most so many. True if there are more.
    #[must_use]
    pub fn settled(&mut self, now: Duration, most: usize) -> (Vec<Waiter>, bool) {
        self.lookups.expire(now);
        for lookups in &mut self.introspections {
            lookups.expire(now);
        }
        let (issuers, lookups, groups) = (&self.issuers, &self.lookups, &self.groups);
        let introspections = &self.introspections;
        let settled = |waiter: &mut Waiter| {
            let pending = match &waiter.wait {
                Wait::Reviews(ids) => ids.iter().any(|&id| lookups.is_pending(id)),
                Wait::Groups(id) => lookups.is_pending(*id),
                Wait::Introspection { endpoint, id } => {
                    introspections.get(*endpoint).is_some_and(|lookups| lookups.is_pending(*id))
                }
                Wait::GroupSource(id) => groups.is_pending(*id),
                Wait::Keys { issuer, newer_than } => {
                    match (issuers.get(*issuer).map(|keys| (keys, keys.state(now))), newer_than) {
                        (Some((_, KeyState::Pending)), _) => true,
                        (Some((keys, KeyState::Ready { version, .. })), Some(tried)) => {
                            version <= *tried && keys.fetching(now)
                        }
                        _ => false,
                    }
                }
            };
            !pending || waiter.deadline <= now
        };
        let mut ready = self.waiting.extract_if(.., settled);
        let taken = ready.by_ref().take(most).collect();
        let more = ready.next();
        drop(ready);
        let is_more = more.is_some();
        self.waiting.extend(more);
        (taken, is_more)
    }
}

fn count_fetch(metrics: &mut Metrics, issuer: usize, action: Option<&Action>) {
    if let Some(Action::Broadcast { error, lost, .. }) = action {
        if let Some((cause, _)) = error {
            metrics.count(Metric::CalloutFailures, ["keys", cause.keyword()]);
        }
        let result = match (error, lost) {
            (None, _) => "ok",
            (Some(_), false) => "failed",
            (Some(_), true) => "lost",
        };
        metrics.count_issuer(Metric::IssuerFetches, result, issuer);
    }
}

fn lookups(secret: [u8; 16], configuration: &Configuration) -> Lookups<LookupResult> {
    let policy = &configuration.gateway.reviews;
    let time_to_live = Duration::from_secs(policy.cache_seconds.into());
    let bounds =
        Bounds { results: MOST_RESULTS, bytes: policy.maximum_bytes, pending: MOST_LOOKUPS };
    Lookups::new(secret, time_to_live, bounds)
}

fn groups(instance: &Instance, configuration: &Configuration, shared: &dyn SharedStore) -> Store {
    let policy = &configuration.gateway.group_cache;
    let sources = configuration.group_sources.len();
    // Workers without sources have nothing to share.
    let secret = if sources > 0 { common_secret(shared, instance.secret) } else { instance.secret };
    Store::new(secret, &instance.gateway, policy, sources)
}

fn issuers(configuration: &Configuration, shared: &dyn SharedStore) -> Vec<IssuerKeys> {
    configuration
        .authentication
        .jwt()
        .iter()
        .zip(&configuration.clusters)
        .map(|(jwt, cluster)| IssuerKeys::new(jwt, cluster, shared))
        .collect()
}

#[cfg(test)]
mod tests;
