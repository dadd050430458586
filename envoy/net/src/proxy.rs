//! The proxy through which issuers are reached, by `HTTPS_PROXY` and `NO_PROXY`.
//!
//! Source of the rules: Go, `golang.org/x/net/http/httpproxy`, which kube-apiserver and kube-oidc-proxy follow. A variable in
//! capital letters counts before the same in small ones; this machine's own addresses are never behind a proxy.

use std::net::IpAddr;

use http::{Uri, uri::Authority};
use ipnet::IpNet;

use crate::{host::Host, range::range};

/// Which URLs are behind which proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy, if there is one: its address and TCP port. It is spoken to without TLS.
    pub address: Option<(Host, u16)>,
    direct: Vec<Direct>,
}

/// Why the variables cannot be followed. No text holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Envoy's files and its administration would show it.
    #[error("HTTPS_PROXY: a proxy with a user name or a password is not supported")]
    Credential,
    /// Not spoken.
    #[error(
        "HTTPS_PROXY: a proxy of the kind {0:?} is not supported: http://HOST[:PORT] is, which TLS to the issuer goes through"
    )]
    Scheme(String),
    /// Not an address.
    #[error("HTTPS_PROXY: it must be http://HOST[:PORT]")]
    Address,
}

/// One of the rules of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    All,
    Range(IpNet),
    Address(IpAddr, Option<u16>),
    /// All names that end so; `.example` begins with a dot.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// Reads the variables.
    ///
    /// # Errors
    /// If there is a proxy that cannot be used.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let either = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_ascii_lowercase()))
        };
        let Some(proxy) = either("HTTPS_PROXY") else { return Ok(Self::default()) };
        let direct = either("NO_PROXY").unwrap_or_default();
        Ok(Self {
            address: Some(address(proxy.trim())?),
            direct: direct.split(',').filter_map(rule).collect(),
        })
    }

    /// The port behind the proxy if this URL is reached through it.
    #[must_use]
    pub fn port_behind(&self, url: &str) -> Option<u16> {
        self.address.as_ref()?;
        let url: Uri = url.parse().ok()?;
        let (host, port) = (url.host()?.to_ascii_lowercase(), url.port_u16().unwrap_or(443));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = bare.parse().ok();
        let own = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let direct = self.direct.iter().any(|rule| rule.holds(bare, address, port));
        (!own && !direct).then_some(port)
    }

    /// The proxy's URL, for this URL.
    #[must_use]
    pub fn url_for(&self, url: &str) -> Option<String> {
        let (host, port) = self.port_behind(url).and(self.address.as_ref())?;
        Some(match host {
            Host::Ip(address) if address.is_ipv6() => format!("http://[{address}]:{port}"),
            host => format!("http://{host}:{port}"),
        })
    }
}

impl Direct {
    fn holds(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Range(range) => address.is_some_and(|address| range.contains(&address)),
            Self::Address(own, only) => {
                address == Some(*own) && only.is_none_or(|only| only == port)
            }
            Self::Domain { suffix, itself, port: only } => {
                let named = host.ends_with(suffix) || (*itself && host == &suffix[1..]);
                named && only.is_none_or(|only| only == port)
            }
        }
    }
}

fn address(proxy: &str) -> Result<(Host, u16), ProxyError> {
    // As in Go, what has no scheme is http.
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    if rest.contains('@') {
        return Err(ProxyError::Credential);
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(ProxyError::Scheme(scheme.to_owned()));
    }
    let authority: Authority =
        rest.trim_end_matches('/').parse().map_err(|_| ProxyError::Address)?;
    let host = authority.host().parse().map_err(|_| ProxyError::Address)?;
    Ok((host, authority.port_u16().unwrap_or(80)))
}

fn rule(text: &str) -> Option<Direct> {
    let text = text.trim().to_ascii_lowercase();
    if text == "*" {
        return Some(Direct::All);
    }
    if text.contains('/') {
        return range(&text).ok().map(Direct::Range);
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Direct::Address(address, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text.as_str(), None),
    };
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Direct::Address(address, port));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    let itself = !host.starts_with('.');
    let suffix = if itself { format!(".{host}") } else { host.to_owned() };
    (suffix.len() > 1).then_some(Direct::Domain { suffix, itself, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(proxy: &str, direct: &str) -> Result<Proxies, ProxyError> {
        Proxies::read(|name| match name {
            "https_proxy" => Some(proxy.to_owned()),
            "NO_PROXY" => Some(direct.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn what_is_direct_is_so_as_in_go() {
        for (direct, url, want) in [
            ("", "https://issuer.example", Some(443)),
            ("", "https://issuer.example:8443/realms/a", Some(8443)),
            ("", "https://10.1.2.3", Some(443)),
            ("", "https://localhost:8443", None),
            ("", "https://127.0.0.2", None),
            ("", "https://[::1]:8443", None),
            ("*", "https://issuer.example", None),
            ("issuer.example", "https://issuer.example", None),
            ("issuer.example", "https://a.issuer.example", None),
            ("issuer.example", "https://myissuer.example", Some(443)),
            (".issuer.example", "https://issuer.example", Some(443)),
            (".issuer.example", "https://a.issuer.example", None),
            ("*.issuer.example", "https://a.issuer.example", None),
            ("a.example, ISSUER.example", "https://issuer.EXAMPLE", None),
            ("issuer.example:8443", "https://issuer.example:8443", None),
            ("issuer.example:8443", "https://issuer.example", Some(443)),
            ("10.0.0.0/8", "https://10.1.2.3", None),
            ("10.0.0.0/8", "https://11.1.2.3", Some(443)),
            ("10.1.2.3", "https://10.1.2.3:8443", None),
            ("10.1.2.3:443", "https://10.1.2.3:8443", Some(8443)),
            ("fd00::1", "https://[fd00::1]", None),
            ("[fd00::1]:443", "https://[fd00::1]", None),
            (",, ", "https://issuer.example", Some(443)),
        ] {
            let got = proxies("http://proxy.example:3128", direct).unwrap().port_behind(url);
            assert_eq!(got, want, "{direct:?} {url}");
        }
        let none = Proxies::read(|_| None).unwrap();
        assert_eq!(none.port_behind("https://issuer.example"), None);
    }

    #[test]
    fn proxies_are_plain_http_without_credentials() {
        for (proxy, want) in [
            ("http://proxy.example:3128", Ok("http://proxy.example:3128")),
            ("http://proxy.example/", Ok("http://proxy.example:80")),
            ("proxy.example:3128", Ok("http://proxy.example:3128")),
            ("http://[fd00::1]:3128", Ok("http://[fd00::1]:3128")),
            ("https://proxy.example", Err(ProxyError::Scheme("https".to_owned()))),
            ("socks5://proxy.example", Err(ProxyError::Scheme("socks5".to_owned()))),
            ("http://user:secret@proxy.example", Err(ProxyError::Credential)),
            ("http://", Err(ProxyError::Address)),
            ("http://a b", Err(ProxyError::Address)),
        ] {
            let got = proxies(proxy, "");
            if let Err(error) = &got {
                assert!(!error.to_string().contains("secret"));
            }
            let got = got.map(|it| it.url_for("https://issuer.example").unwrap());
            assert_eq!(got, want.map(str::to_owned), "{proxy}");
        }
    }
}
