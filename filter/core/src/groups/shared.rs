//! Answers that the workers of a proxy share, so that each user is asked about once for all of them.
//!
//! There is no way to make the shared memory forget, so it has a fixed number of places, and the last answer of a place counts. A place also
//! says who is asking now: the others wait for that answer, and ask themselves once its time is over.

use std::{rc::Rc, time::Duration};

use crate::{keys::SharedStore, lookups::LookupId};

/// Places of one gateway. A user of a thousand groups takes some 40 KiB.
const PLACES: u128 = 1024;
/// Bytes of an answer that is shared. Each worker asks for a longer one itself.
const MOST_BYTES: usize = 128 << 10;

/// What a place says of a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shared {
    /// The groups, and when they were fetched.
    Answer(Rc<[String]>, Duration),
    /// A worker asks until then.
    Asked(Duration),
    /// Nothing.
    Nothing,
}

/// The places of one gateway.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) gateway: &'a str,
    pub(super) shared: &'a dyn SharedStore,
}

impl Places<'_> {
    fn key(&self, id: LookupId) -> String {
        let place = id.checked_rem(PLACES).unwrap_or(0);
        format!("groups/{}/{place}", self.gateway)
    }

    /// What is known of a user.
    pub(super) fn read(&self, id: LookupId) -> Shared {
        let found = self.shared.read(&self.key(id));
        found.and_then(|(bytes, _)| decode(&bytes, id)).unwrap_or(Shared::Nothing)
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
        let found = self.shared.read(&key);
        let known = found.as_ref().and_then(|(bytes, _)| decode(bytes, id));
        let is_others = match known {
            Some(Shared::Asked(until)) => until > now,
            Some(Shared::Answer(_, at)) => now.saturating_sub(at) < fresh,
            _ => false,
        };
        let cas = found.map(|(_, cas)| cas);
        !is_others && self.shared.write(&key, &encode(id, ASKED, until, &[]), cas).is_ok()
    }

    /// Tells the others what came of it.
    pub(super) fn tell(&self, id: LookupId, answer: Option<(&[String], Duration)>) {
        let bytes = answer.map(|(groups, at)| encode(id, ANSWER, at, groups));
        let bytes = bytes.filter(|bytes| bytes.len() <= MOST_BYTES);
        let bytes = bytes.unwrap_or_else(|| encode(id, ASKED, Duration::ZERO, &[]));
        // Without a number to compare with it is always written.
        let _ = self.shared.write(&self.key(id), &bytes, None);
    }
}

const ASKED: u8 = 1;
const ANSWER: u8 = 2;

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
    if *kind != ANSWER {
        return Some(Shared::Asked(time));
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
        let places = Places { gateway: "", shared: &memory };
        let second = Duration::from_secs;
        let (id, other) = (5, 5 + PLACES);
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
