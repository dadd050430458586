//! The proxy through which issuers are reached, by `HTTPS_PROXY` and `NO_PROXY`.
//!
//! Source of the rules: Go, `golang.org/x/net/http/httpproxy`, which kube-apiserver and kube-oidc-proxy follow. A variable in
//! capital letters counts before the same in small ones; this machine's own addresses are never behind a proxy.

use std::{fmt, net::IpAddr};

use go_compat::netip::Prefix;
use http::{Uri, uri::Authority};
use percent_encoding::percent_decode_str;

use crate::host::Host;

/// Which URLs are behind which proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy, if there is one, or why it cannot be used, which matters where a URL is behind it.
    server: Option<Result<Server, ProxyError>>,
    direct: Vec<Direct>,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its address.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// Who it is told to be asking.
    pub credential: Option<Credential>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP's CONNECT.
    Http,
    /// The same by TLS.
    Https,
    /// SOCKS version 5, which resolves names itself.
    Socks5,
}

/// A user name and a password for a proxy. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(...)")
    }
}

/// Why a proxy cannot be used. No text holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Not spoken.
    #[error(
        "HTTPS_PROXY: a proxy of the kind {0:?} is not supported: http, https, socks5 and socks5h are"
    )]
    Scheme(String),
    /// Not an address.
    #[error("HTTPS_PROXY: it must be [http|https|socks5://][USER:PASSWORD@]HOST[:PORT]")]
    Address,
}

/// One of the rules of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    All,
    Range(Prefix),
    Address(IpAddr, String),
    /// All names that end so; `.example` begins with a dot.
    Domain {
        suffix: String,
        itself: bool,
        port: String,
    },
}

impl Server {
    /// Whether Envoy can speak to it without a secret in its configuration.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.scheme == Scheme::Http && self.credential.is_none()
    }

    /// Its URL, without the credential.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Socks5 => "socks5",
        };
        match &self.host {
            Host::Ip(address) if address.is_ipv6() => {
                format!("{scheme}://[{address}]:{}", self.port)
            }
            host => format!("{scheme}://{host}:{}", self.port),
        }
    }
}

impl Proxies {
    /// Reads the variables. A proxy that cannot be used is told of where a URL is behind it, and nowhere else.
    #[must_use]
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_ascii_lowercase()))
        };
        let Some(proxy) = either("HTTPS_PROXY") else { return Self::default() };
        let direct = either("NO_PROXY").unwrap_or_default();
        let direct = direct.split(',').filter_map(rule).collect();
        Self { server: Some(server(proxy.trim())), direct }
    }

    /// Whether this URL is reached through the proxy.
    #[must_use]
    pub fn is_behind(&self, url: &str) -> bool {
        let Some(url) = self.server.as_ref().and_then(|_| url.parse::<Uri>().ok()) else {
            return false;
        };
        let Some(host) = url.host() else { return false };
        let port = url.port_u16().unwrap_or(443);
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let address = bare.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let own = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let direct = self.direct.iter().any(|rule| rule.holds(&bare, address, &port.to_string()));
        !own && !direct
    }

    /// The proxy.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn server(&self) -> Result<Option<&Server>, ProxyError> {
        self.server.as_ref().map(Result::as_ref).transpose().map_err(Clone::clone)
    }

    /// The proxy for this URL, if it is reached through one.
    ///
    /// # Errors
    /// If it is, and the proxy cannot be used.
    pub fn server_for(&self, url: &str) -> Result<Option<&Server>, ProxyError> {
        if self.is_behind(url) { self.server() } else { Ok(None) }
    }
}

impl Direct {
    fn holds(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let on = |only: &str| only.is_empty() || only == port;
        match (self, address) {
            (Self::All, _) => true,
            (Self::Range(range), Some(address)) => range.contains(address),
            (Self::Address(own, only), Some(address)) => address == *own && on(only),
            (Self::Domain { suffix, itself, port: only }, None) => {
                let named = host.ends_with(suffix) || (*itself && Some(host) == suffix.get(1..));
                named && on(only)
            }
            _ => false,
        }
    }
}

fn server(proxy: &str) -> Result<Server, ProxyError> {
    // As in Go, what has no scheme is http.
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    let (scheme, default) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        "socks5" | "socks5h" => (Scheme::Socks5, 1080),
        other => return Err(ProxyError::Scheme(other.to_owned())),
    };
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (credential, address) = match rest.rsplit_once('@') {
        Some((credential, address)) => (Some(self::credential(credential)?), address),
        None => (None, rest),
    };
    let authority: Authority = address.parse().map_err(|_| ProxyError::Address)?;
    let host = authority.host().parse().map_err(|_| ProxyError::Address)?;
    Ok(Server { scheme, host, port: authority.port_u16().unwrap_or(default), credential })
}

fn credential(text: &str) -> Result<Credential, ProxyError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| ProxyError::Address)?;
        // Both become one length byte (RFC 1929), and one line.
        let fits = text.len() <= 255 && !text.chars().any(char::is_control);
        fits.then(|| text.into_owned()).ok_or(ProxyError::Address)
    };
    Ok(Credential { user: decoded(user)?, password: decoded(password)? })
}

fn rule(text: &str) -> Option<Direct> {
    let text = text.trim().to_lowercase();
    if text == "*" {
        return Some(Direct::All);
    }
    if let Ok(range) = Prefix::parse(&text) {
        return Some(Direct::Range(range));
    }
    let (host, port) = split(&text).unwrap_or((&text, ""));
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Direct::Address(address.to_canonical(), port.to_owned()));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    let itself = !host.starts_with('.');
    let suffix = if itself { format!(".{host}") } else { host.to_owned() };
    let suffix = idna::domain_to_ascii(&suffix).unwrap_or(suffix);
    Some(Direct::Domain { suffix, itself, port: port.to_owned() })
}

/// Go's `net.SplitHostPort`; `None` where that is an error.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':')?)
        }
        None => text.rsplit_once(':').filter(|(host, _)| !host.contains(':'))?,
    };
    (!port.contains(':')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What Go's library says, by `tests/proxy/main.go`.
    #[derive(serde::Deserialize)]
    struct Answers {
        urls: Vec<String>,
        /// For each `NO_PROXY` the URLs behind the proxy.
        behind: BTreeMap<String, Vec<String>>,
        /// For each `HTTPS_PROXY` the URL that it is read as.
        read: BTreeMap<String, String>,
    }

    fn answers() -> Answers {
        serde_json::from_str(include_str!("../tests/proxy/answers.json")).unwrap()
    }

    fn proxies(proxy: &str, direct: &str) -> Proxies {
        Proxies::read(|name| match name {
            "https_proxy" => Some(proxy.to_owned()),
            "NO_PROXY" => Some(direct.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn what_is_direct_is_so_as_in_go() {
        let Answers { urls, behind, .. } = answers();
        for (direct, behind) in behind {
            let proxies = proxies("http://proxy.example:3128", &direct);
            let got: Vec<_> = urls.iter().filter(|url| proxies.is_behind(url)).cloned().collect();
            assert_eq!(got, behind, "NO_PROXY={direct:?}");
        }
        assert!(!Proxies::read(|_| None).is_behind("https://issuer.example"));
    }

    /// Go takes whatever it can read as an address; what it would only find out at the first request is told before.
    #[test]
    fn proxies_are_read_as_in_go() {
        let odd = ["http://", " http://proxy.example", "ftp://proxy.example", ""];
        for (proxy, want) in answers().read {
            if odd.contains(&proxy.as_str()) {
                continue;
            }
            let proxies = proxies(&proxy, "");
            let server = proxies.server_for("https://issuer.example").unwrap().unwrap();
            let url: Uri = want.trim_end_matches('/').replace("socks5h", "socks5").parse().unwrap();
            let default = match url.scheme_str() {
                Some("http") => 80,
                Some("https") => 443,
                _ => 1080,
            };
            let port = url.port_u16().unwrap_or(default);
            let scheme = url.scheme_str().unwrap();
            assert_eq!(
                server.url(),
                format!("{scheme}://{}:{port}", url.host().unwrap()),
                "{proxy}"
            );
            assert_eq!(server.credential.is_some(), proxy.contains('@'), "{proxy}");
        }
        let server = server("http://us%40er:se%3Acret@proxy.example").unwrap();
        let credential = server.credential.clone().unwrap();
        assert_eq!((&*credential.user, &*credential.password), ("us@er", "se:cret"));
        assert!(!format!("{server:?}").contains("cret") && !server.is_plain());
    }

    /// argo-cd#14280 and others: a proxy that no issuer is behind stops nothing.
    #[test]
    fn a_proxy_that_cannot_be_used_matters_where_it_is_used() {
        for (proxy, want) in [
            ("ftp://user:secret@proxy.example", ProxyError::Scheme("ftp".to_owned())),
            ("http://", ProxyError::Address),
            ("http://a b", ProxyError::Address),
            ("http://user:sec%ret%00@proxy.example", ProxyError::Address),
        ] {
            let all = proxies(proxy, "*");
            assert_eq!(all.server_for("https://issuer.example"), Ok(None), "{proxy}");
            let error = proxies(proxy, "").server_for("https://issuer.example").unwrap_err();
            assert_eq!(error, want, "{proxy}");
            assert!(!error.to_string().contains("sec"));
        }
    }
}
