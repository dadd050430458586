//! What is known of users' groups, and what is being asked.
//!
//! Equal questions are one. An answer is remembered for its lifetime, asked for again before its end for users with requests, and counts for
//! a bounded time beyond it while its server cannot be asked. A server that fails is left alone for a while: who needs it then is told so at
//! once.

mod answer;
mod asking;
mod failing;
mod health;
mod id;
mod pace;
mod pages;
mod pending;
mod shared;

pub use self::pages::Pages;

use std::{collections::HashMap, num::NonZeroUsize, rc::Rc, time::Duration};

use lru::LruCache;

use self::{
    health::{FIRST_PAUSE, Health},
    pending::{FAILURE, Pending, State},
    shared::Places,
};
use crate::{
    cache::object_size,
    callout::{Cause, Fault},
    clock::{is_ahead, is_younger},
    config::groups::GroupCache,
    groups::{GroupSources, Question, Source},
    keys::SharedStore,
    lookups::LookupId,
};

/// For how long an answer from before an outage counts before it is looked at again.
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
    /// When it was last looked what other workers have.
    looked: Duration,
}

struct Entry {
    groups: Rc<[String]>,
    at: Duration,
    source: usize,
    question: Rc<Question>,
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
            looked: Duration::ZERO,
        }
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
        let asked = if self.is_pending(id) {
            Ok(())
        } else if let Some(failure) = self.failure(source, of, (id, &question), around) {
            Err(failure)
        } else if waited {
            Err((Fault::lost(), FIRST_PAUSE))
        } else {
            let started = self.start(id, source, of, Rc::clone(&question), may_wait, around);
            started.map_err(|fault| (fault, FIRST_PAUSE))
        };
        if let Some(answer) = self.fresh(id, around.now) {
            return (id, Known::Answer(answer));
        }
        let fault = match asked {
            Ok(()) if waited => (Fault::timeout(), FIRST_PAUSE),
            Ok(()) => {
                // Who is known does not wait for a source that may be down still.
                let health = self.health.get(source);
                let is_failing = health.is_some_and(|health| health.is_failing(question.who()));
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
            && self.failure(source, of, (id, &question), around).is_none()
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
        // A source that is well again is asked soon.
        let refresh_at = until.min(now.saturating_add(FIRST_PAUSE));
        let (groups, at) = (Rc::clone(&entry.groups), entry.at);
        is_younger(at, most, now).then_some(Answer { groups, at, refresh_at, until, is_last: true })
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

impl Failure {
    /// What the client is told.
    pub(crate) fn told(&self) -> String {
        format!("the groups of this user are not available yet: {}", self.cause.words())
    }

    fn of(fault: &Fault, retry_after: Duration) -> Self {
        Self { cause: fault.cause, why: fault.to_string(), retry_after }
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
