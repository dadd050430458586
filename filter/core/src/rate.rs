//! How often one client address may make the gateway ask the API server about an unknown token.

use std::{hash::Hasher, time::Duration};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::keys::{SharedStore, TRIES};

/// Buckets that the workers share. Addresses that fall into one share its rate: there is no way to make room for more,
/// and none to make the gateway forget.
const BUCKETS: u128 = 4096;
/// How many times the rate of one address all of them get together.
const ALL: f64 = 10.0;

/// Takes one from the address's token bucket, which holds one second's worth; false if it is empty.
///
/// Buckets of one `scope` are its own: a gateway's users take nothing from another gateway's. `secret` is the worker's own; the first
/// one to be used becomes that of all of them, so that their buckets are the same. It keeps anybody from choosing addresses that
/// share a bucket with another's.
pub fn take(
    scope: &str,
    address: &str,
    per_second: u32,
    now: Duration,
    secret: [u8; 16],
    shared: &dyn SharedStore,
) -> bool {
    let rate = f64::from(per_second);
    let mut hasher = SipHasher24::new_with_key(&common(secret, shared));
    hasher.write(address.as_bytes());
    let bucket = hasher.finish128().as_u128().checked_rem(BUCKETS).unwrap_or(0);
    take_from(&format!("rate/{scope}/{bucket}"), rate, now, shared)
        && take_from(&format!("rate/{scope}/all"), rate * ALL, now, shared)
}

fn common(own: [u8; 16], shared: &dyn SharedStore) -> [u8; 16] {
    const KEY: &str = "rate/secret";
    let read = || shared.read(KEY).and_then(|(bytes, _)| bytes.try_into().ok());
    read().unwrap_or_else(|| {
        // Of several who come at once the last one is believed from now on.
        let _ = shared.write(KEY, &own, None);
        read().unwrap_or(own)
    })
}

fn take_from(key: &str, rate: f64, now: Duration, shared: &dyn SharedStore) -> bool {
    for _ in 0..TRIES {
        let found = shared.read(key);
        let (tokens, filled) =
            found.as_ref().and_then(|(bytes, _)| decode(bytes)).unwrap_or((rate, now));
        let passed = now.saturating_sub(filled).as_secs_f64();
        let tokens = (tokens + passed * rate).min(rate);
        if tokens < 1.0 {
            return false;
        }
        let left = encode(tokens - 1.0, now.max(filled));
        if shared.write(key, &left, found.map(|(_, cas)| cas)).is_ok() {
            return true;
        }
    }
    // Who cannot write down that one was taken takes none.
    false
}

fn encode(tokens: f64, filled: Duration) -> Vec<u8> {
    [tokens.to_le_bytes(), filled.as_secs_f64().to_le_bytes()].concat()
}

fn decode(bytes: &[u8]) -> Option<(f64, Duration)> {
    let (tokens, filled) = bytes.split_first_chunk::<8>()?;
    let filled = f64::from_le_bytes(*filled.first_chunk::<8>()?);
    Some((f64::from_le_bytes(*tokens), Duration::try_from_secs_f64(filled).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::CasConflict, testing::Memory};

    fn taken(memory: &Memory, address: &str, times: u32, millis: u64) -> usize {
        let now = Duration::from_secs(1_000) + Duration::from_millis(millis);
        (0..times).filter(|_| take("", address, 20, now, [3; 16], memory)).count()
    }

    #[test]
    fn one_address_gets_its_rate_and_no_more() {
        let memory = Memory::default();
        assert_eq!(taken(&memory, "192.0.2.1", 100, 0), 20);
        assert_eq!(taken(&memory, "192.0.2.1", 100, 500), 10);
        assert_eq!(taken(&memory, "192.0.2.2", 100, 500), 20, "another address has its own");
        assert_eq!(taken(&memory, "192.0.2.1", 100, 60_000), 20, "no saving up");
    }

    #[test]
    fn workers_share_the_rate_of_an_address() {
        let memory = Memory::default();
        let now = Duration::from_secs(1_000);
        let taken =
            |secret| (0..15).filter(|_| take("", "192.0.2.1", 20, now, secret, &memory)).count();
        assert_eq!((taken([3; 16]), taken([4; 16])), (15, 5));
    }

    /// A host that takes no more data must not hold the worker in a loop.
    #[test]
    fn nothing_is_taken_that_cannot_be_written_down() {
        struct Full;
        impl SharedStore for Full {
            fn read(&self, _: &str) -> Option<(Vec<u8>, u32)> {
                None
            }

            fn write(&self, _: &str, _: &[u8], _: Option<u32>) -> Result<(), CasConflict> {
                Err(CasConflict)
            }
        }
        assert!(!take("", "192.0.2.1", 20, Duration::from_secs(1_000), [3; 16], &Full));
    }

    #[test]
    fn many_addresses_together_are_bounded_too() {
        let memory = Memory::default();
        let sum: usize = (0..100).map(|n| taken(&memory, &format!("2001:db8::{n}"), 20, 0)).sum();
        assert_eq!(sum, 200);
    }
}
