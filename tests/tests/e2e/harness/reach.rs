//! What of a test's requests reached the API server, by its audit log.

use std::sync::atomic::{AtomicUsize, Ordering};

use sandbox::audit::{Event, Mark, Stage};

use super::{LIMIT, cluster};

static PROBES: AtomicUsize = AtomicUsize::new(0);

/// A path that no other test asks for, and what the API server saw of it since.
pub struct Probe {
    mark: Mark,
    word: String,
}

impl Probe {
    /// A new one; the log is read from here on.
    pub fn new() -> Self {
        let word = format!("probe={}.", PROBES.fetch_add(1, Ordering::Relaxed));
        Self { mark: cluster().audit().mark().unwrap(), word }
    }

    /// A path that every authenticated user may get, with a query that only this probe has.
    pub fn path(&self) -> String {
        format!("/version?{}", self.word)
    }

    /// What marks a request's target as this probe's: a parameter for its query.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Every event of a request with this probe's mark in its target. Requests that were answered before this call are
    /// in it.
    pub fn reached(&self) -> Vec<Event> {
        let events = cluster().audit().since(self.mark).unwrap();
        events.into_iter().filter(|event| event.request_uri.contains(&self.word)).collect()
    }

    /// Asserts that nothing with this probe's mark came to the API server, by whatever credential.
    #[track_caller]
    pub fn assert_untouched(&self) {
        let reached = self.reached();
        assert!(reached.is_empty(), "it reached the API server: {reached:#?}");
    }

    /// The last event of the first request with this probe's mark, as soon as it is there.
    #[track_caller]
    pub fn completed(&self) -> Event {
        let wanted = |event: &Event| {
            event.request_uri.contains(&self.word) && event.stage == Stage::ResponseComplete
        };
        cluster().audit().wait_for(self.mark, LIMIT, wanted).unwrap()
    }
}
