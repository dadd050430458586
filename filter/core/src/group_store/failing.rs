//! Questions that come to nothing: for how long nobody is asked again, and who else is told.

use std::{rc::Rc, time::Duration};

use super::{
    Store, Surroundings,
    health::{Extent, Notice, holds},
    pending::{FAILURE, Pending, State},
};
use crate::{
    callout::Fault,
    groups::{Question, Source},
    lookups::LookupId,
};

impl Store {
    /// Why the source is not asked about this user now, and for how long it will not be.
    pub(super) fn failure(
        &mut self,
        source: usize,
        of: &Source,
        (id, question): (LookupId, &Question),
        around: Surroundings<'_>,
    ) -> Option<(Fault, Duration)> {
        let of_user = || match self.pending.get(&id) {
            Some(Pending { state: State::Failed(fault), deadline, .. }) => {
                Some((fault.clone(), *deadline)).filter(|(_, until)| holds(*until, around.now))
            }
            _ => None,
        };
        let of_user = of_user().or_else(|| self.learn((id, question), source, around));
        let (fault, until) = self.paused(source, of, around).or(of_user)?;
        Some((fault, until.saturating_sub(around.now)))
    }

    /// Why another worker's question about a user came to nothing a moment ago.
    fn learn(
        &mut self,
        (id, question): (LookupId, &Question),
        source: usize,
        around: Surroundings<'_>,
    ) -> Option<(Fault, Duration)> {
        let (fault, at) = self.places(around.shared).failed(id, FAILURE, around.now)?;
        self.health.get_mut(source)?.learned(question.who());
        Some((fault, at.saturating_add(FAILURE)))
    }

    /// Why a source is left alone, and until when.
    pub(super) fn paused(
        &mut self,
        source: usize,
        of: &Source,
        around: Surroundings<'_>,
    ) -> Option<(Fault, Duration)> {
        let key = self.notice(of);
        let notice = Notice { key: &key, shared: around.shared };
        self.health.get_mut(source)?.paused(&notice, around.now)
    }

    /// Where it is said that a source is left alone. With another configuration of it, it may be well.
    pub(super) fn notice(&self, of: &Source) -> String {
        let digest = of.digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
        format!("groups-pause/{}/{}/{digest:x}", self.gateway, of.name)
    }

    /// Takes note of a question that came to nothing. Gives until when nothing more is asked about this user.
    pub(super) fn note_failure(
        &mut self,
        (source, question): (usize, &Question),
        of: &Source,
        fault: &Fault,
        (extent, wish): (Extent, Option<Duration>),
        (id, lease): (LookupId, Option<Duration>),
        around: Surroundings<'_>,
    ) -> Duration {
        let Surroundings { shared, now, .. } = around;
        let key = self.notice(of);
        let notice = Notice { key: &key, shared };
        let mut paused = None;
        if let Some(health) = self.health.get_mut(source) {
            health.failed(question.who(), fault, (extent, wish), &notice, now);
            paused = health.paused(&notice, now).filter(|_| extent != Extent::User);
        }
        // What is the server's affair says nothing of the user, once the server is asked again.
        match lease {
            Some(lease) if paused.is_none() && extent == Extent::Unclear => {
                self.places(shared).fail(id, lease, fault, now);
            }
            _ => self.leave(id, lease, around),
        }
        paused.map_or(now.saturating_add(FAILURE), |(_, until)| until)
    }

    /// A question comes to nothing. If this worker has asked, others may now.
    pub(super) fn fail(
        &mut self,
        id: LookupId,
        fault: Fault,
        until: Duration,
        around: Surroundings<'_>,
    ) {
        let Some(Pending { source, lease, .. }) = self.pending.remove(&id) else { return };
        self.leave(id, lease, around);
        self.failed(id, source, fault, until);
    }

    pub(super) fn leave(&self, id: LookupId, lease: Option<Duration>, around: Surroundings<'_>) {
        if let Some(lease) = lease {
            self.places(around.shared).leave(id, lease);
        }
    }

    /// It came to nothing, which counts until then.
    pub(super) fn failed(&mut self, id: LookupId, source: usize, fault: Fault, until: Duration) {
        let (question, state) = (Rc::default(), State::Failed(fault));
        self.pending.insert(id, Pending { source, question, deadline: until, lease: None, state });
    }
}
