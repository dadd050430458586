//! Answers that the workers of a proxy share, so that each user is asked about once for all of them.
//!
//! There is no way to make the shared memory forget, so it has a fixed number of places, and the last answer of a place counts. Beside each
//! place stands who is asking now: the others wait for that answer, and ask themselves once its time is over. Meanwhile, and if nothing
//! comes of it, the last answer stays, also that of another user who shares the place. Users whose ids share a place may be asked about more than once, and never have each other's groups.

use std::{rc::Rc, time::Duration};

use crate::{
    callout::{Cause, Fault},
    clock::{is_ahead, is_younger},
    keys::SharedStore,
    lookups::LookupId,
};

/// Bytes of an answer in a place of its user's own.
const MOST_BYTES: usize = 4 << 10;
/// Places for longer answers, and their bytes: a user of a thousand groups takes some 40 KiB. Each worker asks for a longer one itself.
const LONG_PLACES: u128 = 128;
const MOST_LONG_BYTES: usize = 128 << 10;

/// No worker takes it upon itself to ask for longer: three quarters of the longest `timeoutSeconds`.
const LONGEST_LEASE: Duration = Duration::from_secs(90);

/// The groups, and when they were asked for.
pub(super) type Told = (Rc<[String]>, Duration);

/// What a place says of a user.
#[derive(Debug, PartialEq, Eq)]
enum Shared {
    Answer(Rc<[String]>, Duration),
    /// A worker asks until then.
    Asked(Duration),
    /// It was asked in vain, which was known then.
    Failed(Fault, Duration),
    /// There is an answer, among the long ones.
    Long,
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
    fn key(&self, kind: &str, id: LookupId, places: u128) -> String {
        let place = id.checked_rem(places).unwrap_or(0);
        format!("{kind}/{}/{place}", self.gateway)
    }

    fn answer_key(&self, id: LookupId) -> String {
        self.key("groups", id, self.number.into())
    }

    fn asked_key(&self, id: LookupId) -> String {
        self.key("groups-asked", id, self.number.into())
    }

    fn long_key(&self, id: LookupId) -> String {
        self.key("groups-long", id, LONG_PLACES)
    }

    fn read(&self, key: &str, id: LookupId) -> Option<Shared> {
        self.shared.read(key).and_then(|(bytes, _)| decode(&bytes, id))
    }

    /// A user's groups, however old, as any worker knows them.
    pub(super) fn answer(&self, id: LookupId, now: Duration) -> Option<Told> {
        let found = match self.read(&self.answer_key(id), id) {
            Some(Shared::Long) => self.read(&self.long_key(id), id),
            found => found,
        };
        match found {
            Some(Shared::Answer(groups, at)) if !is_ahead(at, now) => Some((groups, at)),
            _ => None,
        }
    }

    /// The same, if they are younger than that.
    pub(super) fn young(&self, id: LookupId, most: Duration, now: Duration) -> Option<Told> {
        self.answer(id, now).filter(|(_, at)| is_younger(*at, most, now))
    }

    /// Whether a worker asks.
    pub(super) fn is_asked(&self, id: LookupId, now: Duration) -> bool {
        // Nobody does for longer, unless the clock was put back.
        let latest = now.saturating_add(LONGEST_LEASE);
        let found = self.read(&self.asked_key(id), id);
        matches!(found, Some(Shared::Asked(until)) if until > now && !is_ahead(until, latest))
    }

    /// Takes it upon oneself to ask, until then. False if somebody else asks, or has asked, since it was read.
    pub(super) fn take(
        &self,
        id: LookupId,
        until: Duration,
        now: Duration,
        fresh: Duration,
    ) -> bool {
        let key = self.asked_key(id);
        let cas = self.shared.read(&key).map(|(_, cas)| cas);
        let is_others = self.is_asked(id, now) || self.young(id, fresh, now).is_some();
        !is_others && self.shared.write(&key, &encode(id, ASKED, until, &[]), cas).is_ok()
    }

    /// Who has taken it until then needs until `until`. Gives the new end, unless somebody else has taken it since.
    pub(super) fn extend(
        &self,
        id: LookupId,
        lease: Duration,
        until: Duration,
    ) -> Option<Duration> {
        self.replace(id, lease, &encode(id, ASKED, until, &[])).then_some(until)
    }

    fn replace(&self, id: LookupId, lease: Duration, bytes: &[u8]) -> bool {
        let key = self.asked_key(id);
        let Some((found, cas)) = self.shared.read(&key) else { return false };
        found == encode(id, ASKED, lease, &[]) && self.shared.write(&key, bytes, Some(cas)).is_ok()
    }

    /// Gives up what was taken until then, and tells the others why.
    pub(super) fn fail(&self, id: LookupId, lease: Duration, fault: &Fault, now: Duration) {
        let story = [fault.cause.keyword().to_owned(), fault.to_string()];
        self.replace(id, lease, &encode(id, FAILED, now, &story));
    }

    /// Why a question came to nothing less than `most` ago, and when.
    pub(super) fn failed(
        &self,
        id: LookupId,
        most: Duration,
        now: Duration,
    ) -> Option<(Fault, Duration)> {
        match self.read(&self.asked_key(id), id) {
            Some(Shared::Failed(fault, at)) if is_younger(at, most, now) => Some((fault, at)),
            _ => None,
        }
    }

    /// Tells the others the groups, and when they were asked for. Without a number to compare with it is always written.
    pub(super) fn tell(&self, id: LookupId, groups: &[String], at: Duration) {
        let bytes = match encode(id, ANSWER, at, groups) {
            bytes if bytes.len() <= MOST_BYTES => bytes,
            bytes if bytes.len() <= MOST_LONG_BYTES => {
                let _ = self.shared.write(&self.long_key(id), &bytes, None);
                encode(id, LONG, Duration::ZERO, &[])
            }
            // Nor does an older one count.
            _ => encode(id, ASKED, Duration::ZERO, &[]),
        };
        let _ = self.shared.write(&self.answer_key(id), &bytes, None);
        let key = self.asked_key(id);
        if self.read(&key, id).is_some() {
            let _ = self.shared.write(&key, &encode(id, ASKED, Duration::ZERO, &[]), None);
        }
    }

    /// Gives up what was taken until then, so that others may ask. What somebody else has taken since stays.
    pub(super) fn leave(&self, id: LookupId, until: Duration) {
        self.replace(id, until, &encode(id, ASKED, Duration::ZERO, &[]));
    }
}

const ASKED: u8 = 1;
const ANSWER: u8 = 2;
const LONG: u8 = 3;
const FAILED: u8 = 4;

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
        ANSWER | FAILED => {}
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
    if *kind == FAILED {
        let [cause, why] = groups.as_slice() else { return None };
        let cause = Cause::ALL.iter().find(|it| it.keyword() == cause)?;
        return Some(Shared::Failed(Fault::new(*cause, why), time));
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
        assert_eq!(places.answer(id, second(10)), None);
        assert!(!places.is_asked(id, second(10)));
        assert!(places.take(id, second(20), second(10), second(300)));
        assert!(!places.take(id, second(21), second(11), second(300)), "somebody asks");
        assert!(places.is_asked(id, second(19)) && !places.is_asked(id, second(20)));
        assert_eq!(places.extend(id, second(20), second(25)), Some(second(25)));
        assert!(!places.take(id, second(31), second(21), second(300)), "it needs longer");
        assert_eq!(places.extend(id, second(20), second(99)), None, "that is over");
        let groups = ["a\nb".to_owned(), String::new(), "é".to_owned()];
        places.tell(id, &groups, second(12));
        let known = Some((groups.to_vec().into(), second(12)));
        assert_eq!(places.answer(id, second(13)), known);
        assert!(!places.take(id, second(21), second(13), second(300)), "it is known");
        assert!(places.take(id, second(321), second(312), second(300)), "it is old");
        // The last answer stays, whatever becomes of the next question.
        assert_eq!(places.answer(id, second(313)), known);
        places.leave(id, second(321));
        assert_eq!(places.answer(id, second(313)), known);
        // A user who shares the place never has another's groups.
        assert_eq!(places.answer(other, second(313)), None);
        // Who gave up lets others ask.
        assert!(places.take(other, second(20), second(10), second(300)));
        places.leave(other, second(21));
        assert!(!places.take(other, second(20), second(10), second(300)), "it is another's");
        places.leave(other, second(20));
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
            let second = Duration::from_secs;
            let groups = vec!["x".repeat(36); count];
            places.tell(5, &groups, second(12));
            let known = Some((groups.into(), second(12)));
            assert!(places.take(5, second(320), second(312), second(300)));
            assert!(places.is_asked(5, second(313)));
            assert_eq!(places.answer(5, second(313)), known, "{count}");
            places.leave(5, second(320));
            assert!(!places.is_asked(5, second(313)));
            assert_eq!(places.answer(5, second(313)), known, "{count}");
            // Why nothing came of it is known for a while, and until somebody asks again.
            let (fault, five) = (Fault::new(Cause::HttpStatus, "HTTP 403"), second(5));
            assert!(places.take(5, second(320), second(312), second(300)));
            places.fail(5, second(319), &fault, second(313));
            assert!(places.is_asked(5, second(313)), "it is another's");
            places.fail(5, second(320), &fault, second(313));
            assert_eq!(places.failed(5, five, second(317)), Some((fault, second(313))));
            assert_eq!(places.failed(5, five, second(318)), None);
            assert_eq!(places.failed(15, five, second(314)), None, "it is another user");
            assert_eq!(places.answer(5, second(313)), known, "{count}");
            assert!(places.take(5, second(320), second(314), second(300)));
            assert_eq!(places.failed(5, five, second(314)), None);
            places.leave(5, second(320));
            // Nor does it go when another user who shares the place is asked about, and this comes to nothing.
            assert!(places.take(15, second(320), second(312), second(300)));
            assert_eq!(places.answer(5, second(313)), known, "{count}");
            places.leave(15, second(320));
            assert_eq!(places.answer(5, second(313)), known, "{count}");
        }
    }

    /// Nobody is asked about, and nobody's groups are young, for as long as the clock was put back.
    #[test]
    fn a_clock_that_was_put_back_holds_nobody_up() {
        let memory = Memory::default();
        let places = Places { gateway: "", number: 10, shared: &memory };
        let second = Duration::from_secs;
        assert!(places.take(5, second(1010), second(1000), second(300)));
        assert!(!places.is_asked(5, second(100)));
        assert!(places.take(5, second(110), second(100), second(300)));
        places.tell(5, &["a".to_owned()], second(1001));
        assert_eq!(places.answer(5, second(100)), None);
        assert!(places.take(5, second(111), second(101), second(300)));
    }

    #[test]
    fn long_answers_have_fewer_places_and_the_longest_none() {
        let memory = Memory::default();
        let places = Places { gateway: "", number: 10, shared: &memory };
        let at = Duration::from_secs(1);
        for (count, is_shared) in [(1, true), (1_000, true), (10_000, false)] {
            let groups = vec!["x".repeat(36); count];
            places.tell(3, &groups, at);
            let number = places.answer(3, at).map(|(groups, _)| groups.len());
            assert_eq!(number, is_shared.then_some(count), "{count}");
        }
        let long = vec!["x".repeat(36); 1_000];
        places.tell(3, &long, at);
        places.tell(3 + LONG_PLACES, &long, at);
        assert_eq!(places.answer(3, at), None, "another has its place");
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
