//! `netip.ParseAddr` of Go 1.26: which IP addresses it refuses, with its words. Source: Go, `net/netip/netip.go`.

use crate::go;

/// The two families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Checks `address`, which may have a zone.
///
/// # Errors
/// Go's text: `ParseAddr("address"): reason`.
pub(super) fn check(address: &str) -> Result<Family, String> {
    let checked = match address.find(['.', ':', '%']).and_then(|at| address.as_bytes().get(at)) {
        Some(b'.') => check_v4(address).map(|()| Family::V4),
        Some(b':') => check_v6(address).map(|()| Family::V6),
        Some(_) => refuse("missing IPv6 address"),
        None => refuse("unable to parse IP"),
    };
    checked.map_err(|Refusal { reason, at }| {
        let place = at.map(|at| format!(" (at {})", go::quote(at))).unwrap_or_default();
        format!("ParseAddr({}): {reason}{place}", go::quote(address))
    })
}

struct Refusal<'a> {
    reason: &'static str,
    /// The rest of the address that was not read, where Go tells it.
    at: Option<&'a str>,
}

fn refuse<T>(reason: &'static str) -> Result<T, Refusal<'static>> {
    Err(Refusal { reason, at: None })
}

fn refuse_at<'a, T>(reason: &'static str, at: &'a str) -> Result<T, Refusal<'a>> {
    Err(Refusal { reason, at: Some(at).filter(|at| !at.is_empty()) })
}

fn check_v4(text: &str) -> Result<(), Refusal<'_>> {
    let (mut value, mut digits, mut dots) = (0, 0, 0);
    for (index, byte) in text.bytes().enumerate() {
        let rest = text.get(index..).unwrap_or_default();
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return refuse("IPv4 field has octet with leading zero");
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return refuse("IPv4 field has value >255");
                }
            }
            b'.' if digits == 0 || rest.len() == 1 => {
                return refuse_at("IPv4 field must have at least one digit", rest);
            }
            b'.' if dots == 3 => return refuse("IPv4 address too long"),
            b'.' => (value, digits, dots) = (0, 0, dots + 1),
            _ => return refuse_at("unexpected character", rest),
        }
    }
    if dots < 3 { refuse("IPv4 address too short") } else { Ok(()) }
}

fn check_v6(address: &str) -> Result<(), Refusal<'_>> {
    let (mut rest, zone) = address.split_once('%').unwrap_or((address, "zone"));
    if zone.is_empty() {
        return refuse("zone must be a non-empty string");
    }
    let mut ellipsis = false;
    if let Some(after) = rest.strip_prefix("::") {
        if after.is_empty() {
            return Ok(());
        }
        (rest, ellipsis) = (after, true);
    }
    // Groups of 16 bits, of which there are eight; an IPv4 address at the end is two.
    let mut groups = 0;
    while groups < 8 {
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        match digits {
            0 => {
                let reason = "each colon-separated field must have at least one digit";
                return refuse_at(reason, rest);
            }
            1..=4 => {}
            _ => return refuse_at("each group must have 4 or less digits", rest),
        }
        let (_, after) = rest.split_at(digits);
        if after.starts_with('.') {
            if !ellipsis && groups != 6 {
                let reason = "embedded IPv4 address must replace the final 2 fields of the address";
                return refuse_at(reason, rest);
            }
            if groups > 6 {
                let reason =
                    "too many hex fields to fit an embedded IPv4 at the end of the address";
                return refuse_at(reason, rest);
            }
            check_v4(rest)?;
            (rest, groups) = ("", groups + 2);
            break;
        }
        (rest, groups) = (after, groups + 1);
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(':') else {
            return refuse_at("unexpected character, want colon", rest);
        };
        if after.is_empty() {
            return refuse_at("colon must be followed by more characters", rest);
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            if ellipsis {
                return refuse_at("multiple :: in address", rest);
            }
            (rest, ellipsis) = (after, true);
            if rest.is_empty() {
                break;
            }
        }
    }
    match (rest.is_empty(), groups < 8, ellipsis) {
        (false, ..) => refuse_at("trailing garbage after address", rest),
        (true, true, false) => refuse("address string too short"),
        (true, false, true) => refuse("the :: must expand to at least one field of zeros"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn texts_are_those_of_go() {
        for (address, want) in [
            ("::1", Ok(Family::V6)),
            ("::", Ok(Family::V6)),
            ("1:2:3:4:5:6:7:8", Ok(Family::V6)),
            ("1::8", Ok(Family::V6)),
            ("1::", Ok(Family::V6)),
            ("fe80::1%en0", Ok(Family::V6)),
            ("::ffff:1.2.3.4", Ok(Family::V6)),
            ("1:2:3:4:5:6:1.2.3.4", Ok(Family::V6)),
            ("1.2.3.4", Ok(Family::V4)),
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
            let want =
                want.map_err(|reason| format!("ParseAddr({}): {reason}", go::quote(address)));
            assert_eq!(check(address), want, "{address}");
        }
    }
}
