//! Events to a webhook, in batches, as kube-apiserver sends them (`--audit-webhook-*`).
//!
//! Sources: k8s.io/apiserver, `plugin/pkg/audit/webhook` and `plugin/pkg/audit/buffered`. A batch is sent again with growing
//! pauses, whatever the failure, and given up after [`TRIES`]; meanwhile events are held back up to the buffer's size, and
//! those beyond it are dropped and counted.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gateway_client::Remote;
use serde_json::{Value, json};

use super::{Counts, EventSink};
use crate::event::Event;

/// `webhook.DefaultRetryBackoffWithInitialDelay`
const TRIES: u32 = 5;
const FACTOR: f64 = 1.5;
/// How long one request may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a flush may take.
const FLUSH: Duration = Duration::from_secs(5);

/// How events are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookOptions {
    /// Events that are held back; those beyond are dropped.
    pub buffer_size: usize,
    /// Events in a batch.
    pub max_batch_size: usize,
    /// How long a batch waits to be full.
    pub max_batch_wait: Duration,
    /// The pause before the second try.
    pub initial_backoff: Duration,
    /// Batches in a time.
    pub throttle: Option<Throttle>,
    /// Bytes that one event may have; a longer one is cut. `None` for any.
    pub max_event_bytes: Option<usize>,
    /// Bytes that a batch may have; `None` for any.
    pub max_batch_bytes: Option<usize>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Batches a second.
    pub qps: f64,
    /// Batches at once.
    pub burst: u32,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            buffer_size: 10_000,
            max_batch_size: 400,
            max_batch_wait: Duration::from_secs(30),
            initial_backoff: Duration::from_secs(10),
            throttle: Some(Throttle { qps: 10.0, burst: 15 }),
            max_event_bytes: None,
            max_batch_bytes: None,
        }
    }
}

/// A sink to a webhook: a thread of its own sends.
pub struct Webhook {
    events: Option<SyncSender<Message>>,
    sender: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
    max_event_bytes: usize,
}

enum Message {
    Event(Value),
    /// Send what there is, and say when.
    Flush(SyncSender<()>),
}

impl Webhook {
    /// Starts the thread.
    #[must_use]
    pub fn start(target: Remote, options: WebhookOptions) -> Self {
        let (events, received) = sync_channel(options.buffer_size.max(1));
        let counts = Arc::<Counts>::default();
        let max_event_bytes = options.max_event_bytes.unwrap_or(usize::MAX);
        let mut sender = Sender::new(target, options, Arc::clone(&counts));
        let thread = thread::spawn(move || sender.run(&received));
        Self { events: Some(events), sender: Some(thread), counts, max_event_bytes }
    }

    /// What has become of events.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

impl EventSink for Webhook {
    fn take(&mut self, events: &[Event]) {
        let Some(sender) = &self.events else { return };
        for event in events {
            let event = event.within(self.max_event_bytes);
            let value = event.and_then(|event| serde_json::to_value(event).ok());
            if value.is_none_or(|value| sender.try_send(Message::Event(value)).is_err()) {
                self.counts.count(1, false);
            }
        }
    }

    fn flush(&mut self) {
        let Some(sender) = &self.events else { return };
        let (done, is_done) = sync_channel(1);
        if sender.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH);
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.flush();
        // The thread ends by this; one that is in the middle of its tries is not waited for.
        drop(self.events.take());
        if self.sender.as_ref().is_some_and(JoinHandle::is_finished) {
            let _ = self.sender.take().map(JoinHandle::join);
        }
    }
}

struct Sender {
    target: Remote,
    options: WebhookOptions,
    counts: Arc<Counts>,
    bucket: Bucket,
}

impl Sender {
    fn new(target: Remote, options: WebhookOptions, counts: Arc<Counts>) -> Self {
        let bucket = Bucket::new(options.throttle);
        Self { target, options, counts, bucket }
    }

    fn run(&mut self, received: &Receiver<Message>) {
        loop {
            let (batch, next) = self.collect(received);
            if !batch.is_empty() {
                self.send(&batch);
            }
            match next {
                Next::More => {}
                Next::Flushed(done) => drop(done.send(())),
                Next::End => return,
            }
        }
    }

    /// A batch: full, or all that came in the time.
    fn collect(&self, received: &Receiver<Message>) -> (Vec<Value>, Next) {
        let mut batch = Vec::new();
        let end = Instant::now() + self.options.max_batch_wait;
        while batch.len() < self.options.max_batch_size.max(1) {
            match received.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Message::Event(event)) => batch.push(event),
                Ok(Message::Flush(done)) => return (batch, Next::Flushed(done)),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return (batch, Next::End),
            }
        }
        (batch, Next::More)
    }

    fn send(&mut self, batch: &[Value]) {
        let mut rest = batch;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.fitting(rest));
            self.bucket.take();
            self.counts.count(now.len(), self.try_often(now));
            rest = later;
        }
    }

    /// How many of the events fit into one batch; at least one.
    fn fitting(&self, events: &[Value]) -> usize {
        let Some(most) = self.options.max_batch_bytes else { return events.len() };
        let mut bytes = 0;
        let fitting = events.iter().take_while(|event| {
            bytes += event.to_string().len();
            bytes <= most
        });
        fitting.count().max(1)
    }

    fn try_often(&self, events: &[Value]) -> bool {
        let body = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
        let body = body.to_string();
        let mut pause = self.options.initial_backoff;
        for last in (0..TRIES).map(|number| number + 1 == TRIES) {
            if self.target.post(&body).is_ok() {
                return true;
            }
            if !last {
                thread::sleep(pause);
                pause = pause.mul_f64(FACTOR);
            }
        }
        false
    }
}

enum Next {
    More,
    Flushed(SyncSender<()>),
    End,
}

/// When the next batch may go.
struct Bucket {
    throttle: Option<Throttle>,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(throttle: Option<Throttle>) -> Self {
        let throttle = throttle.filter(|it| it.qps > 0.0);
        Self {
            tokens: throttle.map_or(0.0, |it| it.burst.max(1).into()),
            throttle,
            at: Instant::now(),
        }
    }

    fn take(&mut self) {
        let Some(Throttle { qps, burst }) = self.throttle else { return };
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * qps;
        self.tokens = (self.tokens + gained).min(burst.max(1).into()) - 1.0;
        self.at = now;
        if self.tokens < 0.0 {
            thread::sleep(Duration::from_secs_f64(-self.tokens / qps));
        }
    }
}

#[cfg(test)]
mod tests;
