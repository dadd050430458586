//! The proxy for an address, as Go's programs read the environment (`golang.org/x/net/http/httpproxy`), which kubectl is one of:
//! what reaches a cluster reaches its issuer.
//!
//! `HTTPS_PROXY` is for https and `HTTP_PROXY` for http, each also in small letters; `NO_PROXY` lists who is reached without, this
//! machine never needs one. `ALL_PROXY` is not looked at.

use std::net::IpAddr;

use ureq::Proxy;
use url::{Host, Url};

use super::TrustError;
use crate::settings::is_loopback;

/// The variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    without: Without,
    /// One for everything, this machine too: a kubeconfig's `proxy-url`.
    fixed: Option<Proxy>,
}

impl Proxies {
    /// Those of the environment. `env` looks a variable up.
    pub fn of_environment(env: impl Fn(&str) -> Option<String>) -> Result<Self, TrustError> {
        let any = |upper: &str, lower: &str| {
            [upper, lower].iter().find_map(|name| env(name).filter(|value| !value.is_empty()))
        };
        let proxy = |upper, lower| any(upper, lower).map(|text| parse(&text)).transpose();
        Ok(Self {
            https: proxy("HTTPS_PROXY", "https_proxy")?,
            http: proxy("HTTP_PROXY", "http_proxy")?,
            without: Without::parse(&any("NO_PROXY", "no_proxy").unwrap_or_default()),
            fixed: None,
        })
    }

    /// This one for everything.
    pub fn fixed(text: &str) -> Result<Self, TrustError> {
        Ok(Self { fixed: Some(parse(text)?), ..Self::default() })
    }

    /// The proxy for an address.
    pub fn of(&self, url: &Url) -> Option<Proxy> {
        if self.fixed.is_some() {
            return self.fixed.clone();
        }
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.clone().filter(|_| !is_loopback(url) && !self.without.covers(url))
    }
}

/// A proxy's address; one without a scheme is http. Names behind a SOCKS proxy are resolved there.
fn parse(text: &str) -> Result<Proxy, TrustError> {
    let known = ["http://", "https://", "socks5://", "socks5h://"];
    let lower = text.trim().to_lowercase();
    let whole = if known.iter().any(|scheme| lower.starts_with(scheme)) {
        text.trim().to_owned()
    } else {
        format!("http://{}", text.trim())
    };
    let refused = || TrustError::Proxy(without_password(&whole));
    if whole.matches("://").count() > 1 {
        return Err(refused()); // a scheme that is none of a proxy's
    }
    let url = Url::parse(&whole).map_err(|_| refused())?;
    let there = match url.scheme() {
        "socks5" => whole.replacen("socks5", "socks5h", 1),
        "http" | "https" | "socks5h" => whole.clone(),
        _ => return Err(refused()),
    };
    Proxy::new(&there).map_err(|_| refused())
}

fn without_password(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => text.to_owned(),
    }
}

/// `NO_PROXY`
#[derive(Debug, Clone, Default)]
struct Without {
    all: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
enum Rule {
    /// Addresses that agree in so many bits.
    Network(IpAddr, u32),
    /// An address, with a port or any.
    Address(IpAddr, Option<u16>),
    /// `.example.com`, what ends with it, and the name itself if `own`.
    Domain { suffix: String, own: bool, port: Option<u16> },
}

impl Without {
    fn parse(text: &str) -> Self {
        let mut without = Self::default();
        for item in text.split(',').map(|item| item.trim().to_lowercase()) {
            if item == "*" {
                return Self { all: true, rules: Vec::new() };
            }
            without.rules.extend(rule(&item));
        }
        without
    }

    fn covers(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let address = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(ip.to_canonical()),
            _ => None,
        };
        let name = url.host_str().unwrap_or_default().trim_end_matches('.').to_lowercase();
        let same_port = |wanted: Option<u16>| wanted.is_none() || wanted == port;
        self.all
            || self.rules.iter().any(|rule| match (rule, address) {
                (Rule::Network(network, bits), Some(address)) => agree(*network, address, *bits),
                (Rule::Address(wanted, of), Some(address)) => *wanted == address && same_port(*of),
                (Rule::Domain { suffix, own, port }, None) => {
                    let it = suffix.strip_prefix('.') == Some(name.as_str());
                    (name.ends_with(suffix.as_str()) || *own && it) && same_port(*port)
                }
                _ => false,
            })
    }
}

fn rule(item: &str) -> Option<Rule> {
    if let Some((network, bits)) = item.split_once('/') {
        return Some(Rule::Network(network.parse().ok()?, bits.parse().ok()?));
    }
    let unbracketed = |text: &str| text.trim_matches(['[', ']']).to_owned();
    let (host, port) = match item.rsplit_once(':') {
        // `[::1]:80` and `name:80`; an address of IPv6 has colons of its own.
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => {
            (unbracketed(host), Some(port.parse().ok()?))
        }
        _ => (unbracketed(item), None),
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Rule::Address(address.to_canonical(), port));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&host);
    match host {
        "" => None,
        _ if host.starts_with('.') => {
            Some(Rule::Domain { suffix: host.to_owned(), own: false, port })
        }
        _ => Some(Rule::Domain { suffix: format!(".{host}"), own: true, port }),
    }
}

fn agree(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    let (one, other, width) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let differing: u128 = one ^ other;
    bits <= width && (bits == 0 || differing >> (width - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, TrustError> {
        Proxies::of_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let found = proxies(variables).unwrap().of(&Url::parse(url).unwrap())?;
        let user = found
            .username()
            .map(|user| format!("{user}:{}@", found.password().unwrap_or_default()));
        Some(format!(
            "{:?} {}{}:{}",
            found.protocol(),
            user.unwrap_or_default(),
            found.host(),
            found.port()
        ))
    }

    #[test]
    fn variables_are_read_as_go_reads_them() {
        let https = "https://i.example/x";
        for (variables, url, want) in [
            (&[("HTTPS_PROXY", "http://p:1")][..], https, Some("Http p:1")),
            (&[("https_proxy", "http://p:1")], https, Some("Http p:1")),
            (
                &[("HTTPS_PROXY", "http://p:1"), ("https_proxy", "http://q:1")],
                https,
                Some("Http p:1"),
            ),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "http://q:1")], https, Some("Http q:1")),
            (&[("HTTP_PROXY", "http://p:1")], https, None), // for http alone
            (&[("HTTP_PROXY", "http://p:1")], "http://i.example/", Some("Http p:1")),
            (&[("ALL_PROXY", "http://p:1")], https, None),
            (&[("HTTPS_PROXY", "p:1")], https, Some("Http p:1")),
            (&[("HTTPS_PROXY", "p")], https, Some("Http p:80")),
            (&[("HTTPS_PROXY", "https://p")], https, Some("Https p:443")),
            (&[("HTTPS_PROXY", "http://u:a%40b@p:1")], https, Some("Http u:a@b@p:1")),
            (&[("HTTPS_PROXY", "u:pw@p:1")], https, Some("Http u:pw@p:1")),
            (&[("HTTPS_PROXY", "socks5://p")], https, Some("Socks5h p:1080")), // names are resolved there
            (&[("HTTPS_PROXY", "socks5h://p:9")], https, Some("Socks5h p:9")),
            (&[("HTTPS_PROXY", "http://p:1")], "https://localhost:8443/", None),
            (&[("HTTPS_PROXY", "http://p:1")], "https://127.1.2.3/", None),
            (&[("HTTPS_PROXY", "http://p:1")], "https://[::1]/", None),
        ] {
            assert_eq!(proxy(variables, url).as_deref(), want, "{variables:?} {url}");
        }
        let error = proxies(&[("HTTPS_PROXY", "http://user:s3cret@")]).unwrap_err().to_string();
        assert!(!error.contains("s3cret") && error.contains("HTTPS_PROXY"), "{error}");
        let fixed = Proxies::fixed("http://p:1").unwrap();
        assert!(
            fixed.of(&Url::parse("https://127.0.0.1/").unwrap()).is_some(),
            "kubectl's proxy-url"
        );
    }

    #[test]
    fn no_proxy_is_gos() {
        for (list, host, want) in [
            ("example.com", "example.com", true),
            ("example.com", "a.example.com", true),
            ("example.com", "aexample.com", false),
            (".example.com", "example.com", false),
            (".example.com", "a.b.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("EXAMPLE.com", "A.Example.COM", true),
            (" a.example , b.example ", "b.example", true),
            ("a.example,,", "b.example", false),
            ("*", "b.example", true),
            ("x,*", "b.example", true),
            ("*example.com", "example.com", false),
            ("example.com:443", "example.com", true),
            ("example.com:8443", "example.com", false),
            ("example.com:8443", "example.com:8443", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7:443", "192.0.2.7", true),
            ("192.0.2.7:80", "192.0.2.7", false),
            ("2001:db8::/32", "[2001:db8::7]", true),
            ("2001:db8::7", "[2001:db8::7]", true),
            ("[2001:db8::7]:443", "[2001:db8::7]", true),
            ("2001:db8::/32", "[2001:db9::7]", false),
            ("10.0.0.0/8", "10.example", false),
            ("", "example.com", false),
            (":443", "example.com", false),
        ] {
            let variables = [("HTTPS_PROXY", "http://p:1"), ("no_proxy", list)];
            let found = proxy(&variables, &format!("https://{host}/")).is_none();
            assert_eq!(found, want, "{list} {host}");
        }
    }
}
