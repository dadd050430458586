//! Questions that somebody else answers, asked once and remembered briefly: SubjectAccessReviews for `kubectl --as`,
//! TokenReviews for tokens of the cluster itself, groups that a token says are to be fetched.
//!
//! Equal questions share one callout and one answer. Answers, yes and no, are kept for a short time under a keyed hash
//! of the question, and in a bounded part of memory; failures are told to who waits and then forgotten. A question may hold
//! a token: it lives only until it is sent.

use std::{collections::HashMap, hash::Hasher, num::NonZeroUsize, time::Duration};

use lru::LruCache;
use siphasher::sip128::{Hasher128, SipHasher24};

/// What identifies a question: a keyed hash of it.
pub type QuestionId = u128;

/// For how long who waited for an answer, or for a failure, can read it, however short answers are remembered.
const FOR_WAITERS: Duration = Duration::from_secs(1);

/// What is known of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<A> {
    /// The answer.
    Answer(A),
    /// It could not be had; known only to who waited for it.
    Failure(String),
    /// It is being asked.
    Pending,
    /// Nothing: it has to be asked.
    Nothing,
}

/// A question that is to be sent.
#[derive(Clone)]
pub struct Question {
    /// Its id.
    pub id: QuestionId,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked, and of whom. It may hold a token, and so is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
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
}

impl Ask {
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

/// How many questions and answers there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Answers.
    pub answers: u32,
    /// Bytes of memory of all answers together.
    pub bytes: u32,
    /// Questions under way.
    pub pending: u32,
}

/// An answer that is kept.
pub trait Kept: Clone {
    /// Bytes of memory outside of the value itself.
    fn bytes(&self) -> usize;
}

/// The questions under way and the answers at hand.
pub struct Reviews<A> {
    secret: [u8; 16],
    time_to_live: Duration,
    /// With the time when they came.
    answers: LruCache<QuestionId, (Result<A, String>, Duration)>,
    bytes: usize,
    most_bytes: usize,
    unsent: Vec<Question>,
    pending: HashMap<QuestionId, Duration>,
    most_pending: usize,
}

/// There are too many questions under way already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many reviews under way")]
pub struct TooMany;

impl<A: Kept> Reviews<A> {
    /// Nothing known yet. `secret` must be random and known to nobody.
    #[must_use]
    pub fn new(secret: [u8; 16], time_to_live: Duration, bounds: Bounds) -> Self {
        let most_answers = NonZeroUsize::new(bounds.answers as usize);
        Self {
            secret,
            time_to_live,
            answers: LruCache::new(most_answers.unwrap_or(NonZeroUsize::MIN)),
            bytes: 0,
            most_bytes: bounds.bytes as usize,
            unsent: Vec::new(),
            pending: HashMap::new(),
            most_pending: bounds.pending as usize,
        }
    }

    /// The id of a question.
    #[must_use]
    pub fn id(&self, ask: &Ask) -> QuestionId {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        ask.hash(&mut hasher);
        hasher.finish128().as_u128()
    }

    /// What is known of a question; `waited` if the asker has waited for it: then it may learn of
    /// a failure, and of an answer that nobody else is to have.
    pub fn known(&mut self, id: QuestionId, waited: bool, now: Duration) -> Known<A> {
        if self.pending.contains_key(&id) {
            return Known::Pending;
        }
        let Some((answer, came)) = self.answers.get(&id) else { return Known::Nothing };
        let age = now.saturating_sub(*came);
        let for_waiter = waited && age < FOR_WAITERS;
        match answer {
            Ok(answer) if for_waiter || age < self.time_to_live => Known::Answer(answer.clone()),
            Err(why) if for_waiter => Known::Failure(why.clone()),
            _ => Known::Nothing,
        }
    }

    /// Has a question asked, until `deadline`.
    pub fn ask(&mut self, ask: Ask, deadline: Duration) -> Result<QuestionId, TooMany> {
        let id = self.id(&ask);
        if self.pending.contains_key(&id) {
            return Ok(id);
        }
        if self.pending.len() >= self.most_pending {
            return Err(TooMany);
        }
        self.pending.insert(id, deadline);
        self.unsent.push(Question { id, ask });
        Ok(id)
    }

    /// Whether a question is under way.
    #[must_use]
    pub fn is_pending(&self, id: QuestionId) -> bool {
        self.pending.contains_key(&id)
    }

    /// Takes out the questions that have not been sent yet.
    pub fn unsent(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.unsent)
    }

    /// Takes the answer to a question, or why there is none.
    pub fn answered(&mut self, id: QuestionId, answer: Result<A, String>, now: Duration) {
        if self.pending.remove(&id).is_none() {
            return;
        }
        let size = size(&answer);
        if let Some((_, (old, _))) = self.answers.push(id, (answer, now)) {
            self.bytes = self.bytes.saturating_sub(self::size(&old));
        }
        self.bytes = self.bytes.saturating_add(size);
        // The newest stays, whatever its size: somebody waits for it.
        while self.bytes > self.most_bytes && self.answers.len() > 1 {
            let Some((_, (old, _))) = self.answers.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(self::size(&old));
        }
    }

    /// Bytes of memory that the answers hold, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives up the questions whose answer did not come in time.
    pub fn expire(&mut self, now: Duration) {
        let late: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.answered(id, Err("no answer in time".to_owned()), now);
        }
        let pending = &self.pending;
        self.unsent.retain(|question| pending.contains_key(&question.id));
    }
}

fn size<A: Kept>(answer: &Result<A, String>) -> usize {
    /// The answer, its links and its place in the table.
    const ENTRY: usize = 160;
    ENTRY.saturating_add(match answer {
        Ok(answer) => answer.bytes(),
        Err(why) => why.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Kept for bool {
        fn bytes(&self) -> usize {
            0
        }
    }

    impl Kept for String {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    const BOUNDS: Bounds = Bounds { answers: 100, bytes: 100_000, pending: 3 };

    fn q(body: &[u8]) -> Ask {
        Ask::Access(body.to_vec())
    }

    const NOW: Duration = Duration::from_secs(100);
    const LATER: Duration = Duration::from_secs(105);

    fn reviews() -> Reviews<bool> {
        Reviews::new([1; 16], Duration::from_secs(10), BOUNDS)
    }

    #[test]
    fn equal_questions_are_asked_once() {
        let mut reviews = reviews();
        let id = reviews.ask(q(b"q"), LATER).unwrap();
        assert_eq!(reviews.ask(q(b"q"), LATER), Ok(id));
        assert_eq!(reviews.unsent().len(), 1);
        assert_eq!(reviews.unsent().len(), 0);
        assert_eq!(reviews.known(id, false, NOW), Known::Pending);
        assert_ne!(reviews.ask(q(b"r"), LATER), Ok(id));
        assert_ne!(reviews.ask(Ask::Token(b"q".to_vec()), LATER), Ok(id));
    }

    #[test]
    fn answers_both_ways_are_kept_and_failures_are_not() {
        let mut reviews = reviews();
        for (body, answer) in [(b"yes", true), (b"no!", false)] {
            let id = reviews.ask(q(body), LATER).unwrap();
            reviews.answered(id, Ok(answer), NOW);
            assert_eq!(reviews.known(id, false, NOW), Known::Answer(answer));
            let old = NOW + Duration::from_secs(10);
            assert_eq!(reviews.known(id, true, old), Known::Nothing);
        }
        let id = reviews.ask(q(b"bad"), LATER).unwrap();
        reviews.answered(id, Err("503".to_owned()), NOW);
        assert_eq!(reviews.known(id, true, NOW), Known::Failure("503".to_owned()));
        assert_eq!(reviews.known(id, false, NOW), Known::Nothing, "the next one asks again");
    }

    #[test]
    fn who_waited_learns_the_answer_even_where_none_is_remembered() {
        let mut reviews = Reviews::new([1; 16], Duration::ZERO, BOUNDS);
        let id = reviews.ask(q(b"q"), LATER).unwrap();
        reviews.answered(id, Ok(true), NOW);
        assert_eq!(reviews.known(id, true, NOW), Known::Answer(true));
        assert_eq!(reviews.known(id, false, NOW), Known::Nothing);
        assert_eq!(reviews.known(id, true, LATER), Known::Nothing);
    }

    #[test]
    fn what_is_under_way_is_bounded_in_number_and_time() {
        let mut reviews = reviews();
        let ids: Vec<_> = (0..3).map(|n| reviews.ask(q(&[n]), LATER).unwrap()).collect();
        assert_eq!(reviews.ask(q(&[9]), LATER), Err(TooMany));
        reviews.expire(LATER);
        assert!(reviews.unsent().is_empty());
        for id in ids {
            assert!(matches!(reviews.known(id, true, LATER), Known::Failure(_)));
        }
        // An answer after that changes nothing.
        reviews.ask(q(&[0]), LATER).unwrap();
        let stray = reviews.id(&q(&[1]));
        reviews.answered(stray, Ok(true), LATER);
        assert!(matches!(reviews.known(stray, true, LATER), Known::Failure(_)));
    }

    /// 10,000 answers of 32 MiB were kept.
    #[test]
    fn break_in_9_answers_are_bounded_in_bytes_together() {
        let mut reviews: Reviews<String> = Reviews::new([1; 16], Duration::from_secs(10), BOUNDS);
        let answer = |reviews: &mut Reviews<String>, n: u8, bytes: usize| {
            let id = reviews.ask(q(&[n]), LATER).unwrap();
            reviews.answered(id, Ok("x".repeat(bytes)), NOW);
            id
        };
        let ids: Vec<_> = (0..50).map(|n| answer(&mut reviews, n, 10_000)).collect();
        assert!(reviews.bytes() <= 100_000 && reviews.bytes() > 80_000, "{}", reviews.bytes());
        assert_eq!(reviews.known(ids[0], false, NOW), Known::Nothing);
        assert_eq!(reviews.known(ids[49], false, NOW), Known::Answer("x".repeat(10_000)));
        let large = answer(&mut reviews, 99, 200_000);
        assert!(matches!(reviews.known(large, true, NOW), Known::Answer(_)), "who waits gets it");
        answer(&mut reviews, 98, 10);
        assert_eq!(reviews.known(large, true, NOW), Known::Nothing);
        let bytes = reviews.bytes();
        answer(&mut reviews, 98, 10);
        assert_eq!(reviews.bytes(), bytes, "the same again counts once");
    }
}
