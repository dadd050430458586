//! URLs as Go's `net/url` reads them: which it refuses with which words, and which parts one has. A URL library would accept
//! and refuse others. Source: Go 1.26, `net/url/url.go`.

use std::fmt::{self, Write as _};

use crate::{netip, strconv::quote};

/// The parts of a URL. Text that is not UTF-8 once unescaped is repaired, where Go would carry the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Go's `ParseRequestURI`: absolute, and a fragment is part of the path.
    ///
    /// # Errors
    /// With Go's words: `parse "url": reason`.
    pub fn parse_request(text: &str) -> Result<Self, String> {
        parse(text, true).map_err(|why| format!("parse {}: {why}", quote(text)))
    }

    /// Go's `Parse`.
    ///
    /// # Errors
    /// With Go's words. They name the URL without its fragment, unless the fragment is what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = parse(rest, false).map_err(|why| format!("parse {}: {why}", quote(rest)))?;
        unescape(fragment, Part::Fragment)
            .map_err(|why| format!("parse {}: {why}", quote(text)))?;
        fragment.clone_into(&mut url.fragment);
        Ok(url)
    }

    /// In lower case; empty if there is none.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether a user stands before the host, even an empty one.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// With the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// As Go's `EscapedPath` has it.
    #[must_use]
    pub fn escaped_path(&self) -> &str {
        &self.escaped_path
    }

    /// The path, unescaped, as Go's `Path` has it.
    #[must_use]
    pub fn path(&self) -> String {
        unescape(&self.escaped_path, Part::Path).unwrap_or_default()
    }

    /// What a request line asks for, as Go's `RequestURI` has it: the escaped path, and the query as written.
    #[must_use]
    pub fn request_uri(&self) -> String {
        let path = if self.escaped_path.is_empty() { "/" } else { &self.escaped_path };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// Behind the question mark, as written.
    #[must_use]
    pub fn query(&self) -> &str {
        self.query.as_deref().unwrap_or_default()
    }

    /// The parameters of the query in their order, unescaped. Go drops one with a semicolon or a bad escape.
    pub fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        let pairs = self.query().split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(key, Part::Query).ok()?, unescape(value, Part::Query).ok()?))
        })
    }

    /// Behind `#`, as written.
    #[must_use]
    pub fn fragment(&self) -> &str {
        &self.fragment
    }

    /// The host without brackets, and the port or nothing.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, &str) {
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
    match netip::parse_addr(&address) {
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Scheme, user, query and fragment.
    type Parts = (&'static str, bool, &'static str, &'static str);

    fn url(scheme: &'static str) -> Parts {
        (scheme, false, "", "")
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
            ("https://a?b", ("https", false, "b", "")),
            ("https://a??", ("https", false, "?", "")),
            ("https://a#", url("https")),
            ("https://a#b", ("https", false, "", "b")),
            ("https://u:p@a", ("https", true, "", "")),
            ("https://@a", ("https", true, "", "")),
            ("https:///x", url("https")),
            ("https://[::1]:80/x", url("https")),
            ("https://[fe80::1%25en0]", url("https")),
            ("https://a:", url("https")),
            ("https://é.example/é", url("https")),
            ("https://a/%41", url("https")),
            ("https://a%e9", url("https")),
            ("db://a:1,b:2", url("db")), // several colons, but not for https
        ] {
            let url = Url::parse(text).expect(text);
            let got = (url.scheme(), url.has_user(), url.query(), url.fragment());
            assert_eq!(got, want, "{text}");
        }
    }

    /// What Go 1.26's `http.NewRequest(url).URL.RequestURI()` is.
    #[test]
    fn request_uris_are_those_of_go() {
        for (text, want) in [
            ("https://a/realms/my realm", "/realms/my%20realm"),
            ("https://a/réalms/é", "/r%C3%A9alms/%C3%A9"),
            ("https://a/%C3%A9 é", "/%C3%A9%20%C3%A9"),
            ("https://a/a%20b", "/a%20b"),
            ("https://a/a%2Fb", "/a%2Fb"),
            ("https://a/a%2Fb c", "/a/b%20c"), // what is not a way to write the path is written anew
            ("https://a/a+b;c=d", "/a+b;c=d"),
            ("https://a/[x]", "/[x]"),
            ("https://a/\"<>^`{|}\\", "/%22%3C%3E%5E%60%7B%7C%7D%5C"),
            ("https://a/a?b c=é&d", "/a?b c=é&d"),
            ("https://a/a?", "/a?"),
            ("https://a?x=1", "/?x=1"),
            ("https://a", "/"),
            ("https://a/#f g", "/"),
            ("https://a/x?y#z", "/x?y"),
            ("https://a//b", "//b"),
            ("https://a/./b/../c", "/./b/../c"),
            ("https://a/%E9", "/%E9"),
            ("https://a/%7e", "/%7e"),
            ("https://a/!$&'()*,:@~", "/!$&'()*,:@~"),
        ] {
            assert_eq!(Url::parse(text).expect(text).request_uri(), want, "{text}");
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
            let want = Err(format!("parse {}: {want}", quote(text)));
            assert_eq!(Url::parse(text), want, "{text}");
        }
        // The error names the URL without its fragment, unless the fragment is what is wrong.
        for (text, want) in [
            ("a b:c#d", r#"parse "a b:c": first path segment in URL cannot contain colon"#),
            ("https://a#%zz", r#"parse "https://a#%zz": invalid URL escape "%zz""#),
        ] {
            assert_eq!(Url::parse(text), Err(want.to_owned()));
        }
    }
}
