//! How many logout tokens one address may send: each costs a signature check.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Tokens a second, and at once. A provider that logs out many sends them one after the other.
const PER_SECOND: u32 = 20;
const BURST: u32 = 100;
/// Addresses that are remembered. One that is not has sent none for long.
const MOST: usize = 4096;

/// A bucket for each address, and one for all of whom none is known.
#[derive(Default)]
pub struct Rate(Mutex<HashMap<Option<IpAddr>, Bucket>>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    /// Whether one more may be looked at.
    pub fn takes(&self, address: Option<IpAddr>) -> bool {
        self.takes_at(address, Instant::now())
    }

    fn takes_at(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST && !buckets.contains_key(&address) {
            let full = Duration::from_secs((BURST / PER_SECOND).into());
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < full);
            if buckets.len() >= MOST {
                return false;
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: f64::from(BURST), at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * f64::from(PER_SECOND)).min(f64::from(BURST));
        bucket.at = now;
        let takes = bucket.left >= 1.0;
        if takes {
            bucket.left -= 1.0;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_address_keeps_no_other_out() {
        let (rate, start) = (Rate::default(), Instant::now());
        let address = |n: u32| Some(IpAddr::from(Ipv4Addr::from(n)));
        let taken = (0..1000).filter(|_| rate.takes_at(address(1), start)).count();
        assert_eq!(taken, 100);
        assert!(rate.takes_at(address(2), start) && rate.takes_at(None, start));
        let later = start + Duration::from_secs(1);
        let taken = (0..1000).filter(|_| rate.takes_at(address(1), later)).count();
        assert_eq!(taken, 20);
    }

    #[test]
    fn many_addresses_take_a_bounded_room() {
        let (rate, start) = (Rate::default(), Instant::now());
        let all = (0..10_000_u32).map(|n| Some(IpAddr::from(Ipv4Addr::from(n))));
        let taken = all.filter(|address| rate.takes_at(*address, start)).count();
        assert_eq!(taken, MOST);
        let later = start + Duration::from_secs(6);
        assert!(rate.takes_at(Some(IpAddr::from([9, 9, 9, 9])), later));
    }
}
