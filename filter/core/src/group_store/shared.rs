//! Answers that the workers of a proxy share, so that each user is asked about once for all of them.
//!
//! There is no way to make the shared memory forget, so it has a fixed number of places, and the last answer of a place counts. A place also
//! says who is asking now: the others wait for that answer, and ask themselves once its time is over. Users whose ids share a place may be
//! asked about more than once, and never have each other's groups.

use std::{rc::Rc, time::Duration};

use crate::{keys::SharedStore, lookups::LookupId};

/// Bytes of an answer in a place of its user's own.
const MOST_BYTES: usize = 4 << 10;
/// Places for longer answers, and their bytes: a user of a thousand groups takes some 40 KiB. Each worker asks for a longer one itself.
const LONG_PLACES: u128 = 128;
const MOST_LONG_BYTES: usize = 128 << 10;

/// What a place says of a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shared {
    /// The groups, and when they were fetched.
    Answer(Rc<[String]>, Duration),
    /// A worker asks until then.
    Asked(Duration),
    /// There is an answer, among the long ones.
    Long,
    /// Nothing.
    Nothing,
}

/// The places of one gateway.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) gateway: &'a str,
    /// How many there are.
    pub(super) number: u32,
    pub(super) shared: &'a dyn SharedStore,
}

impl Places<'_> {
    fn key(&self, id: LookupId) -> String {
        let place = id.checked_rem(self.number.into()).unwrap_or(0);
        format!("groups/{}/{place}", self.gateway)
    }

    fn long_key(&self, id: LookupId) -> String {
        let place = id.checked_rem(LONG_PLACES).unwrap_or(0);
        format!("groups-long/{}/{place}", self.gateway)
    }

    /// What is known of a user.
    pub(super) fn read(&self, id: LookupId) -> Shared {
        let known = |key: &str| self.shared.read(key).and_then(|(bytes, _)| decode(&bytes, id));
        match known(&self.key(id)) {
            Some(Shared::Long) => known(&self.long_key(id)),
            known => known,
        }
        .unwrap_or(Shared::Nothing)
    }

    /// Takes it upon oneself to ask, until then. False if somebody else asks, or has asked, since it was read.
    pub(super) fn take(
        &self,
        id: LookupId,
        until: Duration,
        now: Duration,
        fresh: Duration,
    ) -> bool {
        let key = self.key(id);
        let cas = self.shared.read(&key).map(|(_, cas)| cas);
        let is_others = match self.read(id) {
            Shared::Asked(until) => until > now,
            Shared::Answer(_, at) => now.saturating_sub(at) < fresh,
            Shared::Long | Shared::Nothing => false,
        };
        !is_others && self.shared.write(&key, &encode(id, ASKED, until, &[]), cas).is_ok()
    }

    /// Tells the others what came of it.
    pub(super) fn tell(&self, id: LookupId, answer: Option<(&[String], Duration)>) {
        let bytes = answer.map(|(groups, at)| encode(id, ANSWER, at, groups));
        let bytes = match bytes {
            Some(bytes) if bytes.len() <= MOST_BYTES => bytes,
            Some(bytes) if bytes.len() <= MOST_LONG_BYTES => {
                let _ = self.shared.write(&self.long_key(id), &bytes, None);
                encode(id, LONG, Duration::ZERO, &[])
            }
            _ => encode(id, ASKED, Duration::ZERO, &[]),
        };
        // Without a number to compare with it is always written.
        let _ = self.shared.write(&self.key(id), &bytes, None);
    }
}

const ASKED: u8 = 1;
const ANSWER: u8 = 2;
const LONG: u8 = 3;

/// The user, what it is, a time in microseconds; then each group with its length before it.
fn encode(id: LookupId, kind: u8, time: Duration, groups: &[String]) -> Vec<u8> {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let mut bytes = [&id.to_be_bytes()[..], &[kind], &micros.to_be_bytes()].concat();
    for group in groups {
        let length = u32::try_from(group.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(group.as_bytes());
    }
    bytes
}

fn decode(bytes: &[u8], id: LookupId) -> Option<Shared> {
    let (of, rest) = bytes.split_at_checked(16)?;
    let (kind, rest) = rest.split_first()?;
    let (micros, mut rest) = rest.split_at_checked(8)?;
    let time = Duration::from_micros(u64::from_be_bytes(micros.try_into().ok()?));
    if of != id.to_be_bytes() {
        return None;
    }
    match *kind {
        ANSWER => {}
        LONG => return Some(Shared::Long),
        _ => return Some(Shared::Asked(time)),
    }
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let (group, behind) = behind.split_at_checked(length)?;
        groups.push(std::str::from_utf8(group).ok()?.to_owned());
        rest = behind;
    }
    Some(Shared::Answer(groups.into(), time))
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::Memory;

    #[test]
    fn one_of_the_workers_asks_and_all_know() {
        let memory = Memory::default();
        let places = Places { gateway: "", number: 10, shared: &memory };
        let second = Duration::from_secs;
        let (id, other) = (5, 15);
        assert_eq!(places.read(id), Shared::Nothing);
        assert!(places.take(id, second(20), second(10), second(300)));
        assert!(!places.take(id, second(21), second(11), second(300)), "somebody asks");
        assert_eq!(places.read(id), Shared::Asked(second(20)));
        let groups = ["a\nb".to_owned(), String::new(), "é".to_owned()];
        places.tell(id, Some((&groups, second(12))));
        assert_eq!(places.read(id), Shared::Answer(groups.to_vec().into(), second(12)));
        assert!(!places.take(id, second(21), second(13), second(300)), "it is known");
        assert!(places.take(id, second(321), second(312), second(300)), "it is old");
        // A user who shares the place never has another's groups.
        places.tell(id, Some((&groups, second(12))));
        assert_eq!(places.read(other), Shared::Nothing);
        // Who gave up lets others ask.
        assert!(places.take(other, second(20), second(10), second(300)));
        places.tell(other, None);
        assert!(places.take(other, second(20), second(10), second(300)));
        // A worker that died holds nobody up beyond its time.
        assert!(places.take(other, second(40), second(21), second(300)));
    }

    #[test]
    fn long_answers_have_fewer_places_and_the_longest_none() {
        let memory = Memory::default();
        let places = Places { gateway: "", number: 10, shared: &memory };
        let at = Duration::from_secs(1);
        for (count, is_shared) in [(1, true), (1_000, true), (10_000, false)] {
            let groups = vec!["x".repeat(36); count];
            places.tell(3, Some((&groups, at)));
            let want = if is_shared {
                Shared::Answer(groups.into(), at)
            } else {
                Shared::Asked(Duration::ZERO)
            };
            assert_eq!(places.read(3), want, "{count}");
        }
        let long = vec!["x".repeat(36); 1_000];
        places.tell(3, Some((&long, at)));
        places.tell(3 + LONG_PLACES, Some((&long, at)));
        assert_eq!(places.read(3), Shared::Nothing, "another has its place");
    }

    #[test]
    fn bytes_that_are_no_answer_are_none() {
        let whole = encode(7, ANSWER, Duration::from_secs(1), &["abc".to_owned()]);
        for end in 0..whole.len() {
            let got = decode(&whole[..end], 7);
            // Where a group ends, so may the answer.
            assert!(got.is_none() || end == 25, "{end}");
        }
        assert!(decode(&whole, 7).is_some());
        assert!(decode(&whole, 8).is_none());
    }
}
