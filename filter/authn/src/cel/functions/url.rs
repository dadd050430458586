//! URLs. Source: k8s.io/apiserver, `pkg/cel/library/urls.go`; Go 1.26, `net/url`.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::{Body, first, net, text};
use crate::cel::error::EvalError;
use crate::cel::map::Map;
use crate::cel::value::Value;
use crate::go::quote;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("string_to_url", |meter, args| {
        let text = text(args, 0)?;
        meter.work(text.len() / 2)?;
        Url::parse_request(text)
            .and_then(|_| Url::parse(text))
            .map(|url| Value::Url(Arc::new(url)))
            .map_err(|why| {
                EvalError::new(format!("URL parse error during conversion from string: {why}"))
            })
    }),
    ("is_url_string", |meter, args| {
        let text = text(args, 0)?;
        meter.work(text.len() / 2)?;
        Ok(Value::Bool(Url::parse_request(text).is_ok()))
    }),
    ("url_get_scheme", |_, args| part(args, |url| url.scheme.clone())),
    ("url_get_host", |_, args| part(args, |url| url.host.clone())),
    ("url_get_hostname", |_, args| part(args, |url| url.host_and_port().0.to_owned())),
    ("url_get_port", |_, args| part(args, |url| url.host_and_port().1.to_owned())),
    ("url_get_escaped_path", |_, args| part(args, |url| url.escaped_path.clone())),
    ("url_get_query", query),
];

/// What is asked of a URL. Text that is not UTF-8 once unescaped is repaired, where upstream would carry the bytes.
#[derive(Debug)]
pub struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    omits_host: bool,
    escaped_path: String,
    query: Option<String>,
    fragment: String,
}

impl Url {
    /// Go's `url.ParseRequestURI`: absolute, and a fragment is part of the path.
    pub fn parse_request(text: &str) -> Result<Self, String> {
        parse(text, true).map_err(|why| format!("parse {}: {why}", quote(text)))
    }

    /// Go's `url.Parse`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = parse(rest, false).map_err(|why| format!("parse {}: {why}", quote(rest)))?;
        unescape(fragment, Part::Fragment)
            .map_err(|why| format!("parse {}: {why}", quote(text)))?;
        fragment.clone_into(&mut url.fragment);
        Ok(url)
    }

    fn host_and_port(&self) -> (&str, &str) {
        let (host, port) = match self.host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
            _ => (self.host.as_str(), ""),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        (inner.unwrap_or(host), port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        f.write_str(&self.opaque)?;
        if self.opaque.is_empty() {
            let has_authority = !self.host.is_empty() || self.user.is_some();
            let shows = has_authority
                || (!self.scheme.is_empty() && !self.omits_host && !self.escaped_path.is_empty());
            if shows {
                f.write_str("//")?;
            }
            if let Some(user) = &self.user {
                write!(f, "{user}@")?;
            }
            write!(f, "{}{}", self.host, self.escaped_path)?;
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if self.fragment.is_empty() { Ok(()) } else { write!(f, "#{}", self.fragment) }
    }
}

fn part<'a>(arguments: &[Value<'a>], of: fn(&Url) -> String) -> Result<Value<'a>, EvalError> {
    match first(arguments)? {
        Value::Url(url) => Ok(Value::string(of(url))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn query<'a>(
    meter: &mut crate::cel::meter::Meter,
    arguments: &[Value<'a>],
) -> Result<Value<'a>, EvalError> {
    let Value::Url(url) = first(arguments)? else { return Err(EvalError::no_such_overload()) };
    let query = url.query.as_deref().unwrap_or_default();
    meter.work(query.len())?;
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    // Go drops a parameter with a semicolon or a bad escape.
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Ok(key), Ok(value)) = (unescape(key, Part::Query), unescape(value, Part::Query)) {
            meter.work(found.len())?;
            match found.iter_mut().find(|(name, _)| *name == key) {
                Some((_, values)) => values.push(value),
                None => found.push((key, vec![value])),
            }
        }
    }
    let entries =
        found.into_iter().map(|(key, values)| (Value::string(key), Value::strings(values)));
    Ok(Value::Map(Map::new(entries.collect())))
}

fn parse(text: &str, via_request: bool) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text.is_empty() && via_request {
        return Err("empty url".to_owned());
    }
    let mut url = Url {
        scheme: String::new(),
        opaque: String::new(),
        user: None,
        host: String::new(),
        omits_host: false,
        escaped_path: String::new(),
        query: None,
        fragment: String::new(),
    };
    if text == "*" {
        "*".clone_into(&mut url.escaped_path);
        return Ok(url);
    }
    let (scheme, rest) = split_scheme(text)?;
    url.scheme = scheme.to_ascii_lowercase();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query.to_owned())),
        None => (rest, None),
    };
    url.query = query;
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if via_request {
            return Err("invalid URI for request".to_owned());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let authority = rest
        .strip_prefix("//")
        .filter(|_| !scheme.is_empty() || (!via_request && !rest.starts_with("///")));
    let path = if let Some(authority) = authority {
        let (authority, path) = authority
            .split_at_checked(authority.find('/').unwrap_or(authority.len()))
            .unwrap_or((authority, ""));
        (url.user, url.host) = parse_authority(&url.scheme, authority)?;
        path
    } else {
        url.omits_host = !scheme.is_empty();
        rest
    };
    url.escaped_path = escaped_path(path)?;
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    match end.and_then(|end| text.split_at_checked(end)) {
        Some(("", rest)) if rest.starts_with(':') => Err("missing protocol scheme".to_owned()),
        Some((scheme, rest))
            if rest.starts_with(':') && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            Ok((scheme, rest.strip_prefix(':').unwrap_or(rest)))
        }
        _ => Ok(("", text)),
    }
}

fn parse_authority(scheme: &str, authority: &str) -> Result<(Option<String>, String), String> {
    let Some((userinfo, host)) = authority.rsplit_once('@') else {
        return parse_host(scheme, authority).map(|host| (None, host));
    };
    let host = parse_host(scheme, host)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !userinfo.chars().all(allowed) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    unescape(userinfo, Part::User)?;
    Ok((Some(userinfo.to_owned()), host))
}

fn parse_host(scheme: &str, host: &str) -> Result<String, String> {
    match host.rfind('[') {
        Some(0) => return parse_ip_literal(host),
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    // Other schemes may have several hosts with ports.
    let colon = if matches!(scheme, "http" | "https") { host.find(':') } else { host.rfind(':') };
    if let Some(colon) = colon {
        check_port(host.get(colon..).unwrap_or_default())?;
    }
    unescape(host, Part::Host)
}

fn parse_ip_literal(host: &str) -> Result<String, String> {
    let Some((address, port)) = host.rsplit_once(']') else {
        return Err("missing ']' in host".to_owned());
    };
    check_port(port)?;
    let address = address.strip_prefix('[').unwrap_or(address);
    let zone = address.find("%25").unwrap_or(address.len());
    let (address, zone) = address.split_at_checked(zone).unwrap_or((address, ""));
    let address = unescape(address, Part::Host)? + &unescape(zone, Part::Zone)?;
    match net::parse(&address) {
        Err(why) => Err(format!("invalid host: {why}")),
        Ok((ip, _)) if ip.is_ipv4() => Err("invalid IP-literal".to_owned()),
        Ok(_) => Ok(format!("[{address}]{port}")),
    }
}

/// The port with its colon, or nothing.
fn check_port(port: &str) -> Result<(), String> {
    let digits = port.strip_prefix(':').unwrap_or(port);
    if port.is_empty()
        || (digits.len() < port.len() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Ok(());
    }
    Err(format!("invalid port {} after host", quote(port)))
}

/// The path as `EscapedPath` gives it: as written if that is one way to write it.
fn escaped_path(path: &str) -> Result<String, String> {
    let plain = unescape_bytes(path, Part::Path)?;
    let kept = |byte: u8| is_unreserved(byte) || b"!$&'()*+,;=:@[]%/".contains(&byte);
    if path.bytes().all(kept) {
        return Ok(path.to_owned());
    }
    let mut escaped = String::with_capacity(path.len());
    for byte in plain {
        if is_unreserved(byte) || b"$&+,/:;=@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    Ok(escaped)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    Zone,
    User,
    Query,
    Fragment,
}

fn unescape(text: &str, part: Part) -> Result<String, String> {
    unescape_bytes(text, part).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn unescape_bytes(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let host_allows = |byte: u8| is_unreserved(byte) || b"!$&'()*+,;=:[]<>\"".contains(&byte);
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let mut used = 1;
        match first {
            b'%' => {
                let escape = rest
                    .get(..3)
                    .filter(|escape| escape.bytes().skip(1).all(|b| b.is_ascii_hexdigit()));
                let Some(escape) = escape else {
                    let shown = rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at).min(3);
                    let shown = rest.get(..shown).unwrap_or(rest);
                    return Err(format!("invalid URL escape {}", quote(shown)));
                };
                let byte = u8::from_str_radix(escape.get(1..).unwrap_or_default(), 16).unwrap_or(0);
                let refused = match part {
                    Part::Host => byte < 0x80 && escape != "%25",
                    Part::Zone => escape != "%25" && byte != b' ' && !host_allows(byte),
                    _ => false,
                };
                if refused {
                    return Err(format!("invalid URL escape {}", quote(escape)));
                }
                plain.push(byte);
                used = 3;
            }
            b'+' if part == Part::Query => plain.push(b' '),
            byte if matches!(part, Part::Host | Part::Zone)
                && byte < 0x80
                && !host_allows(byte) =>
            {
                let shown = quote(char::from(byte).encode_utf8(&mut [0; 4]));
                return Err(format!("invalid character {shown} in host name"));
            }
            _ => {
                used = rest.chars().next().map_or(1, char::len_utf8);
                plain.extend_from_slice(rest.get(..used).unwrap_or_default().as_bytes());
            }
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok(plain)
}
