//! Answers that the workers of a proxy share, so that each user is asked about once for all of them.
//!
//! There is no way to make the shared memory forget, so it has a fixed number of places, and the last answer of a place counts. A place also
//! says who is asking now: the others wait for that answer, and ask themselves once its time is over. What was known before stays known
//! meanwhile, and if nothing comes of it. Users whose ids share a place may be asked about more than once, and never have each other's groups.

use std::{rc::Rc, time::Duration};

use crate::{keys::SharedStore, lookups::LookupId};

/// Bytes of an answer in a place of its user's own.
const MOST_BYTES: usize = 4 << 10;
/// Places for longer answers, and their bytes: a user of a thousand groups takes some 40 KiB. Each worker asks for a longer one itself.
const LONG_PLACES: u128 = 128;
const MOST_LONG_BYTES: usize = 128 << 10;

/// What a place says of a user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shared {
    /// The groups, and when they were asked for.
    pub(super) answer: Option<(Rc<[String]>, Duration)>,
    /// A worker asks until then.
    pub(super) asked: Duration,
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
        let found = self.shared.read(&self.key(id));
        found.map(|(bytes, _)| self.known(&bytes, id)).unwrap_or_default()
    }

    fn known(&self, bytes: &[u8], id: LookupId) -> Shared {
        let Some(Record { asked, kind, at, groups }) = decode(bytes, id) else {
            return Shared::default();
        };
        let answer = match kind {
            ANSWER => read_groups(groups).map(|groups| (groups, at)),
            LONG => self.shared.read(&self.long_key(id)).and_then(|(bytes, _)| {
                let record = decode(&bytes, id)?;
                Some((read_groups(record.groups)?, record.at))
            }),
            _ => None,
        };
        Shared { answer, asked }
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
        let (bytes, cas) = found.map_or((Vec::new(), None), |(bytes, cas)| (bytes, Some(cas)));
        let Shared { answer, asked } = self.known(&bytes, id);
        let is_known = answer.is_some_and(|(_, at)| now.saturating_sub(at) < fresh);
        if is_known || asked > now {
            return false;
        }
        self.shared.write(&key, &asked_until(&bytes, id, until), cas).is_ok()
    }

    /// Who asks needs more time. With none, it has given up, and what was known before is what is known.
    pub(super) fn ask_until(&self, id: LookupId, until: Duration) {
        let key = self.key(id);
        let Some((bytes, cas)) = self.shared.read(&key) else { return };
        if decode(&bytes, id).is_some() {
            // Somebody else has written meanwhile: then that counts.
            let _ = self.shared.write(&key, &asked_until(&bytes, id, until), Some(cas));
        }
    }

    /// Tells the others the groups, and when they were asked for.
    pub(super) fn tell(&self, id: LookupId, groups: &[String], at: Duration) {
        let bytes = encode(id, ANSWER, at, groups);
        let bytes = if bytes.len() <= MOST_BYTES {
            bytes
        } else if bytes.len() <= MOST_LONG_BYTES {
            let _ = self.shared.write(&self.long_key(id), &bytes, None);
            encode(id, LONG, at, &[])
        } else {
            encode(id, NOTHING, at, &[])
        };
        // Without a number to compare with it is always written.
        let _ = self.shared.write(&self.key(id), &bytes, None);
    }
}

const NOTHING: u8 = 0;
const ANSWER: u8 = 1;
const LONG: u8 = 2;

/// What the bytes of a place hold: the user, until when somebody asks, what it is, when that was asked for; then each group with its length
/// before it. Times are in microseconds.
struct Record<'a> {
    asked: Duration,
    kind: u8,
    at: Duration,
    groups: &'a [u8],
}

/// Bytes of the user's id, and of a time.
const ID: usize = size_of::<LookupId>();
const TIME: usize = size_of::<u64>();

fn encode(id: LookupId, kind: u8, at: Duration, groups: &[String]) -> Vec<u8> {
    let asked = micros(Duration::ZERO);
    let mut bytes = [&id.to_be_bytes()[..], &asked, &[kind], &micros(at)].concat();
    for group in groups {
        let length = u32::try_from(group.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(group.as_bytes());
    }
    bytes
}

/// The same place with another time until which somebody asks. What it has of another user is gone.
fn asked_until(bytes: &[u8], id: LookupId, until: Duration) -> Vec<u8> {
    let mut bytes = match decode(bytes, id) {
        Some(_) => bytes.to_vec(),
        None => encode(id, NOTHING, Duration::ZERO, &[]),
    };
    for (place, byte) in bytes.iter_mut().skip(ID).zip(micros(until)) {
        *place = byte;
    }
    bytes
}

fn decode(bytes: &[u8], id: LookupId) -> Option<Record<'_>> {
    let (of, rest) = bytes.split_at_checked(ID)?;
    let (asked, rest) = rest.split_at_checked(TIME)?;
    let (kind, rest) = rest.split_first()?;
    let (at, groups) = rest.split_at_checked(TIME)?;
    let time =
        |bytes: &[u8]| Some(Duration::from_micros(u64::from_be_bytes(bytes.try_into().ok()?)));
    let record = Record { asked: time(asked)?, kind: *kind, at: time(at)?, groups };
    (of == id.to_be_bytes()).then_some(record)
}

fn micros(time: Duration) -> [u8; TIME] {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).to_be_bytes()
}

fn read_groups(mut rest: &[u8]) -> Option<Rc<[String]>> {
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let (group, behind) = behind.split_at_checked(length)?;
        groups.push(std::str::from_utf8(group).ok()?.to_owned());
        rest = behind;
    }
    Some(groups.into())
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::Memory;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn answer(groups: &[String], at: u64) -> Shared {
        Shared { answer: Some((groups.to_vec().into(), second(at))), asked: Duration::ZERO }
    }

    #[test]
    fn one_of_the_workers_asks_and_all_know() {
        let memory = Memory::default();
        let places = Places { gateway: "", number: 10, shared: &memory };
        let (id, other) = (5, 15);
        assert_eq!(places.read(id), Shared::default());
        assert!(places.take(id, second(20), second(10), second(300)));
        assert!(!places.take(id, second(21), second(11), second(300)), "somebody asks");
        assert_eq!(places.read(id), Shared { answer: None, asked: second(20) });
        places.ask_until(id, second(25));
        assert!(!places.take(id, second(31), second(21), second(300)), "it needs longer");
        let groups = ["a\nb".to_owned(), String::new(), "é".to_owned()];
        places.tell(id, &groups, second(12));
        assert_eq!(places.read(id), answer(&groups, 12));
        assert!(!places.take(id, second(21), second(13), second(300)), "it is known");
        assert!(places.take(id, second(321), second(312), second(300)), "it is old");
        // A user who shares the place never has another's groups.
        places.tell(id, &groups, second(12));
        assert_eq!(places.read(other), Shared::default());
        // Who gave up lets others ask.
        assert!(places.take(other, second(20), second(10), second(300)));
        places.ask_until(other, Duration::ZERO);
        assert!(places.take(other, second(20), second(10), second(300)));
        // A worker that died holds nobody up beyond its time.
        assert!(places.take(other, second(40), second(21), second(300)));
    }

    /// A question to a directory that was down took from all other workers what they knew of the user.
    #[test]
    fn what_was_known_stays_known_while_somebody_asks_and_if_nothing_comes_of_it() {
        for count in [2, 900] {
            let memory = Memory::default();
            let places = Places { gateway: "", number: 10, shared: &memory };
            let groups = vec!["x".repeat(36); count];
            places.tell(5, &groups, second(12));
            assert!(places.take(5, second(320), second(312), second(300)));
            let asked = Shared { asked: second(320), ..answer(&groups, 12) };
            assert_eq!(places.read(5), asked, "{count}");
            places.ask_until(5, Duration::ZERO);
            assert_eq!(places.read(5), answer(&groups, 12), "{count}");
            // Who gives up says nothing of another user who has the place by now.
            places.ask_until(15, Duration::ZERO);
            assert_eq!(places.read(5), answer(&groups, 12), "{count}");
        }
    }

    #[test]
    fn long_answers_have_fewer_places_and_the_longest_none() {
        let memory = Memory::default();
        let places = Places { gateway: "", number: 10, shared: &memory };
        for (count, is_shared) in [(1, true), (1_000, true), (10_000, false)] {
            let groups = vec!["x".repeat(36); count];
            places.tell(3, &groups, second(1));
            let want = if is_shared { answer(&groups, 1) } else { Shared::default() };
            assert_eq!(places.read(3), want, "{count}");
        }
        let long = vec!["x".repeat(36); 1_000];
        places.tell(3, &long, second(1));
        places.tell(3 + LONG_PLACES, &long, second(1));
        assert_eq!(places.read(3), Shared::default(), "another has its place");
    }

    #[test]
    fn bytes_that_are_no_answer_are_none() {
        let memory = Memory::default();
        let places = Places { gateway: "", number: 10, shared: &memory };
        let whole = encode(7, ANSWER, second(1), &["abc".to_owned()]);
        let none = ID + TIME + 1 + TIME;
        for end in 0..whole.len() {
            let got = places.known(&whole[..end], 7).answer;
            // Where a group ends, so may the answer.
            assert!(got.is_none() || end == none, "{end}");
        }
        assert!(places.known(&whole, 7).answer.is_some());
        assert!(places.known(&whole, 8).answer.is_none());
    }
}
