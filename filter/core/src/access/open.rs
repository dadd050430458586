//! The requests that last and have gone upstream: which of them are to end.
//!
//! They are looked at when the documents have changed, and then all of them once. What is to end waits for its turn: an adapter can end only so
//! many at a time.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{Documents, Person, Revoked};

/// A request that lasts.
#[derive(Debug, Clone)]
pub struct OpenStream {
    /// Who makes it.
    pub person: Person,
}

/// The requests that last, by the adapter's number.
#[derive(Debug, Default)]
pub struct OpenStreams {
    open: HashMap<u32, OpenStream>,
    ending: VecDeque<(u32, Revoked)>,
    judged: u64,
    /// When they were last looked at.
    looked: Duration,
}

impl OpenStreams {
    /// Takes one in that has gone upstream.
    pub fn insert(&mut self, stream: u32, open: OpenStream) {
        self.open.insert(stream, open);
    }

    /// One has ended.
    pub fn remove(&mut self, stream: u32) {
        self.open.remove(&stream);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes out those that are to end now, at most so many, each with why. True if there are more.
    #[must_use]
    pub fn take_revoked(
        &mut self,
        documents: &Documents,
        now: Duration,
        most: usize,
    ) -> (Vec<(u32, Revoked)>, bool) {
        // Where the clock is set back, entries hold again that seemed to be over.
        let is_set_back = now < self.looked;
        self.looked = now;
        if self.judged != documents.generation || is_set_back {
            self.judged = documents.generation;
            let judge = |(&stream, open): (&u32, &OpenStream)| {
                open.person.judge(documents, now).err().map(|revoked| (stream, revoked))
            };
            self.ending = self.open.iter().filter_map(judge).collect();
        }
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((stream, revoked)) = self.ending.pop_front()
        {
            // It may have ended by itself, and is ended but once.
            if self.open.remove(&stream).is_some() {
                taken.push((stream, revoked));
            }
        }
        (taken, !self.ending.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use kube_authn::Identity;

    use super::*;
    use crate::access::{Envelope, Revocation, Revocations};

    const NOW: Duration = Duration::from_secs(1_000);

    fn of(user: &str) -> OpenStream {
        let identity = Identity { username: user.to_owned(), ..Identity::default() };
        OpenStream { person: Person::named(&Rc::new(identity)) }
    }

    fn documents(generation: u64, users: &[&str]) -> Documents {
        let until = "2030-01-01T00:00:00Z".to_owned();
        let entry = |user: &&str| Revocation {
            user: (*user).to_owned(),
            until: until.clone(),
            ..Revocation::default()
        };
        let revocations = users.iter().map(entry).collect();
        let revocations = Some(Revocations { revocations, ..Revocations::default() });
        let envelope = Envelope { revocations, ..Envelope::default() };
        Documents::new(&envelope, "v", generation).unwrap()
    }

    fn taken(streams: &mut OpenStreams, documents: &Documents, most: usize) -> (Vec<u32>, bool) {
        let (taken, more) = streams.take_revoked(documents, NOW, most);
        let mut taken: Vec<_> = taken.into_iter().map(|(stream, _)| stream).collect();
        taken.sort_unstable();
        (taken, more)
    }

    #[test]
    fn those_of_a_revoked_user_end_and_others_stay() {
        let mut streams = OpenStreams::default();
        for (stream, user) in [(1, "jane"), (2, "bob"), (3, "jane"), (4, "eve")] {
            streams.insert(stream, of(user));
        }
        assert_eq!(taken(&mut streams, &documents(1, &[]), 9), (vec![], false));
        assert_eq!(taken(&mut streams, &documents(2, &["jane"]), 9), (vec![1, 3], false));
        assert_eq!(streams.len(), 2);
        assert_eq!(taken(&mut streams, &documents(2, &["jane"]), 9), (vec![], false));
        assert_eq!(taken(&mut streams, &documents(3, &["bob", "eve"]), 9), (vec![2, 4], false));
        assert!(streams.is_empty());
    }

    /// A clock that was ahead, and with it an entry that seemed to be over when it came.
    #[test]
    fn a_clock_that_is_set_back_brings_an_entry_back() {
        const AHEAD: Duration = Duration::from_secs(4_000_000_000);
        let mut streams = OpenStreams::default();
        streams.insert(1, of("jane"));
        streams.insert(2, of("bob"));
        let documents = documents(1, &["jane"]);
        assert_eq!(streams.take_revoked(&documents, AHEAD, 9), (vec![], false));
        assert_eq!(streams.take_revoked(&documents, AHEAD, 9), (vec![], false));
        assert_eq!(taken(&mut streams, &documents, 9), (vec![1], false));
        assert_eq!(streams.len(), 1);
    }

    /// Many in one call overflow the stack of the VM, and two for one stream crash the proxy.
    #[test]
    fn they_end_in_turns_and_each_but_once() {
        let mut streams = OpenStreams::default();
        for stream in 0..100 {
            streams.insert(stream, of("jane"));
        }
        let revoked = documents(1, &["jane"]);
        let mut all = Vec::new();
        for turn in 0..4 {
            let (ended, more) = taken(&mut streams, &revoked, 32);
            assert_eq!(more, turn < 3);
            assert!(ended.len() <= 32);
            // One goes by itself meanwhile, whose turn has not come.
            if turn == 0 {
                let gone = (0..100).find(|stream| streams.open.contains_key(stream)).unwrap();
                streams.remove(gone);
            }
            all.extend(ended);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 99);
        assert_eq!(taken(&mut streams, &revoked, 32), (vec![], false));
    }
}
