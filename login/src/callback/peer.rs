//! Which user of the machine connects. The address of the start can be read among the browser's arguments, and a program is
//! quicker than a browser; but it cannot be another user's than it is.
//!
//! Linux tells the owner of a socket to everybody (proc(5), `/proc/net/tcp`). Elsewhere nobody is refused for it.

use std::net::{IpAddr, SocketAddr, TcpStream};

/// Whether the owner of the connection's other end may log in here: this user, or root, as which forwarders run. Whoever is
/// not on this machine, or not seen in its tables, has no owner here.
pub fn may_connect(stream: &TcpStream) -> bool {
    let (Ok(peer), Ok(own)) = (stream.peer_addr(), stream.local_addr()) else { return false };
    owner(peer, own).is_none_or(is_allowed)
}

/// Root asks for somebody: whose browser that is, is not known.
#[cfg(target_os = "linux")]
fn is_allowed(owner: u32) -> bool {
    let own = rustix::process::geteuid();
    own.is_root() || owner == 0 || owner == own.as_raw()
}

#[cfg(not(target_os = "linux"))]
fn is_allowed(_: u32) -> bool {
    true
}

/// The owner of the socket at `peer` that is connected to `own`.
fn owner(peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    // A socket of IPv6 may speak to an IPv4 address: it stands in the other table, with both addresses mapped.
    let read = |table: &str| std::fs::read_to_string(table).unwrap_or_default();
    find(&read("/proc/net/tcp"), &entry(peer, own, false))
        .or_else(|| find(&read("/proc/net/tcp6"), &entry(peer, own, true)))
}

/// The two addresses as the tables have them: words of 32 bits in the machine's byte order.
fn entry(peer: SocketAddr, own: SocketAddr, as_ipv6: bool) -> [String; 2] {
    [peer, own].map(|address| {
        let bytes = match (address.ip().to_canonical(), as_ipv6) {
            (IpAddr::V4(ip), false) => ip.octets().to_vec(),
            (IpAddr::V4(ip), true) => ip.to_ipv6_mapped().octets().to_vec(),
            (IpAddr::V6(ip), _) => ip.octets().to_vec(),
        };
        let words = bytes.chunks_exact(4).map(|word| {
            let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            format!("{word:08X}")
        });
        format!("{}:{:04X}", words.collect::<String>(), address.port())
    })
}

fn find(table: &str, [peer, own]: &[String; 2]) -> Option<u32> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1) == Some(&peer.as_str()) && fields.get(2) == Some(&own.as_str());
        is_it.then(|| fields.get(7)?.parse().ok())?
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn break_in_12_a_connections_owner_is_known() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(!address.starts_with("127"), "{address}");
                continue; // no IPv6 on this machine
            };
            let own = listener.local_addr().unwrap();
            let client = TcpStream::connect(own).unwrap();
            let (served, peer) = listener.accept().unwrap();
            assert_eq!(owner(peer, own), Some(rustix::process::geteuid().as_raw()), "{address}");
            assert!(may_connect(&served));
            drop(client);
        }
    }

    #[test]
    fn break_in_12_other_users_are_told_apart() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1\n\
             \x20  1: 0100007F:1F40 0100007F:A0B2 01 00000000:00000000 00:00000000 00000000  1000        0 2 1\n\
             \x20  2: 0100007F:A0B2 0100007F:1F40 01 00000000:00000000 00:00000000 00000000  1001        0 3 1\n";
        let own = "127.0.0.1:8000".parse().unwrap();
        let [peer, other] = [0xa0b2, 0xa0b3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        // The tables are in the machine's byte order, this one is of a small machine.
        if cfg!(target_endian = "little") {
            assert_eq!(find(table, &entry(peer, own, false)), Some(1001));
        }
        assert_eq!(find(table, &entry(other, own, false)), None);
        let mapped = entry(peer, own, true);
        assert!(mapped[0].ends_with("0100007F:A0B2") || cfg!(target_endian = "big"), "{mapped:?}");
    }
}
