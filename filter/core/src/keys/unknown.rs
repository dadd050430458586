//! Key ids that a fetch did not bring: who keeps asking for them does not keep the gateway asking the issuer.
//!
//! A client that holds on to a token of a key long gone would otherwise cause a fetch in every minimum interval for
//! ever. Each fetch that did not help doubles the time to the next one for the same key id. The memory is bounded, and
//! it only ever spares fetches: the background refresh and other key ids are not held back by it.

use std::{hash::Hasher, num::NonZeroUsize, time::Duration};

use lru::LruCache;
use siphasher::sip::SipHasher24;

/// Key ids that are remembered, for each issuer and worker.
const MOST: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// The longest time between fetches for one key id.
const LONGEST: Duration = Duration::from_secs(600);

/// The key ids of one issuer that fetches did not bring, the least recently seen leaving first.
#[derive(Debug)]
pub struct UnknownKeys(LruCache<u64, Missed>);

#[derive(Debug)]
struct Missed {
    times: u32,
    next: Duration,
}

impl Default for UnknownKeys {
    fn default() -> Self {
        Self(LruCache::new(MOST))
    }
}

impl UnknownKeys {
    /// Whether a token of this key may cause a fetch now.
    #[must_use]
    pub fn may_fetch(&self, key_id: Option<&str>, now: Duration) -> bool {
        self.0.peek(&hash(key_id)).is_none_or(|missed| missed.next <= now)
    }

    /// Notes that a fetch which a token of this key had caused did not bring it.
    pub fn missed(&mut self, key_id: Option<&str>, now: Duration, minimum: Duration) {
        let missed = self.0.get_or_insert_mut(hash(key_id), || Missed { times: 0, next: now });
        missed.times = missed.times.saturating_add(1);
        let wait = minimum.saturating_mul(1 << missed.times.min(16)).min(LONGEST.max(minimum));
        missed.next = now.saturating_add(wait);
    }
}

/// A collision delays a fetch, no more.
fn hash(key_id: Option<&str>) -> u64 {
    let mut hasher = SipHasher24::new();
    match key_id {
        Some(key_id) => hasher.write(key_id.as_bytes()),
        None => hasher.write_u8(0xff),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMUM: Duration = Duration::from_secs(10);

    #[test]
    fn each_fetch_in_vain_doubles_the_time_to_the_next() {
        let mut unknown = UnknownKeys::default();
        let mut now = Duration::from_secs(1_000);
        for wait in [20, 40, 80, 160, 320, 600, 600] {
            assert!(unknown.may_fetch(Some("gone"), now));
            unknown.missed(Some("gone"), now, MINIMUM);
            now += Duration::from_secs(wait);
            assert!(!unknown.may_fetch(Some("gone"), now - Duration::from_millis(1)), "{wait}");
        }
        assert!(unknown.may_fetch(Some("new"), now) && unknown.may_fetch(None, now));
    }

    #[test]
    fn a_flood_of_key_ids_takes_no_more_room() {
        let mut unknown = UnknownKeys::default();
        for n in 0..10_000 {
            unknown.missed(Some(&n.to_string()), Duration::ZERO, MINIMUM);
        }
        assert_eq!(unknown.0.len(), MOST.get());
    }
}
