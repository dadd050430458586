//! Whether a login still has access, and which requests that last have to end.

use std::{sync::Arc, time::Duration};

use super::{Worker, decide::Request};
use crate::{
    access::{Documents, OpenStream, Person},
    callout::{Callout, CalloutResult},
    longrunning,
    metrics::Metric,
    refusal::Refusal,
};

impl Worker {
    /// Refuses who has no access any more. Of a request that lasts it gives what it is known by.
    pub(super) fn check_access(
        &self,
        request: Request<'_>,
        person: impl FnOnce() -> Person,
    ) -> Result<Option<OpenStream>, Refusal> {
        let Some(documents) = self.access.present(request.now)? else { return Ok(None) };
        let person = person();
        person.judge(documents, request.now)?;
        let head = request.head;
        Ok(longrunning::lasts(head.path, head.upgrade).then_some(OpenStream { person }))
    }

    /// Asks for newer documents, if it is time. For a worker that asks for itself, or for others.
    pub fn poll_documents(&mut self, now: Duration) -> Option<Callout> {
        self.access.poll(now)
    }

    /// The documents and when they were known to be the newest, for workers that do not ask themselves.
    #[must_use]
    pub fn documents(&self) -> Option<(Arc<Documents>, Duration)> {
        Some((Arc::clone(self.access.newest()?), self.access.as_of()?))
    }

    /// Takes the documents that another worker has asked for.
    pub fn take_documents(&mut self, documents: Arc<Documents>, as_of: Duration) {
        let generation = self.generation();
        self.access.take(documents, as_of);
        // They are told each second that nothing is new.
        if generation != self.generation() {
            self.take_grants();
        }
    }

    /// Takes the documents of the configuration that this one replaces: until its own have come, nobody would be let in. What changes
    /// meanwhile it learns by its first question.
    pub fn inherit_documents(&mut self, documents: Arc<Documents>, as_of: Duration) {
        if self.access.follows() {
            self.take_documents(documents, as_of);
        }
    }

    pub(super) fn documents_answered(&mut self, result: CalloutResult<'_>, now: Duration) {
        let generation = self.generation();
        if let Err(fault) = self.access.answered(result, now) {
            let cause = fault.cause.keyword();
            self.metrics.count(Metric::CalloutFailures, ["documents", cause]);
        } else if generation != self.generation() {
            self.take_grants();
        }
    }

    fn generation(&self) -> u64 {
        self.access.newest().map_or(0, |documents| documents.generation)
    }

    /// A request that lasts has gone upstream, under a number of the adapter's.
    pub fn opened(&mut self, stream: u32, open: OpenStream) {
        self.open.insert(stream, open);
    }

    /// It has ended.
    pub fn closed(&mut self, stream: u32) {
        self.open.remove(stream);
    }

    /// Whether requests last.
    #[must_use]
    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes out requests that last and have to end, at most so many, each with why. True if there are more.
    #[must_use]
    pub fn revoked(&mut self, now: Duration, most: usize) -> (Vec<(u32, Refusal)>, bool) {
        // Those that are too old go on to hold: who may not come in any more for that reason alone may stay.
        let Some(documents) = self.access.newest() else { return (Vec::new(), false) };
        let (revoked, more) = self.open.take_revoked(documents, now, most);
        for (_, revoked) in &revoked {
            self.metrics.count(Metric::StreamsRevoked, [revoked.by, ""]);
        }
        let revoked = revoked.into_iter().map(|(stream, why)| (stream, Refusal::Revoked(why)));
        (revoked.collect(), more)
    }
}
