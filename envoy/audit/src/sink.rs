//! Where events go: a file that is rotated, or a webhook.

mod file;
pub(crate) mod webhook;

pub use file::{File, FileOptions, Format};
pub use webhook::{Throttle, Webhook, WebhookOptions};

use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::Event;

/// Takes events. It must not block for long.
pub trait EventSink: Send {
    /// Takes events. What cannot be put out is counted.
    fn take(&mut self, events: &[Event]);

    /// Puts out what is held back, as far as a few seconds allow.
    fn flush(&mut self);
}

/// What has become of events.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Events that were put out.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Events that were lost: there was no room, or the other side never took them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn count(&self, events: usize, written: bool) {
        let counter = if written { &self.written } else { &self.dropped };
        counter.fetch_add(events as u64, Ordering::Relaxed);
    }
}
