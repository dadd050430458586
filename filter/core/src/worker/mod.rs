//! One worker's whole state: its configuration, its view of the keys, and the requests that wait.

mod decide;
mod reviewing;

pub use decide::Peer;

use std::{rc::Rc, time::Duration};

use kube_authn::crypto::SignatureVerifier;

use crate::{
    cache::TokenCache,
    config::{ClientImpersonation, Configuration},
    decision::{Attempt, Wait, Waiter},
    keys::{Action, Answer, IssuerKeys, KeyState, SharedStore, Step, Why},
    metrics::{Change, Metric, Metrics},
    refusal::Refusal,
    reviews::{Bounds, Kept, QuestionId, Reviews},
};

/// Answers of the API server that are remembered, for each worker.
const MOST_ANSWERS: u32 = 10_000;
/// Bytes of an answer's body. A longer one need not be read: it counts as no answer.
pub const MOST_BODY: usize = 1 << 20;
/// Questions to the API server that are under way at once, for each worker.
const MOST_QUESTIONS: u32 = 1_000;

/// An answer of the API server, or of a groups endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// To a SubjectAccessReview.
    Allowed(bool),
    /// To a TokenReview: whose token it is.
    User(Option<String>),
    /// The token that holds the groups.
    Groups(Rc<[u8]>),
}

impl Kept for Said {
    fn bytes(&self) -> usize {
        match self {
            Self::Allowed(_) | Self::User(None) => 0,
            Self::User(Some(user)) => user.len(),
            Self::Groups(token) => token.len(),
        }
    }
}

/// What a [`Review`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A SubjectAccessReview.
    Access,
    /// A TokenReview.
    Token,
    /// Distributed groups.
    Groups,
}

/// A call that the adapter is to make: a POST if it has a body, else a GET. It may hold a token, and so is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Review {
    /// To be given back with the answer.
    pub id: QuestionId,
    /// To be given back with the answer.
    pub asked: Asked,
    /// The Envoy cluster to ask. The API server's carries the gateway's credential.
    pub cluster: String,
    /// `:authority`
    pub authority: String,
    /// `:path`
    pub path: String,
    /// `authorization`
    pub authorization: Option<String>,
    /// The JSON body.
    pub body: Option<Vec<u8>>,
    /// When to give up.
    pub timeout: Duration,
}

/// Which worker of which gateway it is.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Tells the workers of one proxy apart.
    pub id: u64,
    /// Tells the gateways of one proxy apart, in metrics and in limits that the workers share; empty if there is one.
    pub gateway: String,
    /// Random, and known to nobody.
    pub secret: [u8; 16],
}

/// One worker of one gateway: its configuration, its view of the keys, and the requests that wait for some.
///
/// Several gateways may live in one proxy and in one VM. Each has its own worker there, and so its own rules, caches and limits. They
/// share the keys of an issuer where all that decides where these come from is the same ([`IssuerKeys`]).
pub struct Worker {
    instance: Instance,
    verifier: Box<dyn SignatureVerifier>,
    configuration: Configuration,
    issuers: Vec<IssuerKeys>,
    shared: Rc<dyn SharedStore>,
    cache: TokenCache,
    reviews: Reviews<Said>,
    waiting: Vec<Waiter>,
    callouts: u64,
    signed_in: Option<Rc<str>>,
    looked_up: bool,
    resting: bool,
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
    /// A worker with a valid configuration.
    #[must_use]
    pub fn new(
        instance: Instance,
        verifier: Box<dyn SignatureVerifier>,
        configuration: Configuration,
        shared: Rc<dyn SharedStore>,
    ) -> Self {
        let issuers = issuers(&configuration, shared.as_ref());
        let cache = TokenCache::new(instance.secret, &configuration.gateway.token_cache);
        let reviews = reviews(instance.secret, &configuration);
        let mut metrics = Metrics::default();
        metrics.count(Metric::Configurations, ["", ""]);
        Self {
            instance,
            verifier,
            configuration,
            issuers,
            shared,
            cache,
            reviews,
            waiting: Vec::new(),
            callouts: 0,
            signed_in: None,
            looked_up: true,
            resting: false,
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
                TokenCache::new(self.instance.secret, &self.configuration.gateway.token_cache);
            self.reported.evictions = 0;
            self.reviews = reviews(self.instance.secret, &self.configuration);
        }
    }

    /// Ends this worker's part in what the workers share: fetches under way are anybody's again, and its part of the summed gauges is
    /// taken back. Gives what is to be counted.
    pub fn retire(&mut self) -> Vec<Change> {
        for issuer in &mut self.issuers {
            issuer.release(self.instance.id, self.shared.as_ref());
        }
        self.rest();
        self.waiting.clear();
        self.take_metrics()
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
        if self.waiting.len() >= gateway.limits.waiting_requests as usize {
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
        };
        self.waiting.push(Waiter { stream, wait, attempt, deadline });
        Ok(())
    }

    /// See [`Configuration::reads_impersonation`].
    #[must_use]
    pub fn reads_impersonation(&self) -> bool {
        self.configuration.reads_impersonation()
    }

    /// Whether a client's impersonation can take effect.
    #[must_use]
    pub fn honours_impersonation(&self) -> bool {
        self.configuration.gateway.client_impersonation == ClientImpersonation::Authorize
    }

    /// What the logs are to say of who made the request that was decided on last ([`crate::record`]), as far as it is known;
    /// of a refused one too.
    #[must_use]
    pub fn signed_in(&self) -> Option<Rc<str>> {
        self.signed_in.clone()
    }

    /// Whether the token of the request that was decided on last was not in the cache.
    #[must_use]
    pub fn had_to_authenticate(&self) -> bool {
        !self.looked_up
    }

    /// Notes how long that took.
    pub fn took(&mut self, time: Duration) {
        let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.metrics.observe(Metric::AuthenticationTime, time);
    }

    /// Whether a request waits.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads what other workers wrote, and starts the fetches that are due or that requests wait for.
    pub fn poll(&mut self, now: Duration, jitter: f64) -> Vec<Action> {
        self.resting = false;
        let shared = self.shared.as_ref();
        let mut actions = Vec::new();
        for (index, issuer) in self.issuers.iter_mut().enumerate() {
            let why = self
                .waiting
                .iter()
                .filter_map(|waiter| match waiter.wait {
                    Wait::Keys { issuer, newer_than } if issuer == index => Some(newer_than),
                    _ => None,
                })
                .max()
                .map(|newer_than| {
                    newer_than.map_or(Why::Due, |version| Why::UnknownKey { version })
                });
            if why.is_none() && issuer.due() > now {
                continue;
            }
            issuer.sync(shared);
            let why = match why {
                Some(why) if issuer.due() > now => why,
                _ => Why::Due,
            };
            self.callouts = self.callouts.wrapping_add(1);
            let policy = &self.configuration.gateway.key_sets;
            let step = Step {
                now,
                jitter,
                worker: self.instance.id,
                callout: self.callouts,
                shared,
                policy,
            };
            let action = issuer.fetch(why, &step);
            count_fetch(&mut self.metrics, index, action.as_ref());
            actions.extend(action);
        }
        actions
    }

    /// Reads what other workers wrote about every issuer.
    pub fn sync(&mut self) {
        for issuer in &mut self.issuers {
            issuer.sync(self.shared.as_ref());
        }
    }

    /// Takes the answer to a callout.
    pub fn answered(
        &mut self,
        callout: u64,
        answer: &Answer<'_>,
        now: Duration,
        jitter: f64,
    ) -> Option<Action> {
        let (index, issuer) =
            self.issuers.iter_mut().enumerate().find(|(_, issuer)| issuer.awaits(callout))?;
        self.callouts = self.callouts.wrapping_add(1);
        let policy = &self.configuration.gateway.key_sets;
        let shared = self.shared.as_ref();
        let step =
            Step { now, jitter, worker: self.instance.id, callout: self.callouts, shared, policy };
        let action = issuer.answered(answer, &step);
        count_fetch(&mut self.metrics, index, action.as_ref());
        action
    }

    /// Takes out the reviews that have not been sent yet.
    pub fn unsent_reviews(&mut self) -> Vec<Review> {
        let cluster = &self.configuration.review_cluster;
        let timeout = self.configuration.gateway.reviews.timeout();
        let questions = self.reviews.unsent().into_iter();
        questions.map(|question| reviewing::review(question, cluster, timeout)).collect()
    }

    /// Takes the answer to a review: the HTTP status and body, or why there is none.
    pub fn reviewed(
        &mut self,
        id: QuestionId,
        asked: Asked,
        answer: Result<(u16, &[u8]), &str>,
        now: Duration,
    ) {
        let said = match answer {
            Ok((200 | 201, body)) => reviewing::said(asked, body, &self.configuration.gateway),
            Ok((status, _)) => Err(format!("HTTP {status}")),
            Err(why) => Err(why.to_owned()),
        };
        let kind = match asked {
            Asked::Access => "access",
            Asked::Token => "token",
            Asked::Groups => "groups",
        };
        let result = match &said {
            Ok(Said::Allowed(false) | Said::User(None)) => "no",
            Ok(_) => "yes",
            Err(_) => "failed",
        };
        self.metrics.count(Metric::Reviews, [kind, result]);
        self.reviews.answered(id, said, now);
    }

    /// Takes out what has been counted since the last time.
    pub fn take_metrics(&mut self) -> Vec<Change> {
        let (metrics, reported) = (&mut self.metrics, &mut self.reported);
        metrics.set_part(Metric::TokenCacheEntries, self.cache.len(), &mut reported.entries);
        metrics.set_part(Metric::TokenCacheBytes, self.cache.bytes(), &mut reported.bytes);
        metrics.set_part(
            Metric::TokenCacheEvictions,
            self.cache.evictions(),
            &mut reported.evictions,
        );
        metrics.set_part(Metric::WaitingRequests, self.waiting.len(), &mut reported.waiting);
        for (index, issuer) in self.issuers.iter().enumerate() {
            let (keys, fetched) = issuer.figures();
            metrics.set_issuer(Metric::IssuerKeys, index, keys);
            metrics.set_issuer(Metric::IssuerKeysFetched, index, fetched);
        }
        let issuers: Vec<_> =
            self.issuers.iter().map(|issuer| issuer.issuer().to_owned()).collect();
        metrics.take(&issuers, &self.instance.gateway)
    }

    /// Takes out waiting requests that can be decided on now, at most so many. True if there are more.
    #[must_use]
    pub fn settled(&mut self, now: Duration, most: usize) -> (Vec<Waiter>, bool) {
        self.reviews.expire(now);
        let (issuers, reviews) = (&self.issuers, &self.reviews);
        let settled = |waiter: &mut Waiter| {
            let pending = match &waiter.wait {
                Wait::Reviews(ids) => ids.iter().any(|&id| reviews.is_pending(id)),
                Wait::Groups(id) => reviews.is_pending(*id),
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
        let result = match (error, lost) {
            (None, _) => "ok",
            (Some(_), false) => "failed",
            (Some(_), true) => "lost",
        };
        metrics.count_issuer(Metric::IssuerFetches, result, issuer);
    }
}

fn reviews(secret: [u8; 16], configuration: &Configuration) -> Reviews<Said> {
    let policy = &configuration.gateway.reviews;
    let time_to_live = Duration::from_secs(policy.cache_seconds.into());
    let bounds =
        Bounds { answers: MOST_ANSWERS, bytes: policy.maximum_bytes, pending: MOST_QUESTIONS };
    Reviews::new(secret, time_to_live, bounds)
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
