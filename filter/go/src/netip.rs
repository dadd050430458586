//! IP addresses and prefixes as Go's `net/netip` reads them. The standard library takes others, for example those without a
//! zone alone. Source: Go, `net/netip/netip.go`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::strconv::quote;

/// An address and how many of its first bits make the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// Go's `ParsePrefix`: `address/bits`.
    ///
    /// # Errors
    /// With Go's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("netip.ParsePrefix({}): {why}", quote(text));
        let (address, bits) = text.rsplit_once('/').ok_or_else(|| refused("no '/'"))?;
        let (address, has_zone) = parse_addr(address).map_err(|why| refused(&why))?;
        if has_zone {
            return Err(refused("IPv6 zones cannot be present in a prefix"));
        }
        let bad = || refused(&format!("bad bits after slash: {}", quote(bits)));
        if bits.len() > 1 && !matches!(bits.as_bytes().first(), Some(b'1'..=b'9')) {
            return Err(bad());
        }
        let length: i64 = bits.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = u8::try_from(length).ok().filter(|bits| *bits <= most);
        let bits = bits.ok_or_else(|| refused("prefix length out of range"))?;
        Ok(Self { address, bits })
    }

    /// `address/bits`, or an address that stands for itself alone, as people write them in settings.
    ///
    /// # Errors
    /// With Go's words.
    pub fn parse_or_address(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return Self::parse(text);
        }
        match parse_addr(text)? {
            (address, false) => Ok(Self::of(address)),
            (_, true) => Err(format!("{}: a network has no IPv6 zone", quote(text))),
        }
    }

    /// The prefix that has this address alone.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The address, with the bits behind the prefix that were written.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the prefix.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The prefix without the bits behind it.
    #[must_use]
    pub fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Self { address, ..self }
    }

    /// Whether the network has the address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Self { address, ..self }.masked() == self.masked()
    }

    /// Whether the network has all addresses of the other.
    #[must_use]
    pub fn includes(self, inner: Self) -> bool {
        self.bits <= inner.bits && self.contains(inner.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Go's `ParseAddr`: the address, and whether it has a zone.
///
/// # Errors
/// With Go's words: `ParseAddr("text"): reason`.
pub fn parse_addr(text: &str) -> Result<(IpAddr, bool), String> {
    let refused = |why: &str| Err(format!("ParseAddr({}): {why}", quote(text)));
    match text.find(['.', ':', '%']).and_then(|at| text.as_bytes().get(at)) {
        Some(b'.') => match ipv4(text) {
            Ok(address) => Ok((IpAddr::V4(address), false)),
            Err(why) => refused(&why),
        },
        Some(b':') => {
            let (address, zone) = match text.split_once('%') {
                Some((_, "")) => return refused("zone must be a non-empty string"),
                Some((address, _)) => (address, true),
                None => (text, false),
            };
            match ipv6(address) {
                Ok(address) => Ok((IpAddr::V6(address), zone)),
                Err(why) => refused(&why),
            }
        }
        Some(_) => refused("missing IPv6 address"),
        None => refused("unable to parse IP"),
    }
}

fn at(why: &str, rest: &str) -> String {
    format!("{why} (at {})", quote(rest))
}

fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    let mut fields = Vec::new();
    let (mut value, mut digits) = (0u32, 0);
    for (index, byte) in text.bytes().enumerate() {
        let rest = || text.get(index..).unwrap_or_default();
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return Err("IPv4 field has octet with leading zero".to_owned());
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return Err("IPv4 field has value >255".to_owned());
                }
            }
            b'.' if digits == 0 || index + 1 == text.len() => {
                return Err(at("IPv4 field must have at least one digit", rest()));
            }
            b'.' if fields.len() == 3 => return Err("IPv4 address too long".to_owned()),
            b'.' => {
                fields.push(value);
                (value, digits) = (0, 0);
            }
            _ => return Err(at("unexpected character", rest())),
        }
    }
    match fields.as_slice() {
        [a, b, c] => Ok(Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | value)),
        _ => Err("IPv4 address too short".to_owned()),
    }
}

fn ipv6(text: &str) -> Result<Ipv6Addr, String> {
    let mut groups: Vec<u16> = Vec::with_capacity(8);
    let mut ellipsis = None;
    let mut rest = text;
    if let Some(after) = rest.strip_prefix("::") {
        if after.is_empty() {
            return Ok(Ipv6Addr::UNSPECIFIED);
        }
        (ellipsis, rest) = (Some(0), after);
    }
    while groups.len() < 8 {
        let length = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if length > 4 {
            return Err(at("each group must have 4 or less digits", rest));
        }
        let digits = rest.get(..length).unwrap_or_default();
        let Ok(group) = u16::from_str_radix(digits, 16) else {
            return Err(at("each colon-separated field must have at least one digit", rest));
        };
        let after = rest.get(length..).unwrap_or_default();
        if after.starts_with('.') {
            if ellipsis.is_none() && groups.len() != 6 {
                return Err(at(
                    "embedded IPv4 address must replace the final 2 fields of the address",
                    rest,
                ));
            }
            if groups.len() > 6 {
                return Err(at(
                    "too many hex fields to fit an embedded IPv4 at the end of the address",
                    rest,
                ));
            }
            let [a, b, c, d] = ipv4(rest)?.octets();
            groups.extend([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
            rest = "";
            break;
        }
        groups.push(group);
        rest = after;
        if rest.is_empty() {
            break;
        }
        rest = match rest.strip_prefix(':') {
            None => return Err(at("unexpected character, want colon", rest)),
            Some("") => return Err(at("colon must be followed by more characters", rest)),
            Some(after) => after,
        };
        if let Some(after) = rest.strip_prefix(':') {
            if ellipsis.is_some() {
                return Err(at("multiple :: in address", rest));
            }
            (ellipsis, rest) = (Some(groups.len()), after);
            if rest.is_empty() {
                break;
            }
        }
    }
    if !rest.is_empty() {
        return Err(at("trailing garbage after address", rest));
    }
    match ellipsis {
        Some(_) if groups.len() == 8 => {
            return Err("the :: must expand to at least one field of zeros".to_owned());
        }
        Some(position) => {
            let zeros = std::iter::repeat_n(0, 8 - groups.len());
            groups.splice(position..position, zeros);
        }
        None if groups.len() < 8 => return Err("address string too short".to_owned()),
        None => {}
    }
    let bits = groups.iter().fold(0u128, |bits, group| bits << 16 | u128::from(*group));
    Ok(Ipv6Addr::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn texts_are_those_of_go() {
        for (address, want) in [
            ("::1", Ok(false)),
            ("::", Ok(false)),
            ("1:2:3:4:5:6:7:8", Ok(false)),
            ("1::8", Ok(false)),
            ("1::", Ok(false)),
            ("fe80::1%en0", Ok(false)),
            ("::ffff:1.2.3.4", Ok(false)),
            ("1:2:3:4:5:6:1.2.3.4", Ok(false)),
            ("1.2.3.4", Ok(true)),
            ("", Err("unable to parse IP")),
            ("host", Err("unable to parse IP")),
            ("%zone", Err("missing IPv6 address")),
            ("::1%", Err("zone must be a non-empty string")),
            ("::g", Err("each colon-separated field must have at least one digit (at \"g\")")),
            (":1", Err("each colon-separated field must have at least one digit (at \":1\")")),
            ("::12345", Err("each group must have 4 or less digits (at \"12345\")")),
            ("1:2", Err("address string too short")),
            ("1:2:", Err("colon must be followed by more characters (at \":\")")),
            ("1:2x", Err("unexpected character, want colon (at \"x\")")),
            ("1::2::3", Err("multiple :: in address (at \":3\")")),
            ("1:2:3:4:5:6:7:8:9", Err("trailing garbage after address (at \"9\")")),
            ("1:2:3:4:5:6:7::8", Err("the :: must expand to at least one field of zeros")),
            (
                "1:1.2.3.4",
                Err("embedded IPv4 address must replace the final 2 fields of the address \
                     (at \"1.2.3.4\")"),
            ),
            ("::1.2.3", Err("IPv4 address too short")),
            ("::1.2.3.256", Err("IPv4 field has value >255")),
            ("::1.2.3.04", Err("IPv4 field has octet with leading zero")),
            ("1.2..4", Err("IPv4 field must have at least one digit (at \".4\")")),
            ("1.2.3.4.5", Err("IPv4 address too long")),
            ("1.2.3.x", Err("unexpected character (at \"x\")")),
        ] {
            let want = want.map_err(|reason| format!("ParseAddr({}): {reason}", quote(address)));
            let family = parse_addr(address).map(|(address, _)| address.is_ipv4());
            assert_eq!(family, want, "{address}");
        }
    }

    #[test]
    fn addresses_are_read_as_go_does() {
        for (text, want) in [
            ("10.0.0.1", Ok("10.0.0.1")),
            ("::", Ok("::")),
            ("2001:DB8::1", Ok("2001:db8::1")),
            ("64:ff9b::192.0.2.33", Ok("64:ff9b::c000:221")),
            ("010.0.0.1", Err("ParseAddr(\"010.0.0.1\"): IPv4 field has octet with leading zero")),
            ("1.2.3", Err("ParseAddr(\"1.2.3\"): IPv4 address too short")),
            ("", Err("ParseAddr(\"\"): unable to parse IP")),
            ("1::2::3", Err("ParseAddr(\"1::2::3\"): multiple :: in address (at \":3\")")),
        ] {
            let got = parse_addr(text).map(|(address, _)| address.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{text}");
        }
    }

    #[test]
    fn prefixes_are_read_as_go_does() {
        for (text, want) in [
            ("10.1.2.3/8", Ok("10.0.0.0/8")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:db8::1/32", Ok("2001:db8::/32")),
            ("10.0.0.0", Err("no '/'")),
            ("10.0.0.0/33", Err("prefix length out of range")),
            ("10.0.0.0/08", Err("bad bits after slash: \"08\"")),
            ("10.0.0.0/+8", Err("bad bits after slash: \"+8\"")),
            ("fe80::1%a/64", Err("IPv6 zones cannot be present in a prefix")),
            ("x/8", Err("ParseAddr(\"x\"): unable to parse IP")),
        ] {
            let got = Prefix::parse(text).map(|prefix| prefix.masked().to_string());
            let want = want
                .map(str::to_owned)
                .map_err(|why| format!("netip.ParsePrefix({}): {why}", quote(text)));
            assert_eq!(got, want, "{text}");
        }
    }
}
