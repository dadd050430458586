//! How many logout tokens one address may send: each costs a signature check. And how many at a time, because one that comes slowly takes
//! somebody's place.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Tokens a second, and at once. A provider that logs out many sends them one after the other.
const PER_SECOND: u32 = 20;
const BURST: u32 = 100;
/// Requests of one address that have not come whole.
const MOST_COMING: u32 = 8;
/// Addresses that are remembered. One that is not has sent none for long, or shares what is left with others like it.
const MOST: usize = 4096;

/// A bucket for each address, and one for all of whom none is known. An IPv6 address counts by its /64: whoever has one has all of these.
#[derive(Default)]
pub struct Rate(Mutex<HashMap<Option<IpAddr>, Bucket>>);

struct Bucket {
    left: f64,
    at: Instant,
    coming: u32,
}

/// That a request of an address comes, until it is here.
pub struct Turn<'a> {
    rate: &'a Rate,
    of: Option<IpAddr>,
}

impl Rate {
    /// Whether one more may be looked at. It counts as one that comes until the turn is dropped.
    pub fn turn(&self, address: Option<IpAddr>) -> Option<Turn<'_>> {
        self.turn_at(address, Instant::now())
    }

    fn turn_at(&self, address: Option<IpAddr>, now: Instant) -> Option<Turn<'_>> {
        let mut of = address.map(network);
        let mut buckets = self.buckets();
        if buckets.len() >= MOST && !buckets.contains_key(&of) {
            let full = Duration::from_secs((BURST / PER_SECOND).into());
            let is_used = |bucket: &Bucket| {
                now.saturating_duration_since(bucket.at) < full || bucket.coming > 0
            };
            buckets.retain(|_, bucket| is_used(bucket));
            if buckets.len() >= MOST {
                of = None;
            }
        }
        let new = Bucket { left: f64::from(BURST), at: now, coming: 0 };
        let bucket = buckets.entry(of).or_insert(new);
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * f64::from(PER_SECOND)).min(f64::from(BURST));
        bucket.at = now;
        if bucket.left < 1.0 || bucket.coming >= MOST_COMING {
            return None;
        }
        bucket.left -= 1.0;
        bucket.coming += 1;
        Some(Turn { rate: self, of })
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(bucket) = self.rate.buckets().get_mut(&self.of) {
            bucket.coming = bucket.coming.saturating_sub(1);
        }
    }
}

/// By what an address counts.
fn network(address: IpAddr) -> IpAddr {
    const HOST: u128 = u64::MAX as u128;
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !HOST).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn one_address_keeps_no_other_out() {
        let (rate, start) = (Rate::default(), Instant::now());
        let taken = (0..1000).filter(|_| rate.turn_at(Some(v4(1)), start).is_some()).count();
        assert_eq!(taken, 100);
        assert!(rate.turn_at(Some(v4(2)), start).is_some() && rate.turn_at(None, start).is_some());
        let later = start + Duration::from_secs(1);
        let taken = (0..1000).filter(|_| rate.turn_at(Some(v4(1)), later).is_some()).count();
        assert_eq!(taken, 20);
    }

    #[test]
    fn what_comes_slowly_takes_no_other_addresss_place() {
        let (rate, start) = (Rate::default(), Instant::now());
        let turns: Vec<_> = (0..100).filter_map(|_| rate.turn_at(Some(v4(1)), start)).collect();
        assert_eq!(turns.len(), 8);
        assert!(rate.turn_at(Some(v4(2)), start).is_some());
        drop(turns);
        assert!(rate.turn_at(Some(v4(1)), start).is_some());
    }

    /// Whoever has one address of a /64 has them all: else a single host would fill the room of all others.
    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let (rate, start) = (Rate::default(), Instant::now());
        let address = |n: u128| Some(IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | n)));
        let taken = (0..10_000).filter(|n| rate.turn_at(address(*n), start).is_some()).count();
        assert_eq!((taken, rate.buckets().len()), (100, 1));
        assert!(rate.turn_at(address(1 << 64), start).is_some());
        let mapped = |n: u32| Ipv4Addr::from(n).to_ipv6_mapped().into();
        assert!((1..=200).all(|n| rate.turn_at(Some(mapped(n)), start).is_some()));
    }

    /// Those for whom there is no room share what one has: whoever was there before is not kept out, and who is not has a chance.
    #[test]
    fn many_addresses_take_a_bounded_room() {
        let (rate, start) = (Rate::default(), Instant::now());
        let taken = (0..10_000).filter(|n| rate.turn_at(Some(v4(*n)), start).is_some()).count();
        assert_eq!(taken, MOST + 100);
        assert_eq!(rate.buckets().len(), MOST + 1);
        assert!(rate.turn_at(Some(v4(1)), start).is_some());
        let later = start + Duration::from_secs(6);
        assert!(rate.turn_at(Some(IpAddr::from([9, 9, 9, 9])), later).is_some());
        assert!(rate.buckets().len() < 10);
    }
}
