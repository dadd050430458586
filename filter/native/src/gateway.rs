//! One gateway in one thread: its worker, and the requests that wait there.
//!
//! The main thread has one, too. It decides on no request, but fetches the keys for all.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    access::OpenStream,
    decision::{Attempt, Wait},
    refusal::Refusal,
    worker::{Instance, Worker},
};

use crate::{
    config::Config,
    guard::{guard, release},
    host,
    post::Post,
    shared::{self, Store, lock},
    stream::{Progress, Stream},
    ticker,
    token_hash::GaloisHash,
    verifier::{Counts, NativeVerifier},
};

/// How many waiting requests one call answers: each is answered inside the call, and the other streams of the thread wait meanwhile.
const MOST_SETTLED: usize = 32;

/// How old what a worker knows of its issuers' keys may be, though nobody has written: those that were replaced end by the clock.
const SYNCED: Duration = Duration::from_secs(1);

thread_local! {
    static LOCAL: RefCell<Gateways> = const { RefCell::new(Gateways(Vec::new())) };
}

/// Those of a thread. Their end, with the thread's, must not panic: that would be the end of Envoy.
struct Gateways(Vec<Rc<Gateway>>);

impl Drop for Gateways {
    fn drop(&mut self) {
        release(std::mem::take(&mut self.0));
    }
}

/// A gateway whose configuration is valid, in one thread.
pub struct Gateway {
    config: Arc<Config>,
    post: Arc<Post>,
    counts: Counts,
    worker: RefCell<Worker>,
    waiting: RefCell<HashMap<u32, Rc<Stream>>>,
    /// Those that last, as long as Envoy has them.
    open: RefCell<HashMap<u32, Weak<Stream>>>,
    /// Which of the main thread's documents the worker has.
    followed: Cell<u64>,
    next: Cell<u32>,
    /// How often the store had been written to when the worker last read what is in it, and when that was.
    synced: Cell<(u64, Duration)>,
}

/// The gateway of this configuration in this thread; none if there can be none.
#[must_use]
pub fn local(config: &Arc<Config>) -> Option<Rc<Gateway>> {
    let is_this = |gateway: &&Rc<Gateway>| Arc::ptr_eq(&gateway.config, config);
    let known = LOCAL.with_borrow(|local| local.0.iter().find(is_this).cloned());
    if known.is_some() {
        return known;
    }
    purge();
    match Gateway::new(config) {
        Ok(gateway) => {
            let gateway = Rc::new(gateway);
            LOCAL.with_borrow_mut(|local| local.0.push(Rc::clone(&gateway)));
            Some(gateway)
        }
        Err(why) => {
            host::error(&format!("no worker: {why}"));
            None
        }
    }
}

/// Lets go of the gateways of this thread whose configuration is gone. Streams that are left keep theirs.
pub fn purge() {
    let is_gone = |gateway: &mut Rc<Gateway>| gateway.config.is_gone();
    let gone: Vec<_> = LOCAL.with_borrow_mut(|local| local.0.extract_if(.., is_gone).collect());
    release(gone);
}

/// Has this thread begin anew with this configuration: after a panic nobody knows how whole its worker is. Requests that wait keep it.
pub fn forget(config: &Config) {
    let is_this = |gateway: &mut Rc<Gateway>| std::ptr::eq(Arc::as_ptr(&gateway.config), config);
    let forgotten: Vec<_> =
        LOCAL.with_borrow_mut(|local| local.0.extract_if(.., is_this).collect());
    release(forgotten);
}

impl Gateway {
    fn new(config: &Arc<Config>) -> Result<Self, String> {
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::place("worker");
        let configuration = Arc::clone(config.configuration());
        let secret = || host::secret().map_err(|error| format!("no randomness: {error}"));
        let hash = GaloisHash::new(secret()?).ok_or("AWS-LC refused a key")?;
        let instance = Instance::new(host::random(), config.label().to_owned(), secret()?);
        let instance = Instance { tokens: Rc::new(hash), ..instance };
        let post = config.open_post();
        let counts = Counts::default();
        let verifier = Box::new(NativeVerifier::new(counts.clone()));
        let worker = Worker::new(instance, verifier, configuration, Rc::new(Store));
        let (worker, waiting) = (RefCell::new(worker), RefCell::default());
        let (config, next, synced) = (Arc::clone(config), Cell::new(0), Cell::default());
        let (open, followed) = (RefCell::default(), Cell::new(0));
        Ok(Self { config, post, counts, worker, waiting, open, followed, next, synced })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Notes that a request has come.
    pub fn use_at(&self, now: Duration) {
        self.post.use_at(now);
    }

    /// Runs `f` with the worker. `f` must call nothing of Envoy's that could call back into the module.
    pub fn with<R>(&self, f: impl FnOnce(&mut Worker) -> R) -> R {
        f(&mut self.worker.borrow_mut())
    }

    /// Lets a stream wait. `Err` with the refusal if it may not.
    pub fn wait(
        &self,
        stream: &Rc<Stream>,
        wait: Wait,
        attempt: Attempt,
        now: Duration,
    ) -> Result<(), Refusal> {
        let scheduler = stream.filter().scheduler().ok_or(Refusal::Host)?;
        let id = self.next_id(&self.waiting.borrow());
        let wanted = match &wait {
            Wait::Keys { issuer, newer_than } => Some((*issuer, *newer_than)),
            Wait::Reviews(_)
            | Wait::Groups(_)
            | Wait::GroupSource(_)
            | Wait::Introspection { .. } => None,
        };
        self.with(|worker| worker.wait(id, wait, attempt, now))?;
        stream.waits_as(Some(id));
        self.waiting.borrow_mut().insert(id, Rc::clone(stream));
        self.post.wait(id, scheduler);
        if let Some(wanted) = wanted {
            self.config.want(&self.post, wanted);
        }
        self.send_lookups();
        ticker::hurry();
        Ok(())
    }

    /// A stream is gone that waited.
    pub fn give_up(&self, id: u32) {
        let stream = self.waiting.borrow_mut().remove(&id);
        self.post.end_wait(id);
        // No stream is left that would have it looked at: it would count as waiting, and fill the limit, until others wait.
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.give_up(id);
        }
        drop(stream);
    }

    /// A stream has gone upstream that lasts. `Err` with the refusal if it could not be ended: then it must not go on.
    pub fn opened(&self, stream: &Rc<Stream>, open: OpenStream) -> Result<(), Refusal> {
        let scheduler = stream.filter().scheduler().ok_or(Refusal::Host)?;
        let id = self.next_id(&self.open.borrow());
        self.with(|worker| worker.opened(id, open));
        stream.lasts_as(Some(id));
        self.open.borrow_mut().insert(id, Rc::downgrade(stream));
        self.post.lasts(id, scheduler);
        Ok(())
    }

    /// A stream is gone that lasted.
    pub fn closed(&self, id: u32) {
        self.open.borrow_mut().remove(&id);
        self.post.end_last(id);
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.closed(id);
        }
    }

    /// Takes the documents that the main thread has, and ends what they end.
    fn follow(&self) {
        let published = self.config.published();
        if self.followed.replace(published) != published
            && let Some((documents, as_of)) = self.config.documents()
        {
            self.with(|worker| worker.take_documents(documents, as_of));
        }
    }

    /// Ends streams whose users have no access any more.
    fn end_revoked(&self) {
        let generation = self.with(|worker| worker.documents());
        let generation = generation.map_or(0, |(documents, _)| documents.generation);
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::place("revoked");
        let (revoked, more) = self.with(|worker| worker.revoked(host::now(), MOST_SETTLED));
        for (id, refusal) in revoked {
            let stream = self.open.borrow_mut().remove(&id).and_then(|stream| stream.upgrade());
            self.post.end_last(id);
            let Some(stream) = stream else { continue };
            stream.lasts_as(None);
            if guard(|| stream.end(&refusal)).is_none() {
                stream.panicked();
            }
        }
        if more {
            self.post.wake_lasting();
        } else {
            self.post.has_judged(generation);
        }
    }

    /// Brings everything forward that can go forward: lookups that were answered, the requests that waited for them or for keys, and
    /// what has to end. False if the worker met a panic, upon which all that it was about has been refused. Panics itself no more.
    #[must_use]
    pub fn advance(&self) -> bool {
        let settled = guard(|| self.go_forward()).is_some();
        if !settled {
            self.refuse_waiting();
        }
        let judged = guard(|| {
            self.follow();
            self.end_revoked();
        });
        if judged.is_none() {
            self.end_open();
        }
        let counted = guard(|| self.hand_metrics()).is_some();
        let is_whole = settled && judged.is_some() && counted;
        if !is_whole {
            self.config.panicked();
        }
        is_whole
    }

    /// Refuses all that wait: nobody knows what the worker still knows of them, and so whether they would ever be decided on.
    fn refuse_waiting(&self) {
        for stream in self.waiting.take().into_values() {
            stream.fail();
            release(stream);
        }
    }

    /// Ends all that last: nobody knows any more whose access has ended.
    fn end_open(&self) {
        for (id, stream) in self.open.take() {
            self.post.end_last(id);
            let Some(stream) = stream.upgrade() else { continue };
            stream.lasts_as(None);
            stream.fail();
            release(stream);
        }
    }

    fn go_forward(&self) {
        let now = host::now();
        for (purpose, result) in self.post.take_answers() {
            let result = result.as_ref().map(|response| response.borrow()).map_err(Clone::clone);
            // A worker that does not fetch keys has no more to do with an answer.
            let _ = self.with(|worker| worker.answered(purpose, result, now, host::jitter()));
        }
        self.with(|worker| worker.sync(now));
        self.send_lookups();
        // What was asked of the main thread must have begun: else nobody seems to fetch, and whoever waits for that is refused.
        if !self.post.is_asking() && self.settle() {
            self.post.wake();
        }
    }

    /// Takes in what has happened since the last request of this thread, which has no tick of its own: answers that came when nobody waited
    /// any more, and keys that came or went. Else what was verified by a key that is gone would be good for as long as it is cached.
    ///
    /// False if the worker met a panic.
    #[must_use]
    pub fn catch_up(&self) -> bool {
        if self.post.has_answers() && !self.advance() {
            return false;
        }
        self.follow();
        let (now, written) = (host::now(), shared::written());
        let (known, since) = self.synced.get();
        if known != written || now.saturating_sub(since) >= SYNCED {
            self.synced.set((written, now));
            self.with(|worker| worker.sync(now));
        }
        true
    }

    /// Hands on what was counted.
    pub fn hand_metrics(&self) {
        let mut sink = lock(&self.post.metrics);
        self.with(|worker| worker.move_metrics(&mut sink));
        self.counts.move_into(&mut sink);
    }

    /// Sends what the last decision has started without letting its request wait: groups are asked for again before their time is over.
    pub fn send_refreshes(&self) {
        if self.with(|worker| worker.has_due_groups(host::now())) {
            self.send_lookups();
        }
    }

    fn send_lookups(&self) {
        let lookups = self.with(|worker| worker.poll_lookups(host::now()));
        if !lookups.is_empty() {
            self.config.call_for(&self.post, lookups);
        }
    }

    /// Decides on requests that need wait no longer. True if there is more to do.
    fn settle(&self) -> bool {
        let (settled, mut again) = self.with(|worker| worker.settled(host::now(), MOST_SETTLED));
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::place("settled");
        for waiter in settled {
            // The stream may be gone: its client went away, or Envoy's own timers ended it.
            let Some(stream) = self.waiting.borrow_mut().remove(&waiter.stream) else { continue };
            self.post.end_wait(waiter.stream);
            stream.waits_as(None);
            match guard(|| stream.decide(self, waiter.attempt, false)) {
                Some(Progress::Forward) => stream.filter().continue_decoding(),
                Some(Progress::Answered) => {}
                // First the keys, then the reviews.
                Some(Progress::Waiting) => again = true,
                None => stream.panicked(),
            }
        }
        again
    }

    fn next_id<T>(&self, taken: &HashMap<u32, T>) -> u32 {
        loop {
            let id = self.next.get();
            self.next.set(id.wrapping_add(1));
            if !taken.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may be the end of a hook that panics already.
        let _ = guard(|| {
            #[cfg(any(test, feature = "mock"))]
            crate::guard::on_demand::place("end");
            if let Ok(mut worker) = self.worker.try_borrow_mut() {
                // What it has of summed gauges, its configuration takes back, or the one of its thread's next worker.
                let mut sink = lock(&self.post.metrics);
                worker.release();
                worker.move_metrics(&mut sink);
            }
        });
    }
}
