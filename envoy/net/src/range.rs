//! Ranges of addresses, as `10.0.0.0/8` (RFC 4632, section 3.1; RFC 4291, section 2.3).

use go_compat::netip::Prefix;

/// No range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of addresses such as 10.0.0.0/8")]
pub struct BadRange(String);

/// Reads `ADDRESS/BITS`, and an address alone for itself.
///
/// # Errors
/// If it is neither.
pub fn range(text: &str) -> Result<Prefix, BadRange> {
    Prefix::parse_or_address(text).map_err(|_| BadRange(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn ranges_hold_what_shares_their_bits() {
        for (text, address, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false), // a range of one family
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "fe80::1", true),
        ] {
            let range = range(text).unwrap();
            assert_eq!(
                range.contains(address.parse::<IpAddr>().unwrap()),
                want,
                "{text} {address}"
            );
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/x", "a.example"] {
            assert!(range(text).is_err(), "{text:?}");
        }
    }
}
