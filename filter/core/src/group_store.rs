//! What is known of users' groups, and what is being asked.
//!
//! Equal questions are one. An answer is remembered for its lifetime, asked for again before its end for users with requests, and counts for
//! a bounded time beyond it while its server cannot be asked. A server that fails is left alone for a while: who needs it then is told so at
//! once.

mod answer;
mod health;
mod pace;
mod shared;

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hasher,
    num::NonZeroUsize,
    rc::Rc,
    time::Duration,
};

use go_compat::json;
use lru::LruCache;
use siphasher::sip128::{Hasher128, SipHasher24};

use self::{
    health::{FIRST_PAUSE, Health, Notice},
    pace::Pace,
    shared::Places,
};
use crate::{
    callout::{self, Callout, CalloutResult, Cause, Fault, Purpose},
    config::groups::GroupCache,
    groups::{GroupSources, Question, Source},
    keys::SharedStore,
    lookups::LookupId,
};

/// Groups of one answer, those that do not count left out.
const MOST_GROUPS: usize = 10_000;
/// Questions that are under way at once, or came to nothing a moment ago, for each worker.
const MOST_PENDING: usize = 4096;
/// For how long a failure about one user counts.
const FAILURE: Duration = Duration::from_secs(5);
/// For how long an answer from before an outage counts before it is looked at again.
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// For how long the others wait for a page.
const PAGE: Duration = Duration::from_secs(10);
/// How often it is looked whether another worker has an answer.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After which time beyond its own a call counts as lost of which the host says nothing.
const GRACE: Duration = Duration::from_secs(1);

/// A user's groups, and how old they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As the source names them.
    pub groups: Rc<[String]>,
    /// When they were fetched.
    pub at: Duration,
    /// When they are to be asked for again.
    pub refresh_at: Duration,
    /// Until when they count.
    pub until: Duration,
    /// Whether they are older than their lifetime: the server cannot be asked.
    pub is_last: bool,
}

/// What is known of a user's groups.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// These.
    Answer(Answer),
    /// They are being asked for.
    Pending,
    /// They cannot be had now.
    Failure(Failure),
}

/// Why groups cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it was.
    pub cause: Cause,
    /// The whole story, for the operator.
    pub why: String,
    /// When another try makes sense, from now.
    pub retry_after: Duration,
}

/// What one worker knows and asks.
pub struct Store {
    secret: [u8; 16],
    gateway: String,
    /// Of the configuration.
    digest: [u8; 32],
    policy: GroupCache,
    entries: LruCache<LookupId, Entry>,
    bytes: usize,
    pending: HashMap<LookupId, Pending>,
    /// How each source does.
    health: Vec<Health>,
    /// When it was last looked what other workers have.
    looked: Duration,
}

struct Entry {
    groups: Rc<[String]>,
    at: Duration,
    source: usize,
    question: Rc<Question>,
}

/// A question under way, or one that came to nothing a moment ago.
struct Pending {
    source: usize,
    question: Rc<Question>,
    deadline: Duration,
    state: State,
}

enum State {
    /// Another worker asks.
    Elsewhere,
    /// It waits for a turn.
    Queued(Progress),
    /// It was sent.
    Sent(Progress),
    /// It came to nothing, which counts until the deadline.
    Failed(Fault),
}

/// How far the pages are read.
#[derive(Default)]
struct Progress {
    groups: Vec<String>,
    /// `:path` of each page so far, the next one last.
    paths: Vec<String>,
    /// When the first page was asked for. So old are the groups: a user may have lost one since.
    since: Option<Duration>,
    /// Until when it has to be: then enough is left for the answer.
    turn_by: Duration,
}

/// What came of a page.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is another page.
    More,
    /// The groups are known.
    Done,
    /// They are not.
    Failed(Cause),
}

/// What the store needs of its worker.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The sources of the configuration.
    pub sources: &'a GroupSources,
    /// The memory that the workers share.
    pub shared: &'a dyn SharedStore,
    /// The time.
    pub now: Duration,
}

impl Store {
    /// Nothing known yet. `secret` is the same for all workers that share answers, and known to nobody else.
    #[must_use]
    pub fn new(
        secret: [u8; 16],
        gateway: &str,
        policy: &GroupCache,
        digest: [u8; 32],
        sources: usize,
    ) -> Self {
        let most = NonZeroUsize::new(policy.maximum_entries as usize);
        Self {
            secret,
            gateway: gateway.to_owned(),
            digest,
            policy: policy.clone(),
            entries: LruCache::new(most.unwrap_or(NonZeroUsize::MIN)),
            bytes: 0,
            pending: HashMap::new(),
            health: (0..sources).map(|_| Health::default()).collect(),
            looked: Duration::ZERO,
        }
    }

    /// Under what a question's answer is kept: a keyed hash of the configuration, the source, and all that the answer depends on.
    #[must_use]
    pub fn id(&self, source: &Source, question: &Question) -> LookupId {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&self.digest);
        let body = question.body.as_deref().unwrap_or_default();
        for part in [&source.name, &question.subject, &question.path, body] {
            write(&mut hasher, part);
        }
        write_object(&mut hasher, &question.claims);
        hasher.finish128().as_u128()
    }

    /// A user's groups. They are asked for if nobody has; who has `waited` does not wait again.
    pub fn look_up(
        &mut self,
        source: usize,
        question: Question,
        waited: bool,
        around: Surroundings<'_>,
    ) -> (LookupId, Known) {
        let Some(of) = around.sources.get(source) else {
            let fault = Fault::new(Cause::NoCluster, "there is no such source");
            return (0, Known::Failure(Failure::of(&fault, FAILURE)));
        };
        let id = self.id(of, &question);
        if let Some(answer) = self.fresh(id, around.now) {
            return (id, Known::Answer(answer));
        }
        let question = Rc::new(question);
        // Also while the source is left alone: what another worker knows needs no question.
        self.adopt(id, source, &question, around.shared);
        if let Some(answer) = self.fresh(id, around.now) {
            return (id, Known::Answer(answer));
        }
        let asked = if self.is_pending(id) {
            Ok(())
        } else if let Some(failure) = self.failure(source, of, id, around) {
            Err(failure)
        } else if waited {
            Err((Fault::lost(), FIRST_PAUSE))
        } else {
            self.start(id, source, of, question, around).map_err(|fault| (fault, FIRST_PAUSE))
        };
        if let Some(answer) = self.fresh(id, around.now) {
            return (id, Known::Answer(answer));
        }
        let fault = match asked {
            Ok(()) if waited => (Fault::timeout(), FIRST_PAUSE),
            Ok(()) => {
                // Who is known does not wait for a source that may be down still.
                let is_failing = self.health.get(source).is_some_and(Health::is_failing);
                let last = self.last(id, of, around.now).filter(|_| is_failing);
                return (id, last.map_or(Known::Pending, Known::Answer));
            }
            Err(fault) => fault,
        };
        match self.last(id, of, around.now) {
            Some(answer) => (id, Known::Answer(answer)),
            None => (id, Known::Failure(Failure::of(&fault.0, fault.1))),
        }
    }

    /// Whether there is a newer answer than one that was fetched at `at`. If not, it is asked for, and requests go on meanwhile.
    pub fn renew(&mut self, id: LookupId, at: Duration, around: Surroundings<'_>) -> bool {
        let Some(entry) = self.entries.get(&id) else { return true };
        if entry.at > at {
            return true;
        }
        let (source, question) = (entry.source, Rc::clone(&entry.question));
        // Nobody keeps a user's token.
        let has_own = around.sources.get(source).is_some_and(|it| it.policy.send_token);
        let is_busy = self.is_pending(id);
        if !has_own
            && !is_busy
            && let Some(of) = around.sources.get(source)
            && self.failure(source, of, id, around).is_none()
        {
            // If it cannot be asked now, the next request tries again.
            let _ = self.start(id, source, of, question, around);
        }
        self.entries.peek(&id).is_some_and(|entry| entry.at > at)
    }

    /// Takes over what another worker knows, if that is newer.
    fn adopt(
        &mut self,
        id: LookupId,
        source: usize,
        question: &Rc<Question>,
        shared: &dyn SharedStore,
    ) {
        let Some((groups, at)) = self.places(shared).read(id).answer else { return };
        if self.entries.peek(&id).is_none_or(|own| own.at < at) {
            self.keep(id, Entry { groups, at, source, question: Rc::clone(question) });
        }
    }

    /// Whether a question is under way.
    #[must_use]
    pub fn is_pending(&self, id: LookupId) -> bool {
        let pending = self.pending.get(&id);
        pending.is_some_and(|pending| !matches!(pending.state, State::Failed(_)))
    }

    /// Bytes of memory that the answers hold, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Answers at hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Questions under way, or that came to nothing a moment ago.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is no answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn places<'a>(&'a self, shared: &'a dyn SharedStore) -> Places<'a> {
        Places { gateway: &self.gateway, number: self.policy.maximum_entries, shared }
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.policy.lifetime_seconds.into())
    }

    fn fresh(&mut self, id: LookupId, now: Duration) -> Option<Answer> {
        let lifetime = self.lifetime();
        let entry = self.entries.get(&id)?;
        let until = entry.at.saturating_add(lifetime);
        // Most of its lifetime is over, and enough is left for an answer.
        let share = lifetime.checked_div(4).unwrap_or_default();
        let refresh_at = until.saturating_sub(share);
        let (groups, at) = (Rc::clone(&entry.groups), entry.at);
        (now < until).then_some(Answer { groups, at, refresh_at, until, is_last: false })
    }

    /// The answer from before an outage.
    fn last(&mut self, id: LookupId, source: &Source, now: Duration) -> Option<Answer> {
        let lifetime = self.lifetime();
        let more = Duration::from_secs(source.policy.on_failure.last_answer_seconds.into());
        let entry = self.entries.get(&id)?;
        let end = entry.at.saturating_add(lifetime).saturating_add(more);
        let until = end.min(now.saturating_add(LAST_ANSWER));
        // A source that is well again is asked soon.
        let refresh_at = until.min(now.saturating_add(FIRST_PAUSE));
        let (groups, at) = (Rc::clone(&entry.groups), entry.at);
        (now < end).then_some(Answer { groups, at, refresh_at, until, is_last: true })
    }

    /// Why the source is not asked about this user now, and for how long it will not be.
    fn failure(
        &mut self,
        source: usize,
        of: &Source,
        id: LookupId,
        around: Surroundings<'_>,
    ) -> Option<(Fault, Duration)> {
        let of_user = || match self.pending.get(&id) {
            Some(Pending { state: State::Failed(fault), deadline, .. }) => {
                Some((fault.clone(), *deadline)).filter(|(_, until)| *until > around.now)
            }
            _ => None,
        };
        let of_user = of_user();
        let (fault, until) = self.paused(source, of, around).or(of_user)?;
        Some((fault, until.saturating_sub(around.now)))
    }

    /// Why a source is left alone, and until when.
    fn paused(
        &mut self,
        source: usize,
        of: &Source,
        around: Surroundings<'_>,
    ) -> Option<(Fault, Duration)> {
        let key = self.notice(of);
        let notice = Notice { key: &key, shared: around.shared };
        self.health.get_mut(source)?.paused(&notice, around.now)
    }

    /// Where it is said that a source is left alone. Another configuration may have mended it.
    fn notice(&self, of: &Source) -> String {
        let digest = self.digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
        format!("groups-pause/{}/{}/{digest:x}", self.gateway, of.name)
    }

    /// How long an answer may take, all in all: one that is older than its lifetime is of no use.
    fn time(&self, of: &Source) -> Duration {
        Duration::from_secs(of.policy.timeout_seconds.into()).min(self.lifetime())
    }

    fn start(
        &mut self,
        id: LookupId,
        source: usize,
        of: &Source,
        question: Rc<Question>,
        around: Surroundings<'_>,
    ) -> Result<(), Fault> {
        let Surroundings { shared, now, .. } = around;
        if self.pending.len() >= MOST_PENDING {
            return Err(Fault::new(Cause::Overflow, "too many questions are under way"));
        }
        let time = self.time(of);
        let deadline = now.saturating_add(time);
        // Half of it for the turn, and half for the answer.
        let half = time.checked_div(2).unwrap_or_default();
        let turn_by = now.saturating_add(half);
        // Others wait for the turn and an answer, and are told if it takes longer.
        let lease = deadline.min(now.saturating_add(half.max(PAGE)));
        let fresh = self.refresh_age();
        let places = self.places(shared);
        let state = if places.take(id, lease, now, fresh) {
            let Some(turn) = self.pace(of, shared, |pace| pace.take(now, turn_by)) else {
                places.ask_until(id, Duration::ZERO);
                return Err(too_many_wait());
            };
            let paths = vec![question.path.clone()];
            let progress = Progress { paths, turn_by, ..Progress::default() };
            if let Some(health) = self.health.get_mut(source) {
                health.add_turn(turn);
            }
            State::Queued(progress)
        } else {
            match places.read(id).answer {
                Some((groups, at)) if now.saturating_sub(at) < fresh => {
                    self.keep(id, Entry { groups, at, source, question });
                    return Ok(());
                }
                _ => State::Elsewhere,
            }
        };
        self.pending.insert(id, Pending { source, question, deadline, state });
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

    /// The calls that are due. `cluster` is that of a source.
    pub fn poll(
        &mut self,
        around: Surroundings<'_>,
        cluster: impl Fn(&Source) -> String,
    ) -> Vec<Callout> {
        let now = around.now;
        self.expire(around);
        if now.saturating_sub(self.looked) >= LOOK_EVERY {
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
            self.places(around.shared)
                .ask_until(id, pending.deadline.min(now.saturating_add(PAGE)));
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
        let found = self.places(around.shared).read(id);
        let is_fresh = |at: Duration| around.now.saturating_sub(at) < self.refresh_age();
        let answer = found.answer.filter(|(_, at)| is_fresh(*at));
        if answer.is_none() && found.asked > around.now {
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
        let failure = self.failure(source, of, id, around);
        let started = match failure {
            Some((fault, _)) => Err(fault),
            None => self.start(id, source, of, Rc::clone(&question), around),
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
                self.failed(id, source, &question, fault, until);
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
        let Pending { source, question, deadline, state } = self.pending.remove(&id)?;
        let State::Sent(progress) = state else { return None };
        let key = self.notice(of);
        let notice = Notice { key: &key, shared: around.shared };
        let (wish, is_server_s) = wish(&result);
        let headers = result.as_ref().map(|response| response.headers).unwrap_or_default();
        let most = Purpose::GroupSource(id).most_bytes();
        let page = callout::body(result, &[200], most, "what is read of a page")
            .and_then(|body| answer::read(of, &question, &body, headers))
            .and_then(|page| progress.with(page.groups, page.next, of));
        let progress = match page {
            Ok(progress) => progress,
            Err(fault) => {
                let cause = fault.cause;
                let mut until = around.now.saturating_add(FAILURE);
                // What is the server's affair says nothing of the user, once the server is asked again.
                if let Some(health) = self.health.get_mut(source).filter(|_| is_server_s) {
                    health.pause(&fault, wish, &notice, around.now);
                    until = health.paused(&notice, around.now).map_or(until, |(_, until)| until);
                }
                self.failed(id, source, &question, fault, until);
                self.places(around.shared).ask_until(id, Duration::ZERO);
                return Some((source, Outcome::Failed(cause)));
            }
        };
        if let Some(health) = self.health.get_mut(source) {
            health.answered(&notice, around.now);
        }
        if !progress.paths.is_empty() {
            let take = |pace: Pace<'_>| pace.take(around.now, Duration::MAX);
            let turn = self.pace(of, around.shared, take).unwrap_or(around.now);
            if let Some(health) = self.health.get_mut(source) {
                health.add_turn(turn);
            }
            let state = State::Queued(progress);
            self.pending.insert(id, Pending { source, question, deadline, state });
            return Some((source, Outcome::More));
        }
        let at = progress.since.unwrap_or(around.now);
        let groups: BTreeSet<_> = progress.groups.into_iter().collect();
        let groups: Rc<[String]> = groups.into_iter().collect();
        self.places(around.shared).tell(id, &groups, at);
        self.keep(id, Entry { groups, at, source, question });
        Some((source, Outcome::Done))
    }

    /// Gives up what was not answered in time.
    fn expire(&mut self, around: Surroundings<'_>) {
        let now = around.now;
        let is_late = |pending: &Pending| match &pending.state {
            State::Queued(Progress { since: None, turn_by, .. }) => *turn_by <= now,
            // The host says what came of it, and that is counted.
            State::Sent(_) => pending.deadline.saturating_add(GRACE) <= now,
            _ => pending.deadline <= now,
        };
        let late = self.pending.iter().filter(|(_, pending)| is_late(pending));
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            let until = now.saturating_add(FIRST_PAUSE);
            match self.pending.get(&id).map(|pending| &pending.state) {
                Some(State::Failed(_)) => drop(self.pending.remove(&id)),
                Some(State::Queued(Progress { since: None, .. })) => {
                    self.fail(id, too_many_wait(), until, around);
                }
                _ => self.fail(id, Fault::timeout(), until, around),
            }
        }
    }

    /// A question comes to nothing. If this worker has asked, others may now.
    fn fail(&mut self, id: LookupId, fault: Fault, until: Duration, around: Surroundings<'_>) {
        let Some(Pending { source, question, state, .. }) = self.pending.remove(&id) else {
            return;
        };
        if !matches!(state, State::Elsewhere) {
            self.places(around.shared).ask_until(id, Duration::ZERO);
        }
        self.failed(id, source, &question, fault, until);
    }

    /// It came to nothing, which counts until then.
    fn failed(
        &mut self,
        id: LookupId,
        source: usize,
        question: &Question,
        fault: Fault,
        until: Duration,
    ) {
        let question = Rc::new(question.without_token());
        let state = State::Failed(fault);
        self.pending.insert(id, Pending { source, question, deadline: until, state });
    }

    fn keep(&mut self, id: LookupId, entry: Entry) {
        let question = Rc::new(entry.question.without_token());
        let entry = Entry { question, ..entry };
        self.bytes = self.bytes.saturating_add(size(&entry));
        if let Some((_, old)) = self.entries.push(id, entry) {
            self.bytes = self.bytes.saturating_sub(size(&old));
        }
        while self.bytes > self.policy.maximum_bytes as usize && self.entries.len() > 1 {
            let Some((_, old)) = self.entries.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(size(&old));
        }
    }
}

impl Progress {
    /// With another page.
    fn with(
        mut self,
        groups: Vec<String>,
        next: Option<String>,
        of: &Source,
    ) -> Result<Self, Fault> {
        let odd = |why: String| Fault::new(Cause::Document, why);
        self.groups.extend(groups);
        if self.groups.len() > MOST_GROUPS {
            return Err(odd(format!("more than {MOST_GROUPS} groups")));
        }
        let Some(next) = next else {
            self.paths.clear();
            return Ok(self);
        };
        if self.paths.contains(&next) {
            return Err(odd("its pages lead back to one of them".to_owned()));
        }
        if self.paths.len() >= of.policy.maximum_pages as usize {
            return Err(odd(format!("more than maximumPages, {}", of.policy.maximum_pages)));
        }
        self.paths.push(next);
        Ok(self)
    }
}

impl Failure {
    /// What the client is told.
    pub(crate) fn told(&self) -> String {
        format!("the groups of this user are not available yet: {}", self.cause.words())
    }

    fn of(fault: &Fault, retry_after: Duration) -> Self {
        Self { cause: fault.cause, why: fault.to_string(), retry_after }
    }
}

fn too_many_wait() -> Fault {
    Fault::new(Cause::Overflow, "requestsPerSecond: too many questions wait for their turn")
}

/// For how long a server wants to be left alone, and whether its answer is about itself and not about the user.
fn wish(result: &CalloutResult<'_>) -> (Option<Duration>, bool) {
    let Ok(response) = result else { return (None, true) };
    let header = response.headers.iter().find(|(name, _)| name == "retry-after");
    let seconds =
        header.and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok());
    let is_server_s = matches!(response.status, 401 | 403 | 407 | 408 | 429 | 500..=599);
    (seconds.map(Duration::from_secs).filter(|_| is_server_s), is_server_s)
}

fn write(hasher: &mut impl Hasher, text: &str) {
    hasher.write_usize(text.len());
    hasher.write(text.as_bytes());
}

/// Its nesting is bounded where the token is read.
fn write_object(hasher: &mut impl Hasher, object: &json::Object) {
    for (name, value) in object.members() {
        write(hasher, name);
        write_value(hasher, value);
    }
    hasher.write_u8(b'}');
}

fn write_value(hasher: &mut impl Hasher, value: &json::Value) {
    write(hasher, value.kind());
    match value {
        json::Value::Null => {}
        json::Value::Bool(value) => hasher.write_u8((*value).into()),
        json::Value::Number(number) => write(hasher, number.as_str()),
        json::Value::String(text) => write(hasher, text),
        json::Value::Array(items) => {
            for item in items {
                write_value(hasher, item);
            }
            hasher.write_u8(b']');
        }
        json::Value::Object(object) => write_object(hasher, object),
    }
}

fn size(entry: &Entry) -> usize {
    /// The entry, its links and its place in the table, and what the question holds beside its texts.
    const ENTRY: usize = 320;
    let groups = entry.groups.iter().fold(0, |sum: usize, group| {
        sum.saturating_add(size_of::<String>()).saturating_add(group.len())
    });
    let Question { path, body, subject, .. } = entry.question.as_ref();
    [path.len(), body.as_ref().map_or(0, String::len), subject.len(), groups]
        .into_iter()
        .fold(ENTRY, usize::saturating_add)
}
