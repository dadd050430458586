//! How often one client address, or one user, may make the gateway do what costs it dearly: ask the API server or an issuer about
//! an unknown token, check a costly signature, make a token. What turns out to have been worth it is given back.

use std::{hash::Hasher, net::IpAddr, time::Duration};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::keys::{SharedStore, TRIES};

/// Buckets that the workers share. Those who fall into one share its rate: there is no way to make room for more,
/// and none to make the gateway forget.
const BUCKETS: u128 = 4096;
/// How many times the rate of one all of them get together.
const ALL: f64 = 10.0;

/// What is limited by rate. Each has buckets of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// TokenReviews.
    Reviews,
    /// Costly signature checks.
    Checks,
    /// Tokens that the portal makes.
    Tokens,
    /// Questions to an issuer about a token.
    Introspections,
    /// Questions about a user's groups.
    Groups,
}

impl Limited {
    /// How many seconds' worth a bucket holds. Good tokens come in bursts: a balancer that hides its clients' addresses is restarted,
    /// and all of them ask at once. What they cost is given back, so that only bad ones empty it.
    fn seconds(self) -> f64 {
        match self {
            Self::Reviews | Self::Introspections => 10.0,
            Self::Checks | Self::Tokens | Self::Groups => 1.0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Reviews => "reviews",
            Self::Checks => "checks",
            Self::Tokens => "tokens",
            Self::Introspections => "introspections",
            Self::Groups => "groups",
        }
    }
}

/// The token buckets of one `gateway`: its users take nothing from another's.
#[derive(Clone, Copy)]
pub struct Buckets<'a> {
    /// What is limited.
    pub of: Limited,
    /// The gateway's name.
    pub gateway: &'a str,
    /// How many one client may have in a second.
    pub per_second: u32,
    /// The worker's own secret; the first one to be used becomes that of all of them, so that their buckets are the same.
    /// It keeps anybody from choosing a name or an address that shares a bucket with another's.
    pub secret: [u8; 16],
    /// What the workers share.
    pub shared: &'a dyn SharedStore,
}

impl Buckets<'_> {
    /// Takes one from the bucket of `who`, a user or the [`network`] of an address. False if it is empty. It holds one second's
    /// worth, for reviews ten.
    #[must_use]
    pub fn take(&self, who: &str, now: Duration) -> bool {
        let [(own, rate), (all, rate_of_all)] = self.keys(who);
        self.change(&own, rate, -1.0, now) && self.change(&all, rate_of_all, -1.0, now)
    }

    /// Gives back what [`Self::take`] took.
    pub fn give_back(&self, who: &str, now: Duration) {
        for (key, rate) in self.keys(who) {
            self.change(&key, rate, 1.0, now);
        }
    }

    /// The keys of one's own bucket and of everybody's, with what each gets in a second.
    fn keys(&self, who: &str) -> [(String, f64); 2] {
        let mut hasher = SipHasher24::new_with_key(&common_secret(self.shared, self.secret));
        hasher.write(who.as_bytes());
        let bucket = hasher.finish128().as_u128().checked_rem(BUCKETS).unwrap_or(0);
        let (name, gateway, rate) = (self.of.name(), self.gateway, f64::from(self.per_second));
        [
            (format!("rate/{name}/{gateway}/{bucket}"), rate),
            (format!("rate/{name}/{gateway}/all"), rate * ALL),
        ]
    }

    /// Adds to a bucket that fills at `rate` a second. False if there is too little in it to take.
    fn change(&self, key: &str, rate: f64, by: f64, now: Duration) -> bool {
        let most = rate * self.of.seconds();
        for _ in 0..TRIES {
            let found = self.shared.read(key);
            let (tokens, filled) =
                found.as_ref().and_then(|(bytes, _)| decode(bytes)).unwrap_or((most, now));
            let passed = now.saturating_sub(filled).as_secs_f64();
            let tokens = (tokens + passed * rate).min(most);
            if tokens + by < 0.0 {
                return false;
            }
            let left = encode((tokens + by).min(most), now.max(filled));
            if self.shared.write(key, &left, found.map(|(_, cas)| cas)).is_ok() {
                return true;
            }
        }
        // Who cannot write down that one was taken takes none.
        false
    }
}

/// The secret that all workers share: the first one's own.
pub(crate) fn common_secret(shared: &dyn SharedStore, own: [u8; 16]) -> [u8; 16] {
    const KEY: &str = "rate/secret";
    let read = || shared.read(KEY).and_then(|(bytes, _)| bytes.try_into().ok());
    read().unwrap_or_else(|| {
        // Of several who come at once the last one is believed from now on.
        let _ = shared.write(KEY, &own, None);
        read().unwrap_or(own)
    })
}

/// The smallest part of the network that is one client's: an IPv4 address, or the /64 of an IPv6 address, of which each
/// client has as many as it likes (RFC 6177, section 2). Text that is no address stands for itself.
#[must_use]
pub fn network(address: &str) -> String {
    // A link-local address may name its interface.
    let bare = address.split_once('%').map_or(address, |(bare, _)| bare);
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => address.to_owned(),
    }
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

    const NOW: Duration = Duration::from_secs(1_000);

    fn buckets(shared: &dyn SharedStore) -> Buckets<'_> {
        Buckets { of: Limited::Reviews, gateway: "", per_second: 20, secret: [3; 16], shared }
    }

    fn taken(memory: &Memory, address: &str, times: u32, millis: u64) -> usize {
        let now = NOW + Duration::from_millis(millis);
        (0..times).filter(|_| buckets(memory).take(&network(address), now)).count()
    }

    #[test]
    fn one_address_gets_its_rate_and_no_more() {
        let memory = Memory::default();
        assert_eq!(taken(&memory, "192.0.2.1", 300, 0), 200, "ten seconds' worth at once");
        assert_eq!(taken(&memory, "192.0.2.1", 300, 500), 10);
        assert_eq!(taken(&memory, "192.0.2.2", 300, 500), 200, "another address has its own");
        assert_eq!(taken(&memory, "192.0.2.1", 300, 60_000), 200, "no saving up beyond that");
    }

    /// Whoever has one address of IPv6 has 2^64.
    #[test]
    fn break_in_13_the_addresses_of_a_network_share_its_rate() {
        let memory = Memory::default();
        let sum: usize =
            (0..100).map(|n| taken(&memory, &format!("2001:db8::{n:x}:1"), 20, 0)).sum();
        assert_eq!(sum, 200);
        assert_eq!(taken(&memory, "2001:db8:0:1::1", 300, 0), 200, "the next network");
        for (address, want) in [
            ("2001:DB8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "0:0:0:0::/64"),
            ("fe80::1%eth0", "fe80:0:0:0::/64"),
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("@socket", "@socket"),
            ("", ""),
        ] {
            assert_eq!(network(address), want, "{address}");
        }
    }

    #[test]
    fn what_is_counted_apart_is_bounded_apart() {
        let memory = Memory::default();
        assert_eq!(taken(&memory, "192.0.2.1", 300, 0), 200);
        assert!(Buckets { of: Limited::Checks, ..buckets(&memory) }.take("192.0.2.1", NOW));
    }

    #[test]
    fn workers_share_the_rate_of_an_address() {
        let memory = Memory::default();
        let taken = |secret| {
            let worker = Buckets { secret, ..buckets(&memory) };
            (0..150).filter(|_| worker.take("192.0.2.1", NOW)).count()
        };
        assert_eq!((taken([3; 16]), taken([4; 16])), (150, 50));
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
        assert!(!buckets(&Full).take("192.0.2.1", NOW));
    }

    #[test]
    fn many_addresses_together_are_bounded_too() {
        let memory = Memory::default();
        let sum: usize =
            (0..200).map(|n| taken(&memory, &format!("2001:db8:0:{n}::1"), 20, 0)).sum();
        assert_eq!(sum, 2000);
    }

    /// What was worth it costs nothing.
    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let memory = Memory::default();
        for _ in 0..1000 {
            assert!(buckets(&memory).take("192.0.2.1", NOW));
            buckets(&memory).give_back("192.0.2.1", NOW);
        }
        assert_eq!(taken(&memory, "192.0.2.1", 300, 0), 200, "and never more than it holds");
    }
}
