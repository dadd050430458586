//! What other threads leave for one worker, and what it has asked of the main thread.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use gateway_core::{
    callout::{self, Fault, Purpose},
    metrics::Metrics,
};

use crate::{host::StreamScheduler, shared::lock};

/// Where other threads leave something for one worker, and how they wake it.
#[derive(Default)]
pub struct Post {
    /// What was counted.
    pub metrics: Mutex<Metrics>,
    answers: Mutex<Vec<(Purpose, Result<Response, Fault>)>>,
    has_answers: AtomicBool,
    /// The second of the epoch in which the worker last had a request.
    used: AtomicU64,
    /// For how many of its questions to the main thread nothing has been done yet.
    asking: AtomicUsize,
    waiting: Mutex<BTreeMap<u32, StreamScheduler>>,
    /// The worker's streams that last.
    lasting: Mutex<BTreeMap<u32, StreamScheduler>>,
    /// The generation of documents that these have been held against.
    judged: AtomicU64,
}

/// The response to a callout.
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    /// The response of these headers and parts.
    pub fn new<'a>(
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        chunks: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Self {
        let headers: Vec<_> = headers
            .filter_map(|(name, value)| {
                Some((std::str::from_utf8(name).ok()?.to_owned(), value.to_vec()))
            })
            .collect();
        let status = headers
            .iter()
            .find(|(name, _)| name == ":status")
            .and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok())
            .unwrap_or(0);
        let size = chunks.clone().fold(0, |size: usize, chunk| size.saturating_add(chunk.len()));
        let body = chunks.fold(Vec::with_capacity(size), |mut body, chunk| {
            body.extend_from_slice(chunk);
            body
        });
        Self { status, headers, body }
    }

    /// As core takes it.
    #[must_use]
    pub fn borrow(&self) -> callout::Response<'_> {
        let Self { status, headers, body } = self;
        callout::Response { status: *status, headers, body }
    }
}

impl Post {
    /// Lets a stream of the worker be the one that is woken for it.
    pub fn wait(&self, id: u32, scheduler: StreamScheduler) {
        lock(&self.waiting).insert(id, scheduler);
    }

    /// The stream waits no longer.
    pub fn end_wait(&self, id: u32) {
        let scheduler = lock(&self.waiting).remove(&id);
        drop(scheduler);
    }

    /// Wakes the worker, by one of its streams that wait. False if none does: then there is nothing to wake it for.
    pub fn wake(&self) -> bool {
        // Under the lock: so none is in use that the worker deletes.
        match lock(&self.waiting).first_key_value() {
            Some((_, scheduler)) => {
                scheduler.commit();
                true
            }
            None => false,
        }
    }

    /// Lets a stream of the worker be one that is woken when what it lasts by may have ended.
    pub fn lasts(&self, id: u32, scheduler: StreamScheduler) {
        lock(&self.lasting).insert(id, scheduler);
    }

    /// The stream lasts no longer.
    pub fn end_last(&self, id: u32) {
        let scheduler = lock(&self.lasting).remove(&id);
        drop(scheduler);
    }

    /// Wakes the worker by one of its streams that last.
    pub fn wake_lasting(&self) {
        // Under the lock, as above.
        if let Some((_, scheduler)) = lock(&self.lasting).first_key_value() {
            scheduler.commit();
        }
    }

    /// The worker's streams have been held against the documents of this generation.
    pub fn has_judged(&self, generation: u64) {
        self.judged.store(generation, Ordering::Release);
    }

    /// Whether they have.
    #[must_use]
    pub fn was_judged_by(&self, generation: u64) -> bool {
        self.judged.load(Ordering::Acquire) == generation
    }

    /// The second of the epoch in which the worker last had a request.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes that the worker has a request.
    pub fn use_at(&self, now: Duration) {
        self.used.store(now.as_secs(), Ordering::Relaxed);
    }

    /// Whether the main thread has not begun yet with what the worker asked for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Acquire) > 0
    }

    /// Whether there are answers.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.has_answers.load(Ordering::Acquire)
    }

    /// Takes out the answers that have come.
    #[must_use]
    pub fn take_answers(&self) -> Vec<(Purpose, Result<Response, Fault>)> {
        if !self.has_answers.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *lock(&self.answers))
    }

    fn answer(&self, purpose: Purpose, result: Result<Response, Fault>) {
        lock(&self.answers).push((purpose, result));
        self.has_answers.store(true, Ordering::Release);
        self.wake();
    }
}

/// A worker that has asked for keys. It is told once somebody has begun with it, or will not: after a panic, too.
pub struct Asker(Arc<Post>);

impl Asker {
    /// The worker of this post asks.
    #[must_use]
    pub fn new(post: &Arc<Post>) -> Self {
        post.asking.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(post))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::AcqRel);
        self.0.wake();
    }
}

/// A callout for a worker, which is answered whatever becomes of it: else requests would wait for it until their clients go.
pub struct Errand {
    post: Arc<Post>,
    /// None once it has been answered.
    purpose: Option<Purpose>,
}

impl Errand {
    /// One for the worker of this post.
    #[must_use]
    pub fn new(post: &Arc<Post>, purpose: Purpose) -> Self {
        Self { post: Arc::clone(post), purpose: Some(purpose) }
    }

    /// It has an answer.
    pub fn answer(mut self, result: Result<Response, Fault>) {
        if let Some(purpose) = self.purpose.take() {
            self.post.answer(purpose, result);
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(purpose) = self.purpose.take() {
            self.post.answer(purpose, Err(Fault::broken_off()));
        }
    }
}
