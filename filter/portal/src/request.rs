//! A request to the portal, and what tells a browser's own request from one that another site made it send.

use super::settings::Settings;

/// A request's head. Values are bytes: a client may send anything.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `:method`
    pub method: Vec<u8>,
    /// `:path`
    pub path: Vec<u8>,
    /// `:authority`
    pub authority: Vec<u8>,
    /// All other headers, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Who sent it.
    pub peer: Peer,
}

/// Who sent a request, as Envoy knows it.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The address, without a port.
    pub address: String,
    /// It showed a certificate that Envoy has checked.
    pub client_certificate: bool,
}

/// Why a request cannot be the user's own will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CrossSite {
    /// A form or a script without permission cannot send this type.
    #[error("the content type must be application/json")]
    ContentType,
    /// The browser says that another site asked for it.
    #[error("requests from other sites are refused")]
    Site,
    /// The page that asked is another's.
    #[error("requests from other origins are refused")]
    Origin,
}

impl Request {
    /// Takes the pairs of a host apart.
    #[must_use]
    pub fn new(pairs: Vec<(String, Vec<u8>)>, peer: Peer) -> Self {
        let mut request = Self { peer, ..Self::default() };
        for (name, value) in pairs {
            match name.as_str() {
                ":method" => request.method = value,
                ":path" => request.path = value,
                ":authority" => request.authority = value,
                _ => request.headers.push((name, value)),
            }
        }
        request
    }

    /// The path and the query without its question mark.
    #[must_use]
    pub fn path_and_query(&self) -> (&[u8], &[u8]) {
        let end = self.path.iter().position(|byte| *byte == b'?');
        match end.and_then(|end| self.path.split_at_checked(end)) {
            Some((path, query)) => (path, query.get(1..).unwrap_or_default()),
            None => (&self.path, b""),
        }
    }

    /// A query parameter's first value, decoded; empty if there is none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> String {
        let (_, query) = self.path_and_query();
        query
            .split(|byte| *byte == b'&')
            .find_map(|pair| {
                let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
                    Some(at) => (pair.get(..at)?, pair.get(at.saturating_add(1)..)?),
                    None => (pair, &b""[..]),
                };
                (decode(key) == name).then(|| decode(value))
            })
            .unwrap_or_default()
    }

    /// The host of `:authority` in lower case, without the port and the dot at a name's end; empty if it is not text.
    #[must_use]
    pub fn host(&self) -> String {
        let authority = std::str::from_utf8(&self.authority).unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
    }

    /// All values of a header.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// The first value of a header.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// The value of a cookie (RFC 6265, section 4.2.1).
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.values("cookie")
            .flat_map(|value| value.split(|byte| *byte == b';'))
            .map(<[u8]>::trim_ascii)
            .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// Refuses what another site made the browser send. Without a browser there are no such headers, and no such danger.
    pub fn check_site(&self, settings: &Settings) -> Result<(), CrossSite> {
        for site in self.values("sec-fetch-site") {
            if site != b"same-origin" && site != b"none" {
                return Err(CrossSite::Site);
            }
        }
        for origin in self.values("origin") {
            let origin = String::from_utf8_lossy(origin);
            let host = origin.split_once("://").map(|(_, host)| host);
            let own =
                host.is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(&self.authority));
            if !own && !settings.origins.iter().any(|known| *known == origin) {
                return Err(CrossSite::Origin);
            }
        }
        Ok(())
    }

    /// [`Self::check_site`], and that the body is JSON by its type, which no form can send.
    pub fn check_post(&self, settings: &Settings) -> Result<(), CrossSite> {
        let mut types = self.values("content-type");
        let essence = types.next().and_then(|value| value.split(|byte| *byte == b';').next());
        let json = essence
            .is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"));
        if !json || types.next().is_some() {
            return Err(CrossSite::ContentType);
        }
        self.check_site(settings)
    }
}

fn decode(text: &[u8]) -> String {
    let text: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_encoding::percent_decode(&text).decode_utf8_lossy().into_owned()
}
