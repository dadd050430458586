//! How many connections one address may hold of which nobody is known yet.
//!
//! A connection counts from its beginning, before its TLS handshake, until one of its requests has been let through for a user
//! who signed in, or until it ends. Who has too many of them gets no more; who does not sign in within a time is sent away.
//! So nobody takes all of the proxy's connections without a login, and a user's connections are never too many.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

/// What `system:anonymous` may read, anybody may: such a request does not make its client known.
pub const ANONYMOUS: &str = "system:anonymous";

/// The configuration of the root context `connections`, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// How many connections without a user one address may hold in one worker; 0 for any number.
    pub per_address: u32,
    /// How many seconds a connection may be without a user.
    pub undecided_seconds: u32,
}

/// Reads the configuration.
///
/// # Errors
/// If it is none, in one line.
pub fn parse(document: &[u8]) -> Result<Settings, String> {
    serde_json::from_slice(document).map_err(|error| error.to_string())
}

/// The connections of one listener in one worker of which nobody is known yet.
#[derive(Debug)]
pub struct Undecided {
    settings: Settings,
    /// By the proxy's number.
    connections: HashMap<u64, Connection>,
    /// How many of them each address has. No entry is zero.
    counts: HashMap<IpAddr, u32>,
    /// Beginning and number, in the order of beginnings. Those that are not in `connections` any more count no longer.
    queue: VecDeque<(Duration, u64)>,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    context: u32,
}

impl Undecided {
    /// None yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            connections: HashMap::new(),
            counts: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// Takes in a connection of this number, from `source` (`ADDRESS:PORT`); `context` is what the host calls it.
    ///
    /// False if its address has too many. What comes from no address is never too much.
    pub fn open(&mut self, number: u64, context: u32, source: &[u8], now: Duration) -> bool {
        let Some(address) = network(source) else { return true };
        let count = self.counts.entry(address).or_default();
        if self.settings.per_address > 0 && *count >= self.settings.per_address {
            return false;
        }
        *count = count.saturating_add(1);
        self.connections.insert(number, Connection { address, context });
        self.queue.push_back((now, number));
        true
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Counts a connection no longer, because its user is known or because it has ended. True if it did count.
    pub fn remove(&mut self, number: u64) -> bool {
        let Some(Connection { address, .. }) = self.connections.remove(&number) else {
            return false;
        };
        if let Entry::Occupied(mut count) = self.counts.entry(address) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
        true
    }

    /// The contexts of connections whose time is over, at most so many: there may be more.
    #[must_use]
    pub fn overdue(&mut self, now: Duration, most: usize) -> Vec<u32> {
        let patience = Duration::from_secs(self.settings.undecided_seconds.into());
        let mut contexts = Vec::new();
        while let Some((since, number)) = self.queue.front()
            && contexts.len() < most
        {
            match self.connections.get(number) {
                Some(_) if now.saturating_sub(*since) < patience => break,
                Some(connection) => contexts.push(connection.context),
                None => {}
            }
            self.queue.pop_front();
        }
        contexts
    }
}

/// What counts as one address: an IPv4 address, and the network of an IPv6 address that one client commonly has to itself
/// (RFC 6177, section 2: at least a /64).
fn network(source: &[u8]) -> Option<IpAddr> {
    let source: SocketAddr = std::str::from_utf8(source).ok()?.parse().ok()?;
    Some(match source.ip().to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        IpAddr::V4(address) => address.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { per_address: 2, undecided_seconds: 30 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn an_address_gets_so_many_and_its_places_back() {
        let mut undecided = Undecided::new(SETTINGS);
        let open = |undecided: &mut Undecided, n, from: &str| {
            undecided.open(n, 0, from.as_bytes(), seconds(0))
        };
        assert!(open(&mut undecided, 1, "192.0.2.1:1"));
        assert!(open(&mut undecided, 2, "192.0.2.1:2"));
        assert!(!open(&mut undecided, 3, "192.0.2.1:3"));
        assert!(open(&mut undecided, 4, "192.0.2.2:1"), "another address has its own");
        assert!(!undecided.remove(3), "what was refused never counted");
        assert!(undecided.remove(1));
        assert!(!undecided.remove(1), "a user who is known gives the place back once");
        assert!(open(&mut undecided, 5, "192.0.2.1:4"));
        assert!(!open(&mut undecided, 6, "192.0.2.1:5"));
        for number in [2, 4, 5] {
            assert!(undecided.remove(number));
        }
        assert!(undecided.is_empty() && undecided.counts.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        for (source, want) in [
            ("192.0.2.1:443", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:443", Some("192.0.2.1")),
            ("[2001:db8:0:1::1]:443", Some("2001:db8:0:1::")),
            ("[2001:db8:0:1:ffff:ffff:ffff:ffff]:443", Some("2001:db8:0:1::")),
            ("[2001:db8:0:2::1]:443", Some("2001:db8:0:2::")),
            ("/run/socket", None),
            ("", None),
        ] {
            let want = want.map(|address| address.parse().unwrap());
            assert_eq!(network(source.as_bytes()), want, "{source}");
        }
        assert_eq!(network(b"\xff"), None);
    }

    #[test]
    fn who_does_not_sign_in_is_sent_away() {
        let mut undecided = Undecided::new(SETTINGS);
        for (number, from, at) in
            [(1, "192.0.2.1:1", 0), (2, "192.0.2.2:1", 10), (3, "192.0.2.3:1", 20)]
        {
            assert!(undecided.open(
                number,
                u32::try_from(number).unwrap() + 100,
                from.as_bytes(),
                seconds(at)
            ));
        }
        assert!(undecided.overdue(seconds(29), 32).is_empty());
        assert!(undecided.remove(1));
        assert!(undecided.overdue(seconds(39), 32).is_empty(), "a user who is known may stay");
        assert_eq!(undecided.overdue(seconds(40), 32), [102]);
        assert!(undecided.overdue(seconds(41), 32).is_empty(), "each is told once");
        assert!(undecided.remove(2), "and counts until it has ended");
        assert_eq!(undecided.overdue(seconds(60), 32), [103]);
    }

    /// A thousand connections closed in one call are more than the VM's stack holds.
    #[test]
    fn break_in_14_connections_are_sent_away_some_at_a_time() {
        let mut undecided = Undecided::new(Settings { per_address: 0, ..SETTINGS });
        for number in 0..70 {
            assert!(undecided.open(number, 0, b"192.0.2.1:1", seconds(0)));
        }
        let sizes: Vec<_> = (0..4).map(|_| undecided.overdue(seconds(30), 32).len()).collect();
        assert_eq!(sizes, [32, 32, 6, 0]);
    }

    #[test]
    fn zero_is_no_limit() {
        let mut undecided = Undecided::new(Settings { per_address: 0, ..SETTINGS });
        assert!((0..10_000).all(|number| undecided.open(number, 0, b"192.0.2.1:1", seconds(0))));
        let all = (0..10_000).filter(|number| undecided.open(*number, 0, b"/socket", seconds(0)));
        assert_eq!(all.count(), 10_000);
    }
}
