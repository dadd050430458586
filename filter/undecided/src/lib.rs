//! How many connections one address may hold of which nobody is known yet.
//!
//! A connection counts from its beginning, before its TLS handshake, until one of its requests has been let through for a user
//! who signed in, or until it ends. Who has too many of them gets no more; who does not sign in within a time is sent away.
//! So nobody takes all of the proxy's connections without a login, and a user's connections are never too many.
//!
//! Nobody tells when a user has signed in: it has to be asked, which costs a host call. So it is asked when it matters: of the
//! connections of an address that has as many as it may, and of one whose time is over. Who is told calls [`Undecided::remove`], and knows
//! nobody when it is asked.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Of how many connections of an address it is asked when one more comes.
const MOST_ASKED: usize = 32;
/// No connection is asked for again within this time because its address has too many: what refusals cost has a bound.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// The filter's configuration, `per_address=NUMBER undecided_seconds=NUMBER`: a parser of JSON would make the module larger by a quarter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many connections without a user one address may hold in one worker; 0 for any number.
    pub per_address: u32,
    /// How many seconds a connection may be without a user.
    pub undecided_seconds: u32,
}

/// Reads the configuration.
///
/// # Errors
/// If it is none, in one line that names the field.
pub fn parse(document: &[u8]) -> Result<Settings, String> {
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    let (mut per_address, mut undecided_seconds) = (None, None);
    for word in text.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let field = match name {
            "per_address" => &mut per_address,
            "undecided_seconds" => &mut undecided_seconds,
            _ => return Err(format!("unknown field {name:?}")),
        };
        let number = value.parse().map_err(|_| format!("{name}: {value:?} is no number"))?;
        if field.replace(number).is_some() {
            return Err(format!("{name} stands there twice"));
        }
    }
    Ok(Settings {
        per_address: per_address.ok_or("per_address is missing")?,
        undecided_seconds: undecided_seconds.ok_or("undecided_seconds is missing")?,
    })
}

/// The connections of one listener in one worker of which nobody is known yet, each by what the host calls its context.
#[derive(Debug)]
pub struct Undecided {
    settings: Settings,
    connections: HashMap<u32, Connection>,
    /// No entry is without connections.
    addresses: HashMap<IpAddr, Address>,
    /// Beginning and context, in the order of beginnings. Those that are not in `connections` any more count no longer.
    queue: VecDeque<(Duration, u32)>,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    /// Its place in the address's list.
    place: usize,
}

/// Connections of an address, and the round in which it is asked for each of them.
#[derive(Debug, Default)]
struct Address {
    contexts: Vec<u32>,
    /// The place of the next one.
    next: usize,
    /// When the round began.
    began: Duration,
}

impl Undecided {
    /// None yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            connections: HashMap::new(),
            addresses: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// Takes in a connection from `source` (`ADDRESS:PORT`). `is_signed_in` tells of a context whether its user is known.
    ///
    /// False if its address has too many. What comes from no address is never too much.
    pub fn open(
        &mut self,
        context: u32,
        source: &[u8],
        now: Duration,
        is_signed_in: impl FnMut(u32) -> bool,
    ) -> bool {
        let Some(address) = network(source) else { return true };
        if self.is_full(address) {
            self.ask(address, now, is_signed_in);
            if self.is_full(address) {
                return false;
            }
        }
        let contexts = &mut self.addresses.entry(address).or_default().contexts;
        self.connections.insert(context, Connection { address, place: contexts.len() });
        contexts.push(context);
        self.queue.push_back((now, context));
        true
    }

    /// Counts a connection no longer, because its user is known or because it has ended. True if it did count.
    pub fn remove(&mut self, context: u32) -> bool {
        let Some(Connection { address, place }) = self.connections.remove(&context) else {
            return false;
        };
        if let Entry::Occupied(mut entry) = self.addresses.entry(address) {
            let contexts = &mut entry.get_mut().contexts;
            if place < contexts.len() {
                contexts.swap_remove(place);
            }
            if let Some(moved) =
                contexts.get(place).and_then(|moved| self.connections.get_mut(moved))
            {
                moved.place = place;
            }
            if contexts.is_empty() {
                entry.remove();
            }
        }
        true
    }

    /// The contexts of connections whose time is over, of which `is_signed_in` says that nobody is known; and whether there
    /// may be more, since it asks for `most` of them.
    #[must_use]
    pub fn overdue(
        &mut self,
        now: Duration,
        most: usize,
        mut is_signed_in: impl FnMut(u32) -> bool,
    ) -> (Vec<u32>, bool) {
        let patience = Duration::from_secs(self.settings.undecided_seconds.into());
        let (mut late, mut asked) = (Vec::new(), 0);
        while let Some(&(since, context)) = self.queue.front()
            && asked < most
        {
            if self.connections.contains_key(&context) {
                if now.saturating_sub(since) < patience {
                    break;
                }
                asked = asked.saturating_add(1);
                if is_signed_in(context) {
                    self.remove(context);
                } else {
                    late.push(context);
                }
            }
            self.queue.pop_front();
        }
        (late, asked == most)
    }

    fn is_full(&self, address: IpAddr) -> bool {
        let most = usize::try_from(self.settings.per_address).unwrap_or(usize::MAX);
        most > 0 && self.addresses.get(&address).is_some_and(|it| it.contexts.len() >= most)
    }

    /// Asks for some of an address's connections, and forgets those whose user is known.
    fn ask(&mut self, address: IpAddr, now: Duration, mut is_signed_in: impl FnMut(u32) -> bool) {
        for _ in 0..MOST_ASKED {
            let Some(of) = self.addresses.get_mut(&address) else { return };
            if of.next >= of.contexts.len() {
                if now.saturating_sub(of.began) < ASKED_EVERY {
                    return;
                }
                (of.next, of.began) = (0, now);
            }
            let Some(&context) = of.contexts.get(of.next) else { return };
            if is_signed_in(context) {
                // Another one takes its place.
                self.remove(context);
            } else {
                of.next = of.next.saturating_add(1);
            }
        }
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
    use std::cell::Cell;

    use super::*;

    const SETTINGS: Settings = Settings { per_address: 2, undecided_seconds: 30 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    fn nobody(_: u32) -> bool {
        false
    }

    #[test]
    fn an_address_gets_so_many_and_its_places_back() {
        let mut undecided = Undecided::new(SETTINGS);
        let open = |undecided: &mut Undecided, context, from: &str| {
            undecided.open(context, from.as_bytes(), seconds(0), nobody)
        };
        assert!(open(&mut undecided, 1, "192.0.2.1:1"));
        assert!(open(&mut undecided, 2, "192.0.2.1:2"));
        assert!(!open(&mut undecided, 3, "192.0.2.1:3"));
        assert!(open(&mut undecided, 4, "192.0.2.2:1"), "another address has its own");
        assert!(!undecided.remove(3), "what was refused never counted");
        assert!(undecided.remove(1));
        assert!(!undecided.remove(1), "what has ended gives the place back once");
        assert!(open(&mut undecided, 5, "192.0.2.1:4"));
        assert!(!open(&mut undecided, 6, "192.0.2.1:5"));
        for context in [2, 4, 5] {
            assert!(undecided.remove(context));
        }
        assert!(undecided.connections.is_empty() && undecided.addresses.is_empty());
    }

    #[test]
    fn whose_user_is_known_counts_no_longer() {
        let mut undecided = Undecided::new(Settings { per_address: 50, ..SETTINGS });
        let asked = Cell::new(0);
        let mut open = |context, known: &[u32], at| {
            undecided.open(context, b"192.0.2.1:1", at, |context| {
                asked.set(asked.get() + 1);
                known.contains(&context)
            })
        };
        assert!((0..50).all(|context| open(context, &[], seconds(0))));
        assert_eq!(asked.take(), 0, "while there are places nothing is asked");
        // The one that is known is found in the second call, and its place taken by another.
        assert!(!open(50, &[40], seconds(0)));
        assert_eq!(asked.take(), MOST_ASKED);
        assert!(open(51, &[40], seconds(0)));
        assert!(asked.take() <= MOST_ASKED);
        // Refusals do not ask for the same ones again and again.
        for context in 52..1_000 {
            assert!(!open(context, &[], seconds(1)));
        }
        assert!(asked.take() <= 100, "two rounds at most");
        assert!(!open(1_000, &[], seconds(2)));
        assert_eq!(asked.take(), MOST_ASKED, "after a time they are");
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
        for (context, from, at) in
            [(101, "192.0.2.1:1", 0), (102, "192.0.2.2:1", 10), (103, "192.0.2.3:1", 20)]
        {
            assert!(undecided.open(context, from.as_bytes(), seconds(at), nobody));
        }
        let mut overdue = |at, known: &[u32]| {
            undecided.overdue(seconds(at), 32, |context| known.contains(&context)).0
        };
        assert!(overdue(29, &[]).is_empty());
        assert!(overdue(39, &[101]).is_empty(), "a user who is known may stay");
        assert_eq!(overdue(40, &[]), [102]);
        assert!(overdue(41, &[]).is_empty(), "each is told once");
        assert!(!undecided.remove(101) && undecided.remove(102), "and counts until it has ended");
        assert_eq!(undecided.overdue(seconds(60), 32, nobody), (vec![103], false));
    }

    /// A thousand connections closed in one call are more than the VM's stack holds.
    #[test]
    fn break_in_14_connections_are_sent_away_some_at_a_time() {
        let mut undecided = Undecided::new(Settings { per_address: 0, ..SETTINGS });
        for context in 0..70 {
            assert!(undecided.open(context, b"192.0.2.1:1", seconds(0), nobody));
        }
        let mut sizes = || {
            let (late, more) = undecided.overdue(seconds(30), 32, nobody);
            (late.len(), more)
        };
        assert_eq!([sizes(), sizes(), sizes()], [(32, true), (32, true), (6, false)]);
    }

    #[test]
    fn zero_is_no_limit() {
        let mut undecided = Undecided::new(Settings { per_address: 0, ..SETTINGS });
        for source in [b"192.0.2.1:1".as_slice(), b"/socket"] {
            assert!((0..10_000).all(|it| undecided.open(it, source, seconds(0), nobody)));
        }
    }

    #[test]
    fn the_configuration_is_checked() {
        assert_eq!(parse(b"per_address=2 undecided_seconds=30"), Ok(SETTINGS));
        for (text, want) in [
            (&b"per_address=2"[..], "undecided_seconds is missing"),
            (b"", "per_address is missing"),
            (b"per_address=-1 undecided_seconds=30", "per_address: \"-1\" is no number"),
            (b"per_address", "per_address: \"\" is no number"),
            (b"per_address=2 per_address=3", "per_address stands there twice"),
            (b"most=2", "unknown field \"most\""),
            (b"\xff", "invalid utf-8"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
