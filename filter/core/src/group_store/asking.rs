//! Questions under way: when each has its turn, what comes of it, and what another worker asks.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use super::{
    Entry, Outcome, Store, Surroundings,
    answer::{self, Progress},
    health::{Extent, FIRST_PAUSE, Health, Notice, extent, holds, wish},
    pace::Pace,
    pending::{Pending, State},
};
use crate::{
    callout::{self, Callout, CalloutResult, Cause, Fault, Purpose},
    groups::{Question, Source},
    keys::SharedStore,
    lookups::LookupId,
};

/// Questions that are under way at once, or came to nothing a moment ago, for each worker. All sources share them: what one that is slow
/// holds up takes nothing from the others.
const MOST_PENDING: usize = 4096;
/// So many a source has in any case.
const LEAST_PENDING: usize = 512;
/// For how long the others wait for a page.
const PAGE: Duration = Duration::from_secs(10);
/// How often it is looked whether another worker has an answer.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After which time beyond its own a call counts as lost of which the host says nothing.
const GRACE: Duration = Duration::from_secs(1);

impl Store {
    /// Which source a question under way is for.
    pub(crate) fn source(&self, id: LookupId) -> Option<usize> {
        self.pending.get(&id).map(|pending| pending.source)
    }

    /// How long an answer may take, all in all: one that is older than its lifetime is of no use.
    fn time(&self, of: &Source) -> Duration {
        Duration::from_secs(of.policy.timeout_seconds.into()).min(self.lifetime())
    }

    pub(super) fn start(
        &mut self,
        id: LookupId,
        source: usize,
        of: &Source,
        question: Rc<Question>,
        may_wait: &dyn Fn() -> bool,
        around: Surroundings<'_>,
    ) -> Result<(), Fault> {
        let Surroundings { shared, now, .. } = around;
        let sources = self.health.len().max(1);
        let most = MOST_PENDING.checked_div(sources).unwrap_or_default().max(LEAST_PENDING);
        if self.pending.values().filter(|pending| pending.source == source).count() >= most {
            return Err(Fault::new(Cause::Overflow, "too many questions are under way"));
        }
        let time = self.time(of);
        let deadline = now.saturating_add(time);
        // Half of it is for anybody's turn. Who may wait longer leaves a quarter for the answer.
        let quarter = time.checked_div(4).unwrap_or_default();
        let half = time.checked_div(2).unwrap_or_default();
        let longest = half.saturating_add(quarter);
        // Others wait for the turn and an answer, and are told if it takes longer.
        let lease = deadline.min(now.saturating_add(longest.max(PAGE)));
        let fresh = self.refresh_age();
        let places = self.places(shared);
        let is_own = places.take(id, lease, now, fresh);
        let state = if is_own {
            let turn_by = now.saturating_add(if may_wait() { longest } else { half });
            let Some(turn) = self.pace(of, shared, |pace| pace.take(now, turn_by)) else {
                places.leave(id, lease);
                return Err(too_many_wait());
            };
            let paths = vec![question.path.clone()];
            let progress = Progress { paths, turn_by, ..Progress::default() };
            if let Some(health) = self.health.get_mut(source) {
                health.add_turn(turn);
            }
            State::Queued(progress)
        } else {
            match places.young(id, fresh, now) {
                Some((groups, at)) => {
                    self.keep(id, Entry { groups, at, source, question });
                    return Ok(());
                }
                None => State::Elsewhere,
            }
        };
        let lease = is_own.then_some(lease);
        self.pending.insert(id, Pending { source, question, deadline, lease, state });
        Ok(())
    }

    /// Up to which age another worker's answer is as good as one's own.
    fn refresh_age(&self) -> Duration {
        self.lifetime().checked_div(4).unwrap_or_default().saturating_mul(3)
    }

    fn pace<R>(&self, of: &Source, shared: &dyn SharedStore, f: impl FnOnce(Pace<'_>) -> R) -> R {
        let key = format!("groups-pace/{}/{}", self.gateway, of.name);
        f(Pace { key: &key, per_second: of.policy.requests_per_second, shared })
    }

    /// Whether there is something to [`Self::poll`]: questions may go on for users for whom no request waits.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        !self.pending.is_empty()
            && (self.is_time_to_look(now) || self.health.iter().any(|health| health.has_turn(now)))
    }

    fn is_time_to_look(&self, now: Duration) -> bool {
        // Also if the clock was put back.
        now.checked_sub(self.looked).is_none_or(|age| age >= LOOK_EVERY)
    }

    /// The calls that are due. `cluster` is that of a source.
    pub fn poll(
        &mut self,
        around: Surroundings<'_>,
        cluster: impl Fn(&Source) -> String,
    ) -> Vec<Callout> {
        let now = around.now;
        self.expire(around);
        if self.is_time_to_look(now) {
            self.looked = now;
            for id in self.pending_in(|state| matches!(state, State::Elsewhere)) {
                self.look_elsewhere(id, around);
            }
        }
        self.hold_back(around);
        let mut callouts = Vec::new();
        for id in self.due(now) {
            let Some(mut pending) = self.pending.remove(&id) else { continue };
            let Some(of) = around.sources.get(pending.source) else { continue };
            let State::Queued(mut progress) = pending.state else { continue };
            progress.since.get_or_insert(now);
            // The host says a moment after its time that an answer did not come: until then it is not for another worker to ask.
            let told_by = pending.deadline.saturating_add(GRACE);
            let until = told_by.min(now.saturating_add(PAGE));
            let extend = |lease| self.places(around.shared).extend(id, lease, until);
            pending.lease = pending.lease.and_then(extend);
            callouts.push(Callout {
                purpose: Purpose::GroupSource(id),
                cluster: cluster(of),
                authority: of.authority.clone(),
                path: progress.paths.last().cloned().unwrap_or_default(),
                authorization: pending.question.authorization.clone(),
                traceparent: None,
                body: pending.question.body.clone().map(String::into_bytes),
                timeout: pending.deadline.saturating_sub(now).max(Duration::from_millis(1)),
            });
            pending.state = State::Sent(progress);
            self.pending.insert(id, pending);
        }
        callouts
    }

    fn pending_in(&self, is: impl Fn(&State) -> bool) -> Vec<LookupId> {
        let of_state = self.pending.iter().filter(|(_, pending)| is(&pending.state));
        of_state.map(|(id, _)| *id).collect()
    }

    /// The questions whose turn it is. Those whose first pages are read go first: else a queue would be full of beginnings of which none
    /// comes to an end.
    fn due(&mut self, now: Duration) -> Vec<LookupId> {
        let turns = self.health.iter_mut().map(|health| health.take_turns(now));
        let mut turns: Vec<_> = turns.collect();
        if turns.iter().all(|number| *number == 0) {
            return Vec::new();
        }
        let queued = self.pending.iter().filter_map(|(id, pending)| match &pending.state {
            State::Queued(progress) => {
                Some((progress.since.is_none(), pending.deadline, *id, pending.source))
            }
            _ => None,
        });
        let mut queued: Vec<_> = queued.collect();
        queued.sort_unstable();
        queued.retain(|(.., source)| {
            let left = turns.get_mut(*source).and_then(|left| {
                *left = left.checked_sub(1)?;
                Some(())
            });
            left.is_some()
        });
        queued.into_iter().map(|(_, _, id, _)| id).collect()
    }

    /// Gives up what is queued for a source that is left alone.
    fn hold_back(&mut self, around: Surroundings<'_>) {
        for source in 0..self.health.len() {
            let Some(of) = around.sources.get(source) else { continue };
            if !self.health.get(source).is_some_and(Health::has_turns) {
                continue;
            }
            let Some((fault, until)) = self.paused(source, of, around) else { continue };
            if let Some(health) = self.health.get_mut(source) {
                health.drop_turns();
            }
            self.pace(of, around.shared, |pace| pace.reset(around.now));
            for id in self.pending_in(|state| matches!(state, State::Queued(_))) {
                if self.pending.get(&id).is_some_and(|pending| pending.source == source) {
                    self.fail(id, fault.clone(), until, around);
                }
            }
        }
    }

    /// Looks whether another worker has the answer by now, or will not have it.
    fn look_elsewhere(&mut self, id: LookupId, around: Surroundings<'_>) {
        let places = self.places(around.shared);
        let answer = places.young(id, self.refresh_age(), around.now);
        if answer.is_none() && places.is_asked(id, around.now) {
            return;
        }
        let Some(Pending { source, question, deadline, .. }) = self.pending.remove(&id) else {
            return;
        };
        if let Some((groups, at)) = answer {
            self.keep(id, Entry { groups, at, source, question });
            return;
        }
        let Some(of) = around.sources.get(source) else { return };
        let failure = self.failure(source, of, (id, &question), around);
        let started = match failure {
            Some((fault, _)) => Err(fault),
            None => self.start(id, source, of, question, &|| true, around),
        };
        match started {
            // Nobody waits for others longer than from when it was first asked.
            Ok(()) => {
                if let Some(pending) = self.pending.get_mut(&id)
                    && matches!(pending.state, State::Elsewhere)
                {
                    pending.deadline = deadline;
                }
            }
            Err(fault) => {
                let until = around.now.saturating_add(FIRST_PAUSE);
                self.failed(id, source, fault, until);
            }
        }
    }

    /// Takes what came of a call. Gives whose it was.
    pub fn answered(
        &mut self,
        id: LookupId,
        result: CalloutResult<'_>,
        around: Surroundings<'_>,
    ) -> Option<(usize, Outcome)> {
        // Whoever was given up, or asked for by somebody else meanwhile, has no more answer.
        if !matches!(self.pending.get(&id)?.state, State::Sent(_)) {
            return None;
        }
        let of = around.sources.get(self.pending.get(&id)?.source)?;
        let Pending { source, question, deadline, lease, state } = self.pending.remove(&id)?;
        let State::Sent(progress) = state else { return None };
        let status = result.as_ref().ok().map(|response| response.status);
        let wish = wish(&result);
        let headers = result.as_ref().map(|response| response.headers).unwrap_or_default();
        let most = Purpose::GroupSource(id).most_bytes();
        let page = callout::body(result, &[200], most, "what is read of a page")
            .and_then(|body| {
                answer::read(of, &question, &body, headers, |group| answer::counts(of, group))
            })
            .and_then(|page| progress.with(page.groups, page.next, of));
        let progress = match page {
            Ok(progress) => progress,
            Err(fault) => {
                let cause = fault.cause;
                let extent = extent(&fault, status, wish.is_some(), of.policy.send_token);
                let about = (source, question.as_ref());
                let until =
                    self.note_failure(about, of, &fault, (extent, wish), (id, lease), around);
                self.failed(id, source, fault, until);
                return Some((source, Outcome::Failed(cause)));
            }
        };
        let key = self.notice(of);
        let notice = Notice { key: &key, shared: around.shared };
        if let Some(health) = self.health.get_mut(source) {
            health.answered(question.who(), &notice, around.now);
        }
        if !progress.paths.is_empty() {
            let take = |pace: Pace<'_>| pace.take(around.now, Duration::MAX);
            let turn = self.pace(of, around.shared, take).unwrap_or(around.now);
            if let Some(health) = self.health.get_mut(source) {
                health.add_turn(turn);
            }
            let state = State::Queued(progress);
            self.pending.insert(id, Pending { source, question, deadline, lease, state });
            return Some((source, Outcome::More));
        }
        let at = progress.since.unwrap_or(around.now);
        let mut groups = BTreeSet::new();
        groups.extend(progress.groups);
        let groups: Rc<[String]> = groups.into_iter().collect();
        self.places(around.shared).tell(id, &groups, at);
        self.keep(id, Entry { groups, at, source, question });
        Some((source, Outcome::Done))
    }

    /// Gives up what was not answered in time.
    fn expire(&mut self, around: Surroundings<'_>) {
        let now = around.now;
        let is_late = |pending: &Pending| {
            let end = match &pending.state {
                State::Queued(Progress { since: None, turn_by, .. }) => *turn_by,
                // The host says what came of it, and that is counted.
                State::Sent(_) => pending.deadline.saturating_add(GRACE),
                _ => pending.deadline,
            };
            !holds(end, now)
        };
        let late = self.pending.iter().filter(|(_, pending)| is_late(pending));
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            let until = now.saturating_add(FIRST_PAUSE);
            let Some(pending) = self.pending.get(&id) else { continue };
            match pending.state {
                State::Failed(_) => drop(self.pending.remove(&id)),
                State::Queued(Progress { since: None, .. }) => {
                    self.fail(id, too_many_wait(), until, around);
                }
                State::Sent(_) => {
                    let Some(of) = around.sources.get(pending.source) else { continue };
                    let Some(Pending { source, question, lease, .. }) = self.pending.remove(&id)
                    else {
                        continue;
                    };
                    let (fault, how) = (Fault::timeout(), (Extent::Unclear, None));
                    let about = (source, question.as_ref());
                    let until = self.note_failure(about, of, &fault, how, (id, lease), around);
                    self.failed(id, source, fault, until);
                }
                _ => self.fail(id, Fault::timeout(), until, around),
            }
        }
    }
}

fn too_many_wait() -> Fault {
    Fault::new(Cause::Overflow, "requestsPerSecond: too many questions wait for their turn")
}
