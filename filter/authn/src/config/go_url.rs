//! `url.Parse` of Go 1.26 as far as issuer URLs need it: which URLs it refuses with which words, and which parts a URL
//! has. A URL library would accept and refuse others. Source: Go, `net/url/url.go`.

use super::go_ip::{self, Family};
use crate::go;

/// The parts of a URL that validation asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GoUrl {
    /// Lower-case.
    pub(super) scheme: String,
    pub(super) has_userinfo: bool,
    pub(super) has_query: bool,
    pub(super) has_fragment: bool,
}

/// Parses `url`.
///
/// # Errors
/// The text of Go's error: `parse "url": reason`.
pub(super) fn parse(url: &str) -> Result<GoUrl, String> {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let mut parsed =
        parse_reference(rest).map_err(|reason| format!("parse {}: {reason}", go::quote(rest)))?;
    check_escapes(fragment, Part::Fragment)
        .map_err(|reason| format!("parse {}: {reason}", go::quote(url)))?;
    parsed.has_fragment = !fragment.is_empty();
    Ok(parsed)
}

fn parse_reference(url: &str) -> Result<GoUrl, String> {
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if url == "*" {
        return Ok(GoUrl::default());
    }
    let (scheme, rest) = split_scheme(url)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parsed = GoUrl {
        scheme: scheme.to_ascii_lowercase(),
        has_query: !query.is_empty(),
        ..GoUrl::default()
    };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(parsed);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let authority = rest
        .strip_prefix("//")
        .filter(|authority| !scheme.is_empty() || !authority.starts_with('/'));
    let path = match authority {
        None => rest,
        Some(authority) => {
            let length = authority.find('/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at(length);
            parsed.has_userinfo = check_authority(&parsed.scheme, authority)?;
            path
        }
    };
    check_escapes(path, Part::Path)?;
    Ok(parsed)
}

/// The scheme and what follows it; a URL without one has the empty scheme.
fn split_scheme(url: &str) -> Result<(&str, &str), String> {
    for (index, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => {
                let (scheme, rest) = url.split_at(index);
                return Ok((scheme, rest.strip_prefix(':').unwrap_or(rest)));
            }
            _ => break,
        }
    }
    Ok(("", url))
}

/// Checks `user@host:port` and says whether there is a user.
fn check_authority(scheme: &str, authority: &str) -> Result<bool, String> {
    let Some((userinfo, host)) = authority.rsplit_once('@') else {
        check_host(scheme, authority)?;
        return Ok(false);
    };
    check_host(scheme, host)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !userinfo.bytes().all(allowed) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    check_escapes(userinfo, Part::Userinfo)?;
    Ok(true)
}

fn check_host(scheme: &str, host: &str) -> Result<(), String> {
    match host.rfind('[') {
        Some(0) => return check_ip_literal(host),
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    // More than one colon is for the hosts of other schemes: databases have lists of them.
    let colon = if matches!(scheme, "http" | "https") { host.find(':') } else { host.rfind(':') };
    if let Some(colon) = colon {
        check_port(host.split_at(colon).1)?;
    }
    check_escapes(host, Part::Host)
}

fn check_ip_literal(host: &str) -> Result<(), String> {
    let Some((address, port)) = host.rsplit_once(']') else {
        return Err("missing ']' in host".to_owned());
    };
    let address = address.strip_prefix('[').unwrap_or(address);
    check_port(port)?;
    let zone = address.find("%25").unwrap_or(address.len());
    let (ip, zone) = address.split_at(zone);
    check_escapes(ip, Part::Host)?;
    check_escapes(zone, Part::Zone)?;
    let ip = unescape(ip);
    let zone = unescape(zone);
    let address = String::from_utf8_lossy(&[ip.as_slice(), &zone].concat()).into_owned();
    match go_ip::check(&address).map_err(|error| format!("invalid host: {error}"))? {
        Family::V4 => Err("invalid IP-literal".to_owned()),
        Family::V6 => Ok(()),
    }
}

fn check_port(port: &str) -> Result<(), String> {
    let is_port = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_empty() || port.strip_prefix(':').is_some_and(is_port) {
        return Ok(());
    }
    Err(format!("invalid port {} after host", go::quote(port)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Userinfo,
    Host,
    Zone,
    Path,
    Fragment,
}

/// Bytes that may stand in a host as they are; everything beyond ASCII may too.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~".contains(&byte)
}

fn check_escapes(text: &str, part: Part) -> Result<(), String> {
    let in_host = matches!(part, Part::Host | Part::Zone);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let escape = bytes.get(at..(at + 3).min(bytes.len())).unwrap_or_default();
            let value = escape_value(escape);
            let allowed = match (part, value) {
                (_, None) => false,
                (Part::Host, Some(value)) => value >= 0x80 || escape == b"%25",
                (Part::Zone, Some(value)) => {
                    escape == b"%25" || value == b' ' || is_host_byte(value)
                }
                _ => true,
            };
            if !allowed {
                let escape = String::from_utf8_lossy(escape);
                return Err(format!("invalid URL escape {}", go::quote(&escape)));
            }
            at += 3;
        } else {
            if in_host && byte < 0x80 && !is_host_byte(byte) {
                let character = go::quote(&char::from(byte).to_string());
                return Err(format!("invalid character {character} in host name"));
            }
            at += 1;
        }
    }
    Ok(())
}

/// The byte that `%XX` stands for.
fn escape_value(escape: &[u8]) -> Option<u8> {
    let &[b'%', high, low] = escape else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// `text` with its escapes, all known to be good, resolved.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = rest.get(..3).and_then(escape_value);
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { rest.get(3..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn url(scheme: &str) -> GoUrl {
        GoUrl { scheme: scheme.to_owned(), ..GoUrl::default() }
    }

    #[test]
    fn parts() {
        for (text, want) in [
            ("https://a.example/b/", url("https")),
            ("HTTPS://a", url("https")),
            ("//a/b", url("")),
            ("*", url("")),
            ("a/b:c", url("")),
            ("https:", url("https")),
            ("foo:bar c", url("foo")),
            ("https://a?", url("https")),
            ("https://a?b", GoUrl { has_query: true, ..url("https") }),
            ("https://a??", GoUrl { has_query: true, ..url("https") }),
            ("https://a#", url("https")),
            ("https://a#b", GoUrl { has_fragment: true, ..url("https") }),
            ("https://u:p@a", GoUrl { has_userinfo: true, ..url("https") }),
            ("https://@a", GoUrl { has_userinfo: true, ..url("https") }),
            ("https:///x", url("https")),
            ("https://[::1]:80/x", url("https")),
            ("https://[fe80::1%25en0]", url("https")),
            ("https://a:", url("https")),
            ("https://é.example/é", url("https")),
            ("https://a/%41", url("https")),
            ("https://a%e9", url("https")),
            ("db://a:1,b:2", url("db")), // several colons, but not for https
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn errors_are_those_of_go() {
        for (text, want) in [
            (":foo", "missing protocol scheme"),
            ("1x:y", "first path segment in URL cannot contain colon"),
            ("ht tp://x", "first path segment in URL cannot contain colon"),
            ("https://a\u{1}", "net/url: invalid control character in URL"),
            ("https://a b", r#"invalid character " " in host name"#),
            ("https://a\\b", r#"invalid character "\\" in host name"#),
            ("https://a^b", r#"invalid character "^" in host name"#),
            ("https://a%41", r#"invalid URL escape "%41""#),
            ("https://a%", r#"invalid URL escape "%""#),
            ("https://a/%zz", r#"invalid URL escape "%zz""#),
            ("https://a:80:90", r#"invalid port ":80:90" after host"#),
            ("https://a:x", r#"invalid port ":x" after host"#),
            ("https://a[b]", "invalid IP-literal"),
            ("https://[1.2.3.4]", "invalid IP-literal"),
            ("https://[::1", "missing ']' in host"),
            ("https://[::1]x", r#"invalid port "x" after host"#),
            ("https://[]", r#"invalid host: ParseAddr(""): unable to parse IP"#),
            (
                "https://[fe80::1%25]",
                r#"invalid host: ParseAddr("fe80::1%"): zone must be a non-empty string"#,
            ),
            ("https://[fe80::1%25a%5eb]", r#"invalid URL escape "%5e""#),
            ("https://u^@a", "net/url: invalid userinfo"),
            ("https://u%zz@a", r#"invalid URL escape "%zz""#),
        ] {
            let want = Err(format!("parse {}: {want}", go::quote(text)));
            assert_eq!(parse(text), want, "{text}");
        }
        // The error names the URL without its fragment, unless the fragment is what is wrong.
        for (text, want) in [
            ("a b:c#d", r#"parse "a b:c": first path segment in URL cannot contain colon"#),
            ("https://a#%zz", r#"parse "https://a#%zz": invalid URL escape "%zz""#),
        ] {
            assert_eq!(parse(text), Err(want.to_owned()));
        }
    }
}
