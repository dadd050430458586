//! Raw lines in, events out.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;

use crate::rawlog::{RawLine, Sink};
use crate::{expand::Expander, policy::Policy, record::Record, sink::EventSink};

/// A policy and the sinks of its events.
pub struct Pipeline {
    expander: Expander,
    sinks: Vec<Box<dyn EventSink>>,
    unread: Arc<AtomicU64>,
    truncated: Arc<AtomicU64>,
}

impl Pipeline {
    /// Hands the events that the policy wants to every sink.
    #[must_use]
    pub fn new(policy: Policy, sinks: Vec<Box<dyn EventSink>>) -> Self {
        Self {
            expander: Expander::new(policy),
            sinks,
            unread: Arc::default(),
            truncated: Arc::default(),
        }
    }

    /// How many lines could not be read: they gave no event.
    #[must_use]
    pub fn unread(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unread)
    }

    /// How many events were cut, because a client had made something of them too long.
    #[must_use]
    pub fn truncated(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.truncated)
    }
}

impl Sink for Pipeline {
    fn take(&mut self, line: RawLine<'_>) {
        let record = if line.is_whole() {
            Record::parse(line.bytes())
        } else {
            Record::salvage(line.bytes(), Timestamp::now())
        };
        let Ok(record) = record else {
            self.unread.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let events = self.expander.expand(&record);
        let cut = events.iter().filter(|event| !event.truncated().is_empty()).count();
        self.truncated.fetch_add(cut as u64, Ordering::Relaxed);
        if !events.is_empty() {
            for sink in &mut self.sinks {
                sink.take(&events);
            }
        }
    }

    fn flush(&mut self) {
        for sink in &mut self.sinks {
            sink.flush();
        }
    }
}
