//! IP addresses and networks. Source: k8s.io/apiserver, `pkg/cel/library/ip.go` and `cidr.go`; Go, `net/netip`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Body, first, text, two};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::go::quote;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("string_to_ip", |_, args| ip(text(args, 0)?).map(Value::Ip)),
    ("is_ip", |_, args| Ok(Value::Bool(ip(text(args, 0)?).is_ok()))),
    ("ip_is_canonical", |_, args| {
        let text = text(args, 0)?;
        ip(text).map(|address| Value::Bool(address.to_string() == text))
    }),
    ("ip_family", |_, args| {
        of_ip(args, |address| Value::Int(if address.is_ipv4() { 4 } else { 6 }))
    }),
    ("ip_is_unspecified", |_, args| of_ip(args, |address| Value::Bool(address.is_unspecified()))),
    ("ip_is_loopback", |_, args| of_ip(args, |address| Value::Bool(address.is_loopback()))),
    ("ip_is_link_local_multicast", |_, args| {
        of_ip(args, |address| Value::Bool(is_link_local_multicast(address)))
    }),
    ("ip_is_link_local_unicast", |_, args| {
        of_ip(args, |address| Value::Bool(is_link_local_unicast(address)))
    }),
    ("ip_is_global_unicast", |_, args| {
        of_ip(args, |address| Value::Bool(is_global_unicast(address)))
    }),
    ("string_to_cidr", |_, args| cidr(text(args, 0)?).map(Value::Cidr)),
    ("is_cidr", |_, args| Ok(Value::Bool(cidr(text(args, 0)?).is_ok()))),
    ("cidr_contains_ip_string", |_, args| {
        // Upstream loses why the text is no address.
        let address = ip(text(args, 1)?).map_err(|_| EvalError::no_such_overload())?;
        of_cidr(args, |network| Value::Bool(network.contains(address)))
    }),
    ("cidr_contains_ip_ip", |_, args| match two(args)? {
        (Value::Cidr(network), Value::Ip(address)) => Ok(Value::Bool(network.contains(*address))),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("cidr_contains_cidr_string", |_, args| {
        let inner = cidr(text(args, 1)?)?;
        of_cidr(args, |network| Value::Bool(network.includes(inner)))
    }),
    ("cidr_contains_cidr", |_, args| match two(args)? {
        (Value::Cidr(network), Value::Cidr(inner)) => Ok(Value::Bool(network.includes(*inner))),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("cidr_ip", |_, args| of_cidr(args, |network| Value::Ip(network.address))),
    ("cidr_prefix_length", |_, args| of_cidr(args, |network| Value::Int(i64::from(network.bits)))),
    ("cidr_masked", |_, args| of_cidr(args, |network| Value::Cidr(network.masked()))),
];

type Answer<'a> = Result<Value<'a>, EvalError>;

/// An address and how many of its first bits make the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// The length of the prefix.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    fn masked(self) -> Self {
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

    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Self { address, ..self }.masked() == self.masked()
    }

    fn includes(self, inner: Self) -> bool {
        self.bits <= inner.bits && self.contains(inner.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn of_ip<'a>(arguments: &[Value<'a>], answer: fn(IpAddr) -> Value<'static>) -> Answer<'a> {
    match first(arguments)? {
        Value::Ip(address) => Ok(answer(*address)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn of_cidr<'a>(arguments: &[Value<'a>], answer: impl Fn(Cidr) -> Value<'static>) -> Answer<'a> {
    match first(arguments)? {
        Value::Cidr(network) => Ok(answer(*network)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => {
            address.segments().first().is_some_and(|first| first & 0xff0f == 0xff02)
        }
    }
}

fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80)
        }
    }
}

fn is_global_unicast(address: IpAddr) -> bool {
    !(matches!(address, IpAddr::V4(address) if address.is_broadcast())
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local_unicast(address))
}

fn ip(text: &str) -> Result<IpAddr, EvalError> {
    match parse(text) {
        Err(why) => Err(EvalError::new(format!(
            "IP Address {} parse error during conversion from string: {why}",
            quote(text)
        ))),
        Ok((_, true)) => Err(EvalError::new(format!(
            "IP address {} with zone value is not allowed",
            quote(text)
        ))),
        Ok((address, _)) if is_mapped(address) => {
            Err(EvalError::new(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))))
        }
        Ok((address, _)) => Ok(address),
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn cidr(text: &str) -> Result<Cidr, EvalError> {
    // The phrase stands there twice: once of the function, once of its parser.
    const PHRASE: &str = "network address parse error during conversion from string";
    let refused = |why: String| {
        EvalError::new(format!("{PHRASE}: {PHRASE}: netip.ParsePrefix({}): {why}", quote(text)))
    };
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| refused("no '/'".to_owned()))?;
    let (address, zone) = parse(address).map_err(refused)?;
    if zone {
        return Err(refused("IPv6 zones cannot be present in a prefix".to_owned()));
    }
    let bad = || refused(format!("bad bits after slash: {}", quote(bits)));
    if bits.len() > 1 && !matches!(bits.as_bytes().first(), Some(b'1'..=b'9')) {
        return Err(bad());
    }
    let length: i64 = bits.parse().map_err(|_| bad())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = u8::try_from(length).ok().filter(|bits| *bits <= most);
    let bits = bits.ok_or_else(|| refused("prefix length out of range".to_owned()))?;
    if is_mapped(address) {
        let text = quote(text);
        return Err(EvalError::new(format!(
            "{PHRASE}: IPv4-mapped IPv6 address {text} is not allowed"
        )));
    }
    Ok(Cidr { address, bits })
}

/// Go's `netip.ParseAddr`: the address and whether it has a zone, or Go's text.
pub fn parse(text: &str) -> Result<(IpAddr, bool), String> {
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
            let got = parse(text).map(|(address, _)| address.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{text}");
        }
    }
}
