//! One configuration: what its workers in all threads share, and what the main thread does for them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use gateway_core::{
    access::Documents,
    callout::{Callout, Fault, Purpose},
    config::Configuration,
    keys::Action,
    metrics::{Metric, Metrics, ONLY_GATEWAY},
    portal_keys::{KeyRing, SHARED_VARIABLE},
    worker::Worker,
};

use crate::{
    gateway::{self, Gateway},
    guard::guard,
    host::{self, ConfigHandle, ConfigScheduler, HttpFilter},
    metrics,
    post::{Asker, Errand, Post, Response},
    shared::lock,
    ticker,
};

/// After so long without a request a configuration that has been replaced rests.
const REST_AFTER: Duration = Duration::from_mins(1);
/// How often what was counted is handed to Envoy.
const REPORTED_EVERY: Duration = Duration::from_secs(1);

/// A configuration of Envoy's.
pub struct Config {
    label: String,
    /// The workers of all threads share it.
    configuration: Arc<Configuration>,
    /// Behind the places that counts of issuers and conditions have.
    names: Vec<String>,
    handle: ConfigHandle<HttpFilter>,
    is_gone: AtomicBool,
    scheduler: Mutex<Option<ConfigScheduler>>,
    posts: Mutex<Vec<Arc<Post>>>,
    asked: Mutex<Asked>,
    /// What each callout under way, by Envoy's number, is for.
    under_way: Mutex<HashMap<u64, UnderWay>>,
    metrics: Mutex<metrics::Metrics>,
    reported: Mutex<Duration>,
    panics: AtomicI64,
    documents: Mutex<Option<(Arc<Documents>, Duration)>>,
    /// How often these have been known to be the newest, and their generation.
    published: AtomicU64,
    generation: AtomicU64,
}

/// What workers ask of the main thread.
#[derive(Default)]
struct Asked {
    /// Keys: an issuer's, and of a newer version than this, if there are any.
    wanted: Vec<(usize, Option<u64>)>,
    /// Who asked for keys, so often as it asked, and waits until that has begun.
    by: Vec<Asker>,
    callouts: Vec<(Errand, Callout)>,
}

/// A callout under way.
struct UnderWay {
    purpose: Purpose,
    end: Duration,
    /// For which worker, if it is not the main thread's.
    errand: Option<Errand>,
}

impl Config {
    /// Takes a configuration, in the main thread. `None` if something is wrong with it, which is in the log.
    #[must_use]
    pub fn new(
        handle: ConfigHandle<HttpFilter>,
        name: &[u8],
        document: &[u8],
    ) -> Option<Arc<Self>> {
        let name = String::from_utf8_lossy(name).into_owned();
        let label = if name == ONLY_GATEWAY { String::new() } else { name };
        let configuration = match configuration(document) {
            Ok(configuration) => Arc::new(configuration),
            Err(why) => {
                host::error(&format!("configuration refused: {why}"));
                return None;
            }
        };
        for warning in configuration.authentication.warnings() {
            host::warn(&format!("authenticationConfiguration: {warning}"));
        }
        let metrics = Mutex::new(metrics::Metrics::define(&handle, &label));
        let scheduler = handle.scheduler();
        let config = Arc::new(Self {
            label,
            names: configuration.metric_names(),
            configuration,
            handle,
            is_gone: AtomicBool::new(false),
            scheduler: Mutex::new(scheduler),
            posts: Mutex::default(),
            asked: Mutex::default(),
            under_way: Mutex::default(),
            metrics,
            reported: Mutex::default(),
            panics: AtomicI64::new(0),
            documents: Mutex::default(),
            published: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        });
        let gateway = gateway::local(&config);
        if let Some(gateway) = &gateway {
            config.inherit(gateway);
        }
        if gateway.is_some() && (host::only_validates() || ticker::add(&config)) {
            Some(config)
        } else {
            config.destroy();
            None
        }
    }

    /// Takes the documents of the configuration of this name that it replaces.
    fn inherit(&self, gateway: &Gateway) {
        let of_name = |known: &Arc<Self>| known.label == self.label;
        let before = ticker::configs().into_iter().rev().find(of_name);
        if let Some((documents, as_of)) = before.and_then(|it| it.documents()) {
            gateway.with(|worker| worker.inherit_documents(documents, as_of));
            self.publish(gateway);
        }
    }

    /// Envoy has let go of it: its last stream has ended. In any thread.
    pub fn destroy(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        lock(&self.scheduler).take();
        let mut metrics = lock(&self.metrics);
        for post in lock(&self.posts).iter() {
            metrics.report(&self.handle, lock(&post.metrics).take(&self.names, &self.label));
        }
        metrics.retire(&self.handle);
        drop(metrics);
        self.handle.close();
        // Whoever is told of it, is told without the locks.
        let asked = std::mem::take(&mut *lock(&self.asked));
        let under_way = std::mem::take(&mut *lock(&self.under_way));
        drop((asked, under_way));
        gateway::purge();
    }

    /// Whether Envoy has let go of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// The gateway's name in metrics; empty if it is the only one.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it says, for workers.
    #[must_use]
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// Opens a post for a worker.
    #[must_use]
    pub fn open_post(&self) -> Arc<Post> {
        let post = Arc::new(Post::default());
        post.use_at(host::now());
        lock(&self.posts).push(Arc::clone(&post));
        post
    }

    /// Has the main thread fetch an issuer's keys.
    pub fn want(&self, post: &Arc<Post>, wanted: (usize, Option<u64>)) {
        let asker = Asker::new(post);
        let mut asked = lock(&self.asked);
        if !asked.wanted.contains(&wanted) {
            asked.wanted.push(wanted);
        }
        asked.by.push(asker);
        drop(asked);
        self.wake();
    }

    /// Has the main thread make callouts, whose answers come to the post.
    pub fn call_for(&self, post: &Arc<Post>, callouts: Vec<Callout>) {
        let errands =
            callouts.into_iter().map(|callout| (Errand::new(post, callout.purpose), callout));
        lock(&self.asked).callouts.extend(errands);
        self.wake();
    }

    /// A panic has been caught. The thread's worker is not trusted any more.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        let _ = guard(|| gateway::forget(self));
    }

    /// Wakes the main thread and who waits. True if somebody does.
    pub fn tick(&self) -> bool {
        self.wake();
        // The stream by which a worker was woken may have ended before it could be.
        self.wake_lasting();
        self.wake_waiting()
    }

    /// How often the documents have been known to be the newest.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// The generation of the newest documents.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The newest documents and when they were known to be that.
    #[must_use]
    pub fn documents(&self) -> Option<(Arc<Documents>, Duration)> {
        lock(&self.documents).clone()
    }

    /// Has all workers take the documents that the main thread has asked for.
    fn publish(&self, gateway: &Gateway) {
        let Some((documents, as_of)) = gateway.with(|worker| worker.documents()) else { return };
        let generation = documents.generation;
        *lock(&self.documents) = Some((documents, as_of));
        self.published.fetch_add(1, Ordering::Release);
        if self.generation.swap(generation, Ordering::AcqRel) != generation {
            self.wake_lasting();
        }
    }

    /// Wakes the workers whose streams have not been held against the newest documents.
    fn wake_lasting(&self) {
        let generation = self.generation();
        for post in lock(&self.posts).iter() {
            if !post.was_judged_by(generation) {
                post.wake_lasting();
            }
        }
    }

    /// The main thread has been woken.
    pub fn scheduled(self: &Arc<Self>) {
        if self.is_gone() {
            return;
        }
        if let Some(gateway) = gateway::local(self) {
            self.advance(&gateway);
        }
    }

    /// Envoy has the response to a callout, in the main thread.
    pub fn answered<'a>(
        self: &Arc<Self>,
        number: u64,
        end: u32,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        chunks: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        let Some(under_way) = lock(&self.under_way).remove(&number) else { return };
        let UnderWay { purpose, end: deadline, errand } = under_way;
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::place("answered");
        let size = chunks.clone().fold(0, |size: usize, chunk| size.saturating_add(chunk.len()));
        let result = match host::fault(end, host::now() >= deadline) {
            Some(fault) => Err(fault),
            None if size > purpose.most_bytes() => Err(Fault::too_large(size)),
            None => Ok(Response::new(headers, chunks)),
        };
        if let Some(errand) = errand {
            errand.answer(result);
        } else if let Some(gateway) = gateway::local(self) {
            let result = result.as_ref().map(Response::borrow).map_err(Clone::clone);
            let (now, jitter) = (host::now(), host::jitter());
            let action = gateway.with(|worker| worker.answered(purpose, result, now, jitter));
            if let Some(action) = action {
                self.perform(&gateway, action);
            }
            if purpose == Purpose::Documents {
                self.publish(&gateway);
            }
            self.advance(&gateway);
        }
    }

    /// Brings everything forward that is the main thread's: callouts of workers, fetches, and what was counted.
    fn advance(&self, gateway: &Gateway) {
        let Asked { wanted, by, callouts } = std::mem::take(&mut *lock(&self.asked));
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::place("main");
        for (errand, callout) in callouts {
            match self.handle.call(&callout) {
                Ok(number) => self.expect(number, &callout, Some(errand)),
                Err(fault) => errand.answer(Err(fault)),
            }
        }
        let now = host::now();
        // A configuration that has been replaced does so too: streams of its own may have to end.
        if let Some(callout) = gateway.with(|worker| worker.poll_documents(now)) {
            self.perform(gateway, Action::Call(callout));
        }
        let actions = if wanted.is_empty() && self.is_superseded(now) {
            gateway.with(Worker::rest);
            Vec::new()
        } else {
            gateway.with(|worker| {
                worker.sync(now);
                worker.poll_keys(&wanted, now, host::jitter())
            })
        };
        for action in actions {
            self.perform(gateway, action);
        }
        drop(by);
        self.report(gateway);
        gateway::purge();
    }

    fn perform(&self, gateway: &Gateway, action: Action) {
        let mut next = Some(action);
        while let Some(action) = next.take() {
            match action {
                Action::Call(callout) => match self.handle.call(&callout) {
                    Ok(number) => self.expect(number, &callout, None),
                    Err(fault) => {
                        next = gateway.with(|worker| {
                            let (now, jitter) = (host::now(), host::jitter());
                            worker.answered(callout.purpose, Err(fault), now, jitter)
                        });
                    }
                },
                Action::Broadcast { issuer, error, skipped, alternates, .. } => {
                    match error {
                        None => host::info(&format!("issuer {issuer}: keys fetched")),
                        Some((cause, error)) => host::warn(&format!(
                            "issuer {issuer}: no keys fetched ({}): {error}",
                            cause.keyword()
                        )),
                    }
                    if alternates {
                        host::warn(&format!(
                            "issuer {issuer}: it publishes now one key set, now another: its replicas must share their keys"
                        ));
                    }
                    if !skipped.is_empty() {
                        let skipped = skipped.join(", ");
                        host::warn(&format!("issuer {issuer}: keys not used: {skipped}"));
                    }
                    // Those of other gateways too: they may share keys.
                    for config in ticker::configs() {
                        config.wake_waiting();
                    }
                }
            }
        }
    }

    /// The answer to a callout, by Envoy's number, is for this.
    fn expect(&self, number: u64, callout: &Callout, errand: Option<Errand>) {
        let end = host::now().saturating_add(callout.timeout);
        let under_way = UnderWay { purpose: callout.purpose, end, errand };
        lock(&self.under_way).insert(number, under_way);
    }

    fn report(&self, gateway: &Gateway) {
        let now = host::now();
        let mut reported = lock(&self.reported);
        if now.saturating_sub(*reported) < REPORTED_EVERY && now >= *reported {
            return;
        }
        *reported = now;
        let mut metrics = lock(&self.metrics);
        let panics = self.panics.swap(0, Ordering::Relaxed);
        if panics > 0 {
            let mut counted = Metrics::default();
            (0..panics).for_each(|_| counted.count(Metric::Panics, ["", ""]));
            metrics.report(&self.handle, counted.take(&[], &self.label));
        }
        metrics.report(&self.handle, gateway.with(Worker::take_metrics));
        // A worker that is gone has left its last counts.
        lock(&self.posts).retain(|post| {
            let is_gone = Arc::strong_count(post) == 1;
            metrics.report(&self.handle, lock(&post.metrics).take(&self.names, &self.label));
            !is_gone
        });
    }

    /// Whether a new configuration has taken this one's place and no request has come for so long: the streams that it still has need
    /// nothing of it. Another gateway of the same name looks the same from here. It then waits for keys that are due before it decides.
    fn is_superseded(&self, now: Duration) -> bool {
        let used = lock(&self.posts).iter().map(|post| post.used()).max();
        now.as_secs().saturating_sub(used.unwrap_or_default()) >= REST_AFTER.as_secs()
            && !ticker::is_youngest(self)
    }

    fn wake(&self) {
        if let Some(scheduler) = &*lock(&self.scheduler) {
            scheduler.commit();
        }
    }

    fn wake_waiting(&self) -> bool {
        lock(&self.posts).iter().fold(false, |waits, post| post.wake() | waits)
    }
}

fn configuration(document: &[u8]) -> Result<Configuration, String> {
    let mut configuration = Configuration::parse(document).map_err(|error| error.to_string())?;
    if !configuration.gateway.shared_secret.audience.is_empty() {
        let keys = shared_secrets().map_err(|why| format!("sharedSecret: {why}"))?;
        configuration.shared_keys = Some(keys);
    }
    Ok(configuration)
}

/// The keys. Not from the configuration: Envoy shows that to whoever may read it.
fn shared_secrets() -> Result<KeyRing, String> {
    let keys = std::env::var(SHARED_VARIABLE)
        .map_err(|_| format!("no {SHARED_VARIABLE} in the environment"))?;
    KeyRing::parse(keys.as_bytes()).map_err(|error| format!("{SHARED_VARIABLE}: {error}"))
}
