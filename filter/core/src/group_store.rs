//! What is known of users' groups, and what is being asked.
//!
//! Equal questions are one. An answer is remembered for its lifetime, asked for again before its end for users with requests, and counts for
//! a bounded time beyond it while its server cannot be asked. A server that fails is left alone for a while: who needs it then is told so at
//! once.

mod answer;
mod pace;
mod pages;
mod shared;

pub use self::pages::Pages;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::Hasher,
    num::NonZeroUsize,
    rc::Rc,
    time::Duration,
};

use go_compat::json;
use lru::LruCache;
use siphasher::sip128::{Hasher128, SipHasher24};

use self::{
    pace::Pace,
    shared::{LEASE, Places},
};
use crate::{
    cache::object_size,
    callout::{self, Callout, CalloutResult, Cause, Fault, Purpose},
    clock::{is_ahead, is_younger},
    config::groups::GroupCache,
    groups::{GroupSources, Question, Source},
    keys::SharedStore,
    lookups::LookupId,
};

/// Groups of one answer, those that do not count left out.
const MOST_GROUPS: usize = 10_000;
/// Bytes of their names.
const MOST_BYTES: usize = 1 << 20;
/// Questions that are under way at once, or came to nothing a moment ago, for each worker. All sources share them: what one that is slow
/// holds up takes nothing from the others.
const MOST_PENDING: usize = 4096;
/// So many a source has in any case.
const LEAST_PENDING: usize = 512;
/// For how long a failure about one user counts.
const FAILURE: Duration = Duration::from_secs(5);
/// So many of a server's last answers tell whether it fails, or its answers about some users do.
const MOST_RECENT: usize = 8;
/// How long a server is left alone that failed once, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// However long `Retry-After` is.
const LONGEST_WISH: Duration = Duration::from_mins(5);
/// For how long an answer from before an outage counts before its server is asked again.
const LAST_ANSWER: Duration = Duration::from_secs(30);

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
    policy: GroupCache,
    entries: LruCache<LookupId, Entry>,
    bytes: usize,
    pending: HashMap<LookupId, Pending>,
    /// How each source does.
    health: Vec<Health>,
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
    /// Until when the others leave it to this worker, if they do.
    lease: Option<Duration>,
    state: State,
}

enum State {
    /// Another worker asks.
    Elsewhere,
    /// It has its turn then.
    Turn(Duration, Progress),
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
}

#[derive(Default)]
struct Health {
    failures: u32,
    /// How it did of late, the newest last: whose question failed, by its subject, or without one by what was asked; none is an answer. Nobody
    /// is there twice.
    recent: VecDeque<Option<String>>,
    paused: Option<(Fault, Duration)>,
    /// Whether it wants to be left alone for that long.
    is_wished: bool,
}

/// Whom a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The user alone.
    User,
    /// The user, or everybody: it is everybody if it happens to half of those asked about. Otherwise a few users whose questions the
    /// server cannot answer, or takes too long for, would keep all others out.
    Unclear,
    /// Everybody.
    Everybody,
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
    pub fn new(secret: [u8; 16], gateway: &str, policy: &GroupCache, sources: usize) -> Self {
        let most = NonZeroUsize::new(policy.maximum_entries as usize);
        Self {
            secret,
            gateway: gateway.to_owned(),
            policy: policy.clone(),
            entries: LruCache::new(most.unwrap_or(NonZeroUsize::MIN)),
            bytes: 0,
            pending: HashMap::new(),
            health: (0..sources).map(|_| Health::default()).collect(),
        }
    }

    /// Under what a question's answer is kept: a keyed hash of the source, and of all that the answer depends on.
    #[must_use]
    pub fn id(&self, source: &Source, question: &Question) -> LookupId {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&source.digest);
        let body = question.body.as_deref().unwrap_or_default();
        // With a user's own token, what the server tells is what this token may see.
        let own = question.authorization.as_deref().unwrap_or_default();
        for part in [&source.name, &question.subject, &question.path, body, own] {
            write(&mut hasher, part);
        }
        write_object(&mut hasher, &question.claims);
        hasher.finish128().as_u128()
    }

    /// A user's groups. They are asked for if nobody has; who has `waited` does not wait again. Whether who asks `may_wait` for a late turn
    /// is looked at once it has to ask.
    pub fn look_up(
        &mut self,
        source: usize,
        question: Question,
        waited: bool,
        may_wait: &dyn Fn() -> bool,
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
        self.adopt(id, source, &question, around);
        if let Some(answer) = self.fresh(id, around.now) {
            return (id, Known::Answer(answer));
        }
        let fault = if self.is_pending(id) {
            if !waited {
                return (id, Known::Pending);
            }
            (Fault::timeout(), FIRST_PAUSE)
        } else if let Some(failure) = self.failure(source, id, around.now) {
            failure
        } else if waited {
            (Fault::lost(), FIRST_PAUSE)
        } else {
            match self.start(id, source, of, question, may_wait, around) {
                Ok(()) => match self.fresh(id, around.now) {
                    Some(answer) => return (id, Known::Answer(answer)),
                    None => return (id, Known::Pending),
                },
                Err(fault) => (fault, FIRST_PAUSE),
            }
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
            && self.failure(source, id, around.now).is_none()
            && let Some(of) = around.sources.get(source)
        {
            // If it cannot be asked now, the next request tries again.
            let _ = self.start(id, source, of, question, &|| false, around);
        }
        self.entries.peek(&id).is_some_and(|entry| entry.at > at)
    }

    /// Takes over what another worker knows, if that is newer.
    fn adopt(
        &mut self,
        id: LookupId,
        source: usize,
        question: &Rc<Question>,
        around: Surroundings<'_>,
    ) {
        let now = around.now;
        let Some((groups, at)) = self.places(around.shared).answer(id, now) else { return };
        if self.entries.peek(&id).is_none_or(|own| own.at < at || is_ahead(own.at, now)) {
            self.keep(id, Entry { groups, at, source, question: Rc::clone(question) });
        }
    }

    /// Whether a question is under way.
    #[must_use]
    pub fn is_pending(&self, id: LookupId) -> bool {
        let pending = self.pending.get(&id);
        pending.is_some_and(|pending| !matches!(pending.state, State::Failed(_)))
    }

    /// Which source a question under way is for.
    pub(crate) fn source(&self, id: LookupId) -> Option<usize> {
        self.pending.get(&id).map(|pending| pending.source)
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
        is_younger(at, lifetime, now).then_some(Answer {
            groups,
            at,
            refresh_at,
            until,
            is_last: false,
        })
    }

    /// The answer from before an outage.
    fn last(&mut self, id: LookupId, source: &Source, now: Duration) -> Option<Answer> {
        let lifetime = self.lifetime();
        let more = Duration::from_secs(source.policy.on_failure.last_answer_seconds.into());
        let entry = self.entries.get(&id)?;
        let most = lifetime.saturating_add(more);
        let until = entry.at.saturating_add(most).min(now.saturating_add(LAST_ANSWER));
        let (groups, at) = (Rc::clone(&entry.groups), entry.at);
        is_younger(at, most, now).then_some(Answer {
            groups,
            at,
            refresh_at: until,
            until,
            is_last: true,
        })
    }

    /// Why the source is not asked about this user now, and for how long it will not be.
    fn failure(&mut self, source: usize, id: LookupId, now: Duration) -> Option<(Fault, Duration)> {
        let of_source = self.health.get(source).and_then(|health| health.paused.clone());
        let of_user = self.pending.get(&id).and_then(|pending| match &pending.state {
            State::Failed(fault) => Some((fault.clone(), pending.deadline)),
            _ => None,
        });
        // Later than that is no end, unless the clock was put back.
        let latest = now.saturating_add(LONGEST_WISH);
        let holds = |(_, until): &(Fault, Duration)| *until > now && *until <= latest;
        let (fault, until) = [of_source, of_user].into_iter().flatten().find(holds)?;
        Some((fault, until.saturating_sub(now)))
    }

    fn start(
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
        let time = Duration::from_secs(of.policy.timeout_seconds.into());
        let deadline = now.saturating_add(time);
        // Others wait for an answer about the time that it needs, pages included.
        let lease = deadline.min(now.saturating_add(LEASE));
        let fresh = self.refresh_age();
        let places = self.places(shared);
        let is_own = places.take(id, lease, now, fresh);
        let state = if is_own {
            let half = time.checked_div(2).unwrap_or_default();
            let latest = if may_wait() { deadline } else { now.saturating_add(half) };
            let turn =
                self.turn(of, now, latest, shared).inspect_err(|_| places.leave(id, lease))?;
            State::Turn(
                turn,
                Progress { paths: vec![question.path.clone()], ..Progress::default() },
            )
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

    fn turn(
        &self,
        of: &Source,
        now: Duration,
        latest: Duration,
        shared: &dyn SharedStore,
    ) -> Result<Duration, Fault> {
        let key = format!("groups-pace/{}/{}", self.gateway, of.name);
        let pace = Pace { key: &key, per_second: of.policy.requests_per_second, shared };
        let why = "requestsPerSecond: too many questions wait for their turn";
        pace.take(now, latest).ok_or_else(|| Fault::new(Cause::Overflow, why))
    }

    /// The calls that are due. `cluster` is that of a source.
    pub fn poll(
        &mut self,
        around: Surroundings<'_>,
        cluster: impl Fn(&Source) -> String,
    ) -> Vec<Callout> {
        let now = around.now;
        self.expire(around);
        let elsewhere = |(id, pending): (&LookupId, &Pending)| {
            matches!(pending.state, State::Elsewhere).then_some(*id)
        };
        for id in self.pending.iter().filter_map(elsewhere).collect::<Vec<_>>() {
            self.look_elsewhere(id, around);
        }
        let mut callouts = Vec::new();
        for (id, pending) in &mut self.pending {
            let State::Turn(turn, progress) = &mut pending.state else { continue };
            let Some(of) = around.sources.get(pending.source).filter(|_| *turn <= now) else {
                continue;
            };
            let progress = std::mem::take(progress);
            callouts.push(Callout {
                purpose: Purpose::GroupSource(*id),
                cluster: cluster(of),
                authority: of.authority.clone(),
                path: progress.paths.last().cloned().unwrap_or_default(),
                authorization: pending.question.authorization.clone(),
                traceparent: None,
                body: pending.question.body.clone().map(String::into_bytes),
                timeout: pending.deadline.saturating_sub(now).max(Duration::from_millis(1)),
            });
            pending.state = State::Sent(progress);
        }
        callouts
    }

    /// Looks whether another worker has the answer by now, or will not have it.
    fn look_elsewhere(&mut self, id: LookupId, around: Surroundings<'_>) {
        let places = self.places(around.shared);
        let found = places.young(id, self.refresh_age(), around.now);
        if found.is_none() && places.is_asked(id, around.now) {
            return;
        }
        let Some(pending) = self.pending.remove(&id) else { return };
        let Pending { source, question, deadline, .. } = pending;
        if let Some((groups, at)) = found {
            self.keep(id, Entry { groups, at, source, question });
            return;
        }
        let Some(of) = around.sources.get(source) else { return };
        match self.start(id, source, of, question, &|| true, around) {
            // Not longer than from when it was first asked.
            Ok(()) => {
                if let Some(pending) = self.pending.get_mut(&id) {
                    pending.deadline = deadline;
                }
            }
            Err(fault) => self.fail((id, None), source, fault, false, around),
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
        let Pending { source, question, deadline, lease, state } = self.pending.remove(&id)?;
        let State::Sent(progress) = state else { return None };
        let of = around.sources.get(source)?;
        let status = result.as_ref().ok().map(|response| response.status);
        let wish = wish(&result);
        let headers = result.as_ref().map(|response| response.headers).unwrap_or_default();
        let most = Purpose::GroupSource(id).most_bytes();
        let page = callout::body(result, &[200], most, "what is read of a page")
            .and_then(|body| answer::read(of, &question, &body, headers))
            .and_then(|page| progress.with(page.groups, page.next, of));
        let progress = match page {
            Ok(progress) => progress,
            Err(fault) => {
                let cause = fault.cause;
                let extent = extent(&fault, status, wish.is_some(), of.policy.send_token);
                self.pause((source, &question), &fault, wish, extent, around.now);
                self.fail((id, lease), source, fault, extent != Extent::User, around);
                return Some((source, Outcome::Failed(cause)));
            }
        };
        if let Some(health) = self.health.get_mut(source) {
            health.answered(around.now);
        }
        if !progress.paths.is_empty() {
            let outcome = match self.turn(of, around.now, deadline, around.shared) {
                Ok(turn) => {
                    let state = State::Turn(turn, progress);
                    self.pending.insert(id, Pending { source, question, deadline, lease, state });
                    Outcome::More
                }
                Err(fault) => {
                    let cause = fault.cause;
                    self.fail((id, lease), source, fault, false, around);
                    Outcome::Failed(cause)
                }
            };
            return Some((source, outcome));
        }
        let mut groups = BTreeSet::new();
        for group in progress.groups {
            groups.insert(group);
        }
        let groups: Rc<[String]> = groups.into_iter().collect();
        let places = self.places(around.shared);
        places.tell(id, &groups, around.now);
        self.keep(id, Entry { groups, at: around.now, source, question });
        Some((source, Outcome::Done))
    }

    /// Gives up what was not answered in time.
    fn expire(&mut self, around: Surroundings<'_>) {
        // Later than that is no end, unless the clock was put back.
        let latest = around.now.saturating_add(LONGEST_WISH);
        let is_late = |end: Duration| end <= around.now || end > latest;
        let late = self.pending.iter().filter(|(_, pending)| is_late(pending.deadline));
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(late) = self.pending.remove(&id) else { continue };
            let Pending { source, question, lease, state, .. } = late;
            if matches!(state, State::Failed(_)) {
                continue;
            }
            let was_sent = matches!(state, State::Sent(_));
            let fault = Fault::timeout();
            if was_sent {
                self.pause((source, &question), &fault, None, Extent::Unclear, around.now);
            }
            self.fail((id, lease), source, fault, was_sent, around);
        }
    }

    fn fail(
        &mut self,
        (id, lease): (LookupId, Option<Duration>),
        source: usize,
        fault: Fault,
        is_server_s: bool,
        around: Surroundings<'_>,
    ) {
        if let Some(lease) = lease {
            self.places(around.shared).leave(id, lease);
        }
        // What is the server's affair says nothing of the user, once the server is asked again.
        let paused = self.health.get(source).and_then(|health| health.paused.as_ref());
        let until = match paused.filter(|(_, until)| is_server_s && *until > around.now) {
            Some((_, until)) => *until,
            None => around.now.saturating_add(FAILURE),
        };
        let question = Rc::default();
        let state = State::Failed(fault);
        let failed = Pending { source, question, deadline: until, lease: None, state };
        self.pending.insert(id, failed);
    }

    /// Leaves a server alone that cannot answer anybody.
    fn pause(
        &mut self,
        (source, question): (usize, &Question),
        fault: &Fault,
        wish: Option<Duration>,
        extent: Extent,
        now: Duration,
    ) {
        let Some(health) = self.health.get_mut(source) else { return };
        let Question { subject, path, .. } = question;
        let who = if subject.is_empty() { path } else { subject };
        match extent {
            Extent::User => return,
            Extent::Unclear if !health.failed(who) => return,
            Extent::Unclear | Extent::Everybody => {}
        }
        let doubled =
            FIRST_PAUSE.saturating_mul(1_u32.checked_shl(health.failures).unwrap_or(u32::MAX));
        let pause = wish.unwrap_or(doubled.min(LONGEST_PAUSE));
        let pause = pause.clamp(FIRST_PAUSE, LONGEST_WISH);
        // Those that were under way together have failed once.
        if health.paused.as_ref().is_none_or(|(_, until)| *until <= now) {
            health.failures = health.failures.saturating_add(1).min(16);
        }
        let until = now.saturating_add(pause);
        let latest = now.saturating_add(LONGEST_WISH);
        let before = health.paused.as_ref().filter(|(_, before)| *before <= latest);
        let longer = before.map_or(until, |(_, before)| until.max(*before));
        health.is_wished = wish.is_some() || health.is_wished && longer > until;
        health.paused = Some((fault.clone(), longer));
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

impl Health {
    /// It answers again. What it asked for holds all the same: this may be the answer to a question from before.
    fn answered(&mut self, now: Duration) {
        let paused = self.paused.take().filter(|(_, until)| self.is_wished && *until > now);
        let mut recent = std::mem::take(&mut self.recent);
        // What was before an outage, or in it, says nothing of the time after.
        if self.failures > 0 {
            recent.clear();
        }
        *self = Self { is_wished: paused.is_some(), paused, recent, failures: 0 };
        self.note(None);
    }

    /// Takes note of a failure about one user. Gives whether it is the server's.
    fn failed(&mut self, who: &str) -> bool {
        self.recent.retain(|it| it.as_deref() != Some(who));
        self.note(Some(who.to_owned()));
        self.recent.iter().flatten().count() >= MOST_RECENT / 2
    }

    fn note(&mut self, what: Option<String>) {
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(what);
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
        self.groups.extend(groups.into_iter().filter(|group| answer::counts(of, group)));
        if self.groups.len() > MOST_GROUPS {
            return Err(odd(format!("more than {MOST_GROUPS} groups")));
        }
        let bytes = self.groups.iter().fold(0, |sum: usize, it| sum.saturating_add(it.len()));
        if bytes > MOST_BYTES {
            return Err(odd(format!("more than {MOST_BYTES} bytes of groups")));
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

/// For how long a server wants to be left alone.
fn wish(result: &CalloutResult<'_>) -> Option<Duration> {
    let response = result.as_ref().ok()?;
    let (_, value) = response.headers.iter().find(|(name, _)| name == "retry-after")?;
    let seconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whom a failure is about. Whether a server takes a user's own token is about that user; when it is to be asked again is about all.
fn extent(fault: &Fault, status: Option<u16>, is_wish: bool, is_own_token: bool) -> Extent {
    match fault.cause {
        Cause::HttpStatus => match status {
            Some(401 | 403 | 429) if is_own_token => Extent::User,
            Some(429) => Extent::Everybody,
            Some(500..=599) if is_wish => Extent::Everybody,
            Some(401 | 403 | 407 | 408 | 500..=599) => Extent::Unclear,
            _ => Extent::User,
        },
        Cause::Reset | Cause::Timeout | Cause::NotHttp => Extent::Unclear,
        Cause::Document
        | Cause::Url
        | Cause::TooLarge
        | Cause::ContentEncoding
        | Cause::Redirect => Extent::User,
        _ => Extent::Everybody,
    }
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
    let Question { path, body, claims, subject, .. } = entry.question.as_ref();
    let body = body.as_ref().map_or(0, String::len);
    [path.len(), body, object_size(claims), subject.len(), groups]
        .into_iter()
        .fold(ENTRY, usize::saturating_add)
}
