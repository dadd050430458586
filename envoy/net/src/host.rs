//! Where a server is: an IP address or a DNS name, and a port.

use std::{fmt, net::IpAddr, str::FromStr};

/// An IP address or a DNS name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address: certificates are compared by their IP address SANs, and no SNI is sent (RFC 6066, section 3).
    Ip(IpAddr),
    /// A name: certificates are compared by their DNS SANs.
    Dns(Dns),
}

/// A DNS name, at most 253 bytes, of labels of letters, digits, hyphens and underscores (RFC 1123, section 2.1; the
/// underscore is as in practice).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns(String);

/// Neither an IP address nor a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a DNS name")]
pub struct BadHost(String);

impl Dns {
    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = BadHost;

    /// Takes `10.0.0.1`, `fd00::1`, `[fd00::1]` or `api.example`.
    fn from_str(text: &str) -> Result<Self, BadHost> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Ip(address));
        }
        // A name whose last label is a number is an address written wrongly (RFC 3696, section 2): 10.0.0.256.
        let labels = || text.split('.');
        let numeric_end =
            labels().next_back().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
        if text.len() > 253 || numeric_end || !labels().all(is_label) {
            return Err(BadHost(text.to_owned()));
        }
        Ok(Self::Dns(Dns(text.to_owned())))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Dns(Dns(name)) => f.write_str(name),
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The host and the port of `https://HOST[:PORT]`. A path would have to be put before every request's path, which must not change.
///
/// # Errors
/// If it is something else, in words that follow the name of a flag or field.
pub fn endpoint(url: &str) -> Result<(Host, u16), &'static str> {
    let authority = url
        .strip_prefix("https://")
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
        .ok_or("it must begin with https://")?;
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of [::1] is part of the address.
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| "its port is not a number from 1 to 65535")?)
        }
        _ => (authority, 443),
    };
    if port == 0 {
        return Err("its port is not a number from 1 to 65535");
    }
    if host.contains('/') || authority.contains('/') {
        return Err("it must have no path");
    }
    // A bare IPv6 address would be ambiguous before a port.
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address belongs in brackets");
    }
    Ok((
        host.parse::<Host>().map_err(|_| "its host is neither an IP address nor a DNS name")?,
        port,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names() {
        for (text, want) in [
            ("10.0.0.1", Some("ip 10.0.0.1")),
            ("fd00::1", Some("ip fd00::1")),
            ("[fd00::1]", Some("ip fd00::1")),
            ("kubernetes.default.svc", Some("dns kubernetes.default.svc")),
            ("localhost", Some("dns localhost")),
            ("my_host.example", Some("dns my_host.example")),
            ("10.0.0.256", None),
            ("", None),
            (".example", None),
            ("example.", None), // a certificate's SAN has no trailing dot
            ("-a.example", None),
            ("a b", None),
            ("a\"b", None),
            ("a\nb", None),
            ("münchen.example", None),
            ("a:443", None),
            ("*.example", None),
        ] {
            let got = text.parse::<Host>().ok().map(|host| match &host {
                Host::Ip(_) => format!("ip {host}"),
                Host::Dns(_) => format!("dns {host}"),
            });
            assert_eq!(got.as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn endpoints() {
        for (url, want) in [
            ("https://10.0.0.1:6443", Ok("10.0.0.1 6443")),
            ("https://api.example", Ok("api.example 443")),
            ("https://api.example/", Ok("api.example 443")),
            ("https://[fd00::1]", Ok("fd00::1 443")),
            ("https://[fd00::1]:6443", Ok("fd00::1 6443")),
            ("http://api.example", Err("begin with https://")),
            ("api.example:6443", Err("begin with https://")),
            ("https://api.example:0", Err("port")),
            ("https://api.example:99999", Err("port")),
            ("https://api.example/k8s/clusters/c-1", Err("no path")),
            ("https://api.example:6443/k8s", Err("port")),
            ("https://fd00::1", Err("brackets")),
            ("https://fd00::1:443", Err("brackets")),
            ("https://user@api.example", Err("neither")),
            ("https://", Err("neither")),
        ] {
            let got = endpoint(url);
            match (&got, want) {
                (Ok((host, port)), Ok(want)) => assert_eq!(format!("{host} {port}"), want),
                (Err(got), Err(want)) => assert!(got.contains(want), "{url}: {got}"),
                _ => panic!("{url}: {got:?}"),
            }
        }
    }
}
