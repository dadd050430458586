//! Lookups that somebody else answers, made once and remembered briefly: SubjectAccessReviews for `kubectl --as`,
//! TokenReviews for tokens of the cluster itself, groups that a token says are to be fetched, and what issuers say of their opaque tokens.
//!
//! Equal lookups share one callout and one result. Results, yes and no, are kept for a short time under a keyed hash
//! of the lookup, and in a bounded part of memory; failures are told to who waits and then forgotten. A lookup may hold
//! a token: it lives only until it is sent.

use std::{collections::HashMap, hash::Hasher, num::NonZeroUsize, time::Duration};

use lru::LruCache;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::clock::is_younger;

/// What identifies a lookup: a keyed hash of it.
pub type LookupId = u128;

/// For how long who waited for an answer, or for a failure, can read it, however short answers are remembered.
const FOR_WAITERS: Duration = Duration::from_secs(1);

/// What is known of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<R> {
    /// What a callout said, to this request or to one before.
    Result(R),
    /// It could not be had; known only to who waited for it.
    Failure(Failure),
    /// A callout is under way.
    Pending,
    /// Nothing: a callout has to be made.
    Nothing,
}

/// Why a lookup has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The whole story, for the operator.
    pub why: String,
    /// Whether who was asked says that the gateway itself may not ask.
    pub is_forbidden: bool,
}

impl From<&str> for Failure {
    fn from(why: &str) -> Self {
        Self { why: why.to_owned(), is_forbidden: false }
    }
}

/// What is asked, and of whom. It may hold a token, and so is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The API server: a POST of a review.
    Access(Vec<u8>),
    /// The API server: a POST of a review that holds a token.
    Token(Vec<u8>),
    /// A groups endpoint: a GET.
    Groups {
        /// The cluster that reaches it.
        cluster: String,
        /// `:authority`.
        authority: String,
        /// `:path`.
        path: String,
        /// The bearer token to send along; empty means none.
        access_token: String,
    },
    /// An issuer: a POST of a form that holds a token.
    Introspection(Vec<u8>),
}

impl Lookup {
    fn hash(&self, hasher: &mut impl Hasher) {
        let mut write = |parts: &[&[u8]]| {
            for part in parts {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
        };
        match self {
            Self::Access(body) => write(&[b"access", body]),
            Self::Token(body) => write(&[b"token", body]),
            Self::Introspection(body) => write(&[b"introspection", body]),
            Self::Groups { cluster, authority, path, access_token } => write(&[
                b"groups",
                cluster.as_bytes(),
                authority.as_bytes(),
                path.as_bytes(),
                access_token.as_bytes(),
            ]),
        }
    }
}

/// How many lookups and results there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Results.
    pub results: u32,
    /// Bytes of memory of all results together.
    pub bytes: u32,
    /// Lookups under way.
    pub pending: u32,
}

/// A result that is kept.
pub trait HeapSize: Clone {
    /// Bytes of memory outside of the value itself.
    fn bytes(&self) -> usize;
}

/// A lookup that is to be sent, with the trace of the request that needs it.
pub type Unsent = (LookupId, Lookup, Option<String>);

/// The lookups under way and the results at hand.
pub struct Lookups<R> {
    secret: [u8; 16],
    time_to_live: Duration,
    /// With the time when they came.
    results: LruCache<LookupId, (Result<R, Failure>, Duration)>,
    bytes: usize,
    most_bytes: usize,
    unsent: Vec<Unsent>,
    pending: HashMap<LookupId, Duration>,
    most_pending: usize,
}

/// There are too many lookups under way already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many questions under way")]
pub struct TooMany;

impl<R: HeapSize> Lookups<R> {
    /// Nothing known yet. `secret` must be random and known to nobody.
    #[must_use]
    pub fn new(secret: [u8; 16], time_to_live: Duration, bounds: Bounds) -> Self {
        let most_results = NonZeroUsize::new(bounds.results as usize);
        Self {
            secret,
            time_to_live,
            results: LruCache::new(most_results.unwrap_or(NonZeroUsize::MIN)),
            bytes: 0,
            most_bytes: bounds.bytes as usize,
            unsent: Vec::new(),
            pending: HashMap::new(),
            most_pending: bounds.pending as usize,
        }
    }

    /// The id of a lookup.
    #[must_use]
    pub fn id(&self, lookup: &Lookup) -> LookupId {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        lookup.hash(&mut hasher);
        hasher.finish128().as_u128()
    }

    /// What is known of a lookup; `waited` if the request has waited for it: then it may learn of
    /// a failure, and of a result that no other is to have.
    pub fn known(&mut self, id: LookupId, waited: bool, now: Duration) -> Known<R> {
        if self.pending.contains_key(&id) {
            return Known::Pending;
        }
        let Some((result, came)) = self.results.get(&id) else { return Known::Nothing };
        let for_waiter = waited && is_younger(*came, FOR_WAITERS, now);
        let is_known = is_younger(*came, self.time_to_live, now);
        match result {
            Ok(result) if for_waiter || is_known => Known::Result(result.clone()),
            Err(why) if for_waiter => Known::Failure(why.clone()),
            _ => Known::Nothing,
        }
    }

    /// Has a lookup made, until `deadline`. `id` is its own, `trace` that of the request (`traceparent`).
    pub fn start(
        &mut self,
        id: LookupId,
        lookup: Lookup,
        trace: Option<String>,
        deadline: Duration,
    ) -> Result<(), TooMany> {
        if self.pending.contains_key(&id) {
            return Ok(());
        }
        if self.pending.len() >= self.most_pending {
            return Err(TooMany);
        }
        self.pending.insert(id, deadline);
        self.unsent.push((id, lookup, trace));
        Ok(())
    }

    /// Until when a lookup that is under way may take.
    #[must_use]
    pub fn deadline(&self, id: LookupId) -> Option<Duration> {
        self.pending.get(&id).copied()
    }

    /// Whether a lookup is under way.
    #[must_use]
    pub fn is_pending(&self, id: LookupId) -> bool {
        self.pending.contains_key(&id)
    }

    /// Takes out the lookups that have not been sent yet.
    pub fn unsent(&mut self) -> Vec<Unsent> {
        std::mem::take(&mut self.unsent)
    }

    /// Takes what came of a lookup, or why nothing did.
    pub fn finish(&mut self, id: LookupId, result: Result<R, Failure>, now: Duration) {
        if self.pending.remove(&id).is_none() {
            return;
        }
        let size = size(&result);
        if let Some((_, (old, _))) = self.results.push(id, (result, now)) {
            self.bytes = self.bytes.saturating_sub(self::size(&old));
        }
        self.bytes = self.bytes.saturating_add(size);
        // The newest stays, whatever its size: somebody waits for it.
        while self.bytes > self.most_bytes && self.results.len() > 1 {
            let Some((_, (old, _))) = self.results.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(self::size(&old));
        }
    }

    /// Bytes of memory that the results hold, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives up the lookups of which nothing came in time.
    pub fn expire(&mut self, now: Duration) {
        let late: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.finish(id, Err("no answer in time".into()), now);
        }
        let pending = &self.pending;
        self.unsent.retain(|(id, ..)| pending.contains_key(id));
    }
}

fn size<R: HeapSize>(result: &Result<R, Failure>) -> usize {
    /// The result, its links and its place in the table.
    const ENTRY: usize = 160;
    ENTRY.saturating_add(match result {
        Ok(result) => result.bytes(),
        Err(failure) => failure.why.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HeapSize for bool {
        fn bytes(&self) -> usize {
            0
        }
    }

    impl HeapSize for String {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    const BOUNDS: Bounds = Bounds { results: 100, bytes: 100_000, pending: 3 };

    fn ask<R: HeapSize>(lookups: &mut Lookups<R>, lookup: Lookup) -> Result<LookupId, TooMany> {
        let id = lookups.id(&lookup);
        lookups.start(id, lookup, None, LATER).map(|()| id)
    }

    fn q(body: &[u8]) -> Lookup {
        Lookup::Access(body.to_vec())
    }

    const NOW: Duration = Duration::from_secs(100);
    const LATER: Duration = Duration::from_secs(105);

    fn lookups() -> Lookups<bool> {
        Lookups::new([1; 16], Duration::from_secs(10), BOUNDS)
    }

    #[test]
    fn equal_questions_are_asked_once() {
        let mut lookups = lookups();
        let id = ask(&mut lookups, q(b"q")).unwrap();
        assert_eq!(ask(&mut lookups, q(b"q")), Ok(id));
        assert_eq!(lookups.unsent().len(), 1);
        assert_eq!(lookups.unsent().len(), 0);
        assert_eq!(lookups.known(id, false, NOW), Known::Pending);
        assert_ne!(ask(&mut lookups, q(b"r")), Ok(id));
        assert_ne!(ask(&mut lookups, Lookup::Token(b"q".to_vec())), Ok(id));
    }

    #[test]
    fn answers_both_ways_are_kept_and_failures_are_not() {
        let mut lookups = lookups();
        for (body, answer) in [(b"yes", true), (b"no!", false)] {
            let id = ask(&mut lookups, q(body)).unwrap();
            lookups.finish(id, Ok(answer), NOW);
            assert_eq!(lookups.known(id, false, NOW), Known::Result(answer));
            let old = NOW + Duration::from_secs(10);
            assert_eq!(lookups.known(id, true, old), Known::Nothing);
            let put_back = NOW - Duration::from_secs(50);
            assert_eq!(lookups.known(id, true, put_back), Known::Nothing, "of what age?");
        }
        let id = ask(&mut lookups, q(b"bad")).unwrap();
        lookups.finish(id, Err("503".into()), NOW);
        assert_eq!(lookups.known(id, true, NOW), Known::Failure("503".into()));
        assert_eq!(lookups.known(id, false, NOW), Known::Nothing, "the next one asks again");
    }

    #[test]
    fn who_waited_learns_the_answer_even_where_none_is_remembered() {
        let mut lookups = Lookups::new([1; 16], Duration::ZERO, BOUNDS);
        let id = ask(&mut lookups, q(b"q")).unwrap();
        lookups.finish(id, Ok(true), NOW);
        assert_eq!(lookups.known(id, true, NOW), Known::Result(true));
        assert_eq!(lookups.known(id, false, NOW), Known::Nothing);
        assert_eq!(lookups.known(id, true, LATER), Known::Nothing);
    }

    #[test]
    fn what_is_under_way_is_bounded_in_number_and_time() {
        let mut lookups = lookups();
        let ids: Vec<_> = (0..3).map(|n| ask(&mut lookups, q(&[n])).unwrap()).collect();
        assert_eq!(ask(&mut lookups, q(&[9])), Err(TooMany));
        lookups.expire(LATER);
        assert!(lookups.unsent().is_empty());
        for id in ids {
            assert!(matches!(lookups.known(id, true, LATER), Known::Failure(_)));
        }
        // An answer after that changes nothing.
        ask(&mut lookups, q(&[0])).unwrap();
        let stray = lookups.id(&q(&[1]));
        lookups.finish(stray, Ok(true), LATER);
        assert!(matches!(lookups.known(stray, true, LATER), Known::Failure(_)));
    }

    /// 10,000 answers of 32 MiB were kept.
    #[test]
    fn break_in_9_answers_are_bounded_in_bytes_together() {
        let mut lookups: Lookups<String> = Lookups::new([1; 16], Duration::from_secs(10), BOUNDS);
        let answer = |lookups: &mut Lookups<String>, n: u8, bytes: usize| {
            let id = ask(lookups, q(&[n])).unwrap();
            lookups.finish(id, Ok("x".repeat(bytes)), NOW);
            id
        };
        let ids: Vec<_> = (0..50).map(|n| answer(&mut lookups, n, 10_000)).collect();
        assert!(lookups.bytes() <= 100_000 && lookups.bytes() > 80_000, "{}", lookups.bytes());
        assert_eq!(lookups.known(ids[0], false, NOW), Known::Nothing);
        assert_eq!(lookups.known(ids[49], false, NOW), Known::Result("x".repeat(10_000)));
        let large = answer(&mut lookups, 99, 200_000);
        assert!(matches!(lookups.known(large, true, NOW), Known::Result(_)), "who waits gets it");
        answer(&mut lookups, 98, 10);
        assert_eq!(lookups.known(large, true, NOW), Known::Nothing);
        let bytes = lookups.bytes();
        answer(&mut lookups, 98, 10);
        assert_eq!(lookups.bytes(), bytes, "the same again counts once");
    }
}
