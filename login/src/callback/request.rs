//! The head of an HTTP/1 request, as far as the listener's rules need it.

use url::form_urlencoded;

/// A request head is small; a browser's with many cookies for localhost may reach some kilobytes.
pub const HEAD_LIMIT: usize = 32 * 1024;
const HEADER_COUNT: usize = 100;

/// What a client asks.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query parameters in order, decoded.
    pub query: Vec<(String, String)>,
    /// All values of `Host`.
    pub hosts: Vec<String>,
    /// All values of `Cookie`.
    pub cookies: Vec<String>,
    /// `Sec-Fetch-Mode`: a browser's word on why it asks.
    pub fetch_mode: Option<String>,
    /// `Sec-Purpose` or `Purpose`: set when a browser asks ahead of need.
    pub purpose: Option<String>,
}

/// Not a request, or not one in the form a browser sends.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Request {
    /// Parses a head, or returns `None` if it is not complete yet.
    pub fn parse(head: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if head.len() < HEAD_LIMIT => return Ok(None),
            _ => return Err(Malformed),
        }
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(Malformed);
        };
        // Origin form only: `GET http://other/` is for proxies.
        if !target.starts_with('/') {
            return Err(Malformed);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let raw = |name: &str| -> Vec<String> {
            parsed
                .headers
                .iter()
                .filter(|header| header.name.eq_ignore_ascii_case(name))
                .map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
                .collect()
        };
        let values = |name: &str| -> Vec<String> {
            raw(name).iter().map(|value| value.to_lowercase()).collect()
        };
        Ok(Some(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            hosts: values("host"),
            cookies: raw("cookie"),
            fetch_mode: values("sec-fetch-mode").pop(),
            purpose: values("sec-purpose").pop().or_else(|| values("purpose").pop()),
        }))
    }

    /// The parameter `name` if it stands there exactly once.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut values = self.query.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// All values of a cookie: a browser sends several of one name if they were set for different paths (RFC 6265, section 5.4).
    pub fn cookie(&self, name: &str) -> impl Iterator<Item = &str> {
        self.cookies
            .iter()
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(move |(key, value)| (key == name).then_some(value))
    }

    /// The parameter stands there at all.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.query.iter().any(|(key, _)| key == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_parsed_or_refused() {
        let request =
            Request::parse(b"GET /cb?code=a%2Bb&state=x HTTP/1.1\r\nHost: LocalHost:1\r\n\r\n");
        let request = request.unwrap().unwrap();
        assert_eq!((request.path.as_str(), request.parameter("code")), ("/cb", Some("a+b")));
        assert_eq!(request.hosts, ["localhost:1"]);
        for (head, want) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], Ok(None)), // more to come
            (b"", Ok(None)),
            (b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n", Err(Malformed)),
            (b"\x16\x03\x01\x02\x00\x01\x00", Err(Malformed)), // TLS to a plain listener
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Err(Malformed)),
        ] {
            assert_eq!(Request::parse(head), want, "{}", String::from_utf8_lossy(head));
        }
        let long = [&b"GET /"[..], &vec![b'a'; HEAD_LIMIT]].concat();
        assert_eq!(Request::parse(&long), Err(Malformed));
    }

    #[test]
    fn cookies_keep_their_case() {
        let head = b"GET / HTTP/1.1\r\nCookie: a=X; b = no; a=Y==\r\ncookie: a=Z\r\n\r\n";
        let request = Request::parse(head).unwrap().unwrap();
        assert_eq!(request.cookie("a").collect::<Vec<_>>(), ["X", "Y==", "Z"]);
        assert_eq!(request.cookie("A").count(), 0);
    }

    #[test]
    fn a_parameter_given_twice_is_none() {
        let request = Request::parse(b"GET /?a=1&a=2&b=3 HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert_eq!((request.parameter("a"), request.has("a")), (None, true));
        assert_eq!(request.parameter("b"), Some("3"));
    }
}
