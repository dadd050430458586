//! How often a source may be asked, by all workers together: each question takes the next turn, and knows at once how long that is.

use std::time::Duration;

use crate::keys::{SharedStore, TRIES};

/// So much of the next turns may be taken at once.
const BURST: Duration = Duration::from_secs(1);
/// No turn is later than that: the longest `timeoutSeconds` for first pages, as much again for further ones, the burst, and the longest
/// interval.
pub(super) const LONGEST: Duration = Duration::from_secs(242);

/// The turns of one source.
pub(super) struct Pace<'a> {
    pub(super) key: &'a str,
    pub(super) per_second: u32,
    pub(super) shared: &'a dyn SharedStore,
}

impl Pace<'_> {
    /// Takes the next turn, unless it is later than `latest`. Gives when it is.
    pub(super) fn take(&self, now: Duration, latest: Duration) -> Option<Duration> {
        let interval = Duration::from_secs(1).checked_div(self.per_second).unwrap_or_default();
        for _ in 0..TRIES {
            let found = self.shared.read(self.key);
            let (value, cas) =
                found.map_or((None, None), |(bytes, cas)| (micros(&bytes), Some(cas)));
            // A clock that was put back must not stop everybody.
            let all = value.filter(|it| *it <= now.saturating_add(LONGEST));
            let taken = all.unwrap_or_default().max(now);
            let turn = taken.saturating_sub(BURST).max(now);
            if turn > latest {
                return None;
            }
            let next =
                u64::try_from(taken.saturating_add(interval).as_micros()).unwrap_or(u64::MAX);
            if self.shared.write(self.key, &next.to_be_bytes(), cas).is_ok() {
                return Some(turn);
            }
        }
        // Others write all the time: then this one is late, and not free.
        Some(now.saturating_add(interval)).filter(|turn| *turn <= latest)
    }

    /// Nobody waits for a turn any more.
    pub(super) fn reset(&self, now: Duration) {
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let _ = self.shared.write(self.key, &now.to_be_bytes(), None);
    }
}

fn micros(bytes: &[u8]) -> Option<Duration> {
    Some(Duration::from_micros(u64::from_be_bytes(bytes.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::Memory;

    #[test]
    fn all_workers_take_turns_and_nobody_waits_beyond_the_time() {
        let memory = Memory::default();
        let pace = Pace { key: "k", per_second: 10, shared: &memory };
        let now = Duration::from_secs(1_000);
        let latest = now + Duration::from_secs(2);
        let turns: Vec<_> = (0..100).map_while(|_| pace.take(now, latest)).collect();
        // A second's worth and one at once, then one each tenth of a second, for two seconds.
        assert_eq!(turns.iter().filter(|turn| **turn == now).count(), 11);
        assert_eq!(turns.len(), 31);
        assert_eq!(turns[30], latest);
        // After a pause there is a burst again.
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.take(later, later), Some(later));
        let put_back = now - Duration::from_mins(5);
        assert_eq!(pace.take(put_back, put_back), Some(put_back));
    }
}
