//! What an Envoy configuration is rendered from.
//!
//! Types here hold only what is already checked: a [`Host`] is an address or a DNS name, a [`Dns`] name has its syntax.
//! What depends on several fields, or on the file system's limits, is checked by [`render`](crate::render).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use gateway_core::portal::keys::{SHARED_VARIABLE, VARIABLE};

use crate::{cidr::Cidr, documents::Documents, limits::Limits, portal::Part};

/// Everything that the files of a gateway depend on. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Where the rendered files will lie: they refer to each other by absolute paths.
    pub directory: PathBuf,
    /// Where clients connect (TLS, HTTP/2 and HTTP/1.1). Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What the listener shows to clients.
    pub serving: ServingCertificate,
    /// How it speaks TLS and HTTP with them.
    pub protocols: Protocols,
    /// Where requests go.
    pub apiserver: ApiServer,
    /// What the users' documents say.
    pub documents: Documents,
    /// Issuers that `documents` no longer have, and that keep their clusters until the filter's new configuration is live.
    pub leaving: Vec<Issuer>,
    /// The CA bundle (PEM file) for issuers without one of their own. Its directory is watched.
    pub system_ca: PathBuf,
    /// What issuers are shown if they ask for a client certificate. The directory of the chain is watched.
    pub issuer_certificate: Option<ServingCertificate>,
    /// The Wasm module. A new module is brought in under a new path: Envoy does not look at an old one again.
    pub filter: PathBuf,
    /// Worker threads; one for each CPU if absent.
    pub concurrency: Option<u32>,
    /// Envoy's admin interface, a Unix socket of mode 0600; at most 107 bytes.
    pub admin_socket: PathBuf,
    /// Where Envoy writes one JSON line a request, without queries and credentials, e.g. `/dev/stdout`.
    pub access_log: PathBuf,
    /// Whether these lines are also what the audit trail is made of: with the request target's query, and with lines while
    /// requests last. Then somebody has to read them who knows what is for whom ([`crate::audit`]).
    pub audit_lines: bool,
    /// How many proxies before Envoy are believed in `X-Forwarded-For`. With 0 it is the peer alone that counts.
    pub trusted_hops: u32,
    /// The proxies that are believed in `X-Forwarded-For`, by their addresses. If there are any, `trusted_hops` does not count.
    pub trusted_proxies: Vec<Cidr>,
    /// The balancers that begin each connection with a header of the PROXY protocol, version 1 or 2, by their addresses. If there
    /// are any, nobody else gets in, and the client's address is the one in the header.
    pub proxy_protocol: Vec<Cidr>,
    /// How long a request to kube-apiserver may take, if not for ever. Watches, followed logs and upgrades have no end.
    pub request_timeout: Option<Duration>,
    /// Sizes and times.
    pub limits: Limits,
    /// The portal, on the same port under a name of its own.
    pub portal: Option<Part>,
}

impl Inputs {
    /// The variables that Envoy needs in its environment: secrets that no file holds.
    #[must_use]
    pub fn variables(&self) -> Vec<&'static str> {
        let shared = self.documents.takes_shared_secret().then_some(SHARED_VARIABLE);
        shared.into_iter().chain(self.portal.iter().map(|_| VARIABLE)).collect()
    }

    /// The issuers that have clusters.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &Issuer> {
        self.documents.issuers().iter().chain(&self.leaving)
    }
}

/// How the listener speaks TLS and HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocols {
    /// The least version of TLS.
    pub minimum: TlsVersion,
    /// The cipher suites for TLS 1.2 by their names in BoringSSL; Envoy's own if empty.
    pub cipher_suites: Vec<String>,
    /// The key exchanges by their names in BoringSSL, the preferred first; Envoy's own if empty.
    pub curves: Vec<String>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Certificates for names, tried before the serving certificate: for clients that ask for a name.
    pub certificates: Vec<NamedCertificate>,
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            minimum: TlsVersion::V1_2,
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            http2: true,
            certificates: Vec::new(),
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.0
    V1_0,
    /// TLS 1.1
    V1_1,
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// A certificate for clients that ask for some names (SNI).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCertificate {
    /// The pair. The directory of the chain is watched.
    pub certificate: ServingCertificate,
    /// The names: DNS names, `*.example` for all names below one. Not empty.
    pub names: Vec<String>,
}

/// A certificate chain and its key, PEM files.
///
/// The directory of the chain is watched. Key and chain are read together, so they should lie in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingCertificate {
    /// The certificate, followed by its intermediates.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The kube-apiserver behind the gateway. The directories of its files are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServer {
    /// Where it listens.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// The CA bundle that signed its certificate (PEM file); if absent, whoever answers is believed.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have, if not `host` (`tls-server-name` of a kubeconfig).
    pub server_name: Option<Host>,
    /// How the gateway proves who it is.
    pub credential: Credential,
}

/// The gateway's own credential at kube-apiserver. The directory of the file is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A ServiceAccount token: the bare token, a newline at its end is ignored.
    Token(PathBuf),
    /// A client certificate.
    Certificate(ServingCertificate),
}

/// An OpenID Connect issuer, as far as Envoy must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its URL, as in tokens' `iss`.
    pub url: String,
    /// Where its discovery document is.
    pub discovery_url: String,
    /// The PEM text of the CAs that may sign its certificate; the system's if absent.
    pub certificate_authority: Option<String>,
    /// The port on which it is reached through the proxy, for all its URLs; directly if absent.
    pub proxied_port: Option<u16>,
}

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
}
