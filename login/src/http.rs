//! The program's one way onto the network: TLS by rustls, proxies from the environment, nothing waited for endlessly,
//! nothing read without bound, and with `-v` a line for each request whose secrets are masked.

mod p521;
mod proxy;
mod tls;
mod trust;

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use oauth2::{HttpRequest, HttpResponse};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::{
    Agent, RequestExt as _,
    http::{HeaderName, HeaderValue, Method, Uri, header},
    unversioned::{
        resolver::DefaultResolver,
        transport::{ConnectProxyConnector, Connector as _, SocksConnector, TcpConnector},
    },
};
use url::{Url, form_urlencoded};

use self::{proxy::Proxies, tls::Tls};
use crate::{
    address::Link,
    console::{Console, mask, plain},
    settings::Trust,
};

pub use trust::{Pin, TrustError};

/// Discovery documents and key sets are some kilobytes; nothing an issuer answers is near this.
const RESPONSE_LIMIT: u64 = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// More than any document is away from where it is said to be.
const REDIRECTS: u32 = 5;

/// Why a request had no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No answer at all.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The server's certificate is not believed.
    #[error("the certificate of {host} is not trusted: {reason}")]
    Untrusted {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What would prove us to the server cannot be made.
    #[error("{0}")]
    Unproven(String),
    /// An answer that is no success.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for, without its query.
        url: String,
        /// The status code.
        status: u16,
    },
    /// An answer that is not what it should be.
    #[error("{url} answered something else than expected: {reason}")]
    Body {
        /// What was asked for, without its query.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An HTTP client that trusts whom the settings say.
#[derive(Debug)]
pub struct Http {
    agent: Agent,
    proxies: Proxies,
    headers: Vec<(HeaderName, HeaderValue)>,
    console: Console,
    skew: Mutex<Option<Skew>>,
}

/// How far an issuer's clock is ahead of ours.
#[derive(Debug, Clone, Copy)]
struct Skew {
    by: TimeDelta,
    /// From an answer that no cache has kept.
    fresh: bool,
}

impl Http {
    /// A client that believes the certificate authorities of `trust`, or the system's if it names none.
    pub fn new(trust: &Trust, console: Console) -> Result<Self, TrustError> {
        Self::with_proxy(trust, None, console)
    }

    /// The same, through a proxy of its own instead of the environment's.
    pub fn with_proxy(
        trust: &Trust,
        proxy: Option<&str>,
        console: Console,
    ) -> Result<Self, TrustError> {
        Self::with_tls(trust::tls_config(trust)?, proxy, console)
    }

    fn with_tls(
        tls: Arc<ClientConfig>,
        proxy: Option<&str>,
        console: Console,
    ) -> Result<Self, TrustError> {
        let proxies = match proxy {
            Some(url) => Proxies::fixed(url)?,
            None => Proxies::of_environment(|name| std::env::var(name).ok())?,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Chosen for each address.
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("kubectl-oidc/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(Tls(tls));
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, proxies, headers: Vec::new(), console, skew: Mutex::new(None) })
    }

    /// A client that believes one certificate authority of those that the server shows: the one of this fingerprint, and what it
    /// has signed for the server's name.
    pub fn pinned(fingerprint: [u8; 32], console: Console) -> Result<(Self, Pin), TrustError> {
        let pin = Pin::new(fingerprint);
        let http = Self::with_tls(trust::pinned_config(&pin)?, None, console)?;
        Ok((http, pin))
    }

    /// With these headers in every request.
    #[must_use]
    pub fn sending(self, headers: &[(HeaderName, HeaderValue)]) -> Self {
        Self { headers: headers.to_vec(), ..self }
    }

    /// Fetches a JSON document, by GET, following redirects.
    pub fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, HttpError> {
        let body = self.get(url)?;
        serde_json::from_slice(&body)
            .map_err(|_| HttpError::Body { url: bare(url), reason: not_json(&body).to_owned() })
    }

    /// Fetches a document, by GET, following redirects.
    pub fn get(&self, url: &str) -> Result<Vec<u8>, HttpError> {
        let mut request = HttpRequest::new(Vec::new());
        *request.uri_mut() = url.parse().map_err(|_| HttpError::Body {
            url: bare(url),
            reason: "its address is not valid".to_owned(),
        })?;
        let response = self.follow(request)?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(HttpError::Status { url: bare(url), status });
        }
        Ok(response.into_body())
    }

    /// Sends one request and follows no redirect: what it carries is meant for that server alone.
    pub fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(self.with_headers(request))
    }

    fn with_headers(&self, mut request: HttpRequest) -> HttpRequest {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        request
    }

    /// How far the issuer's clock was ahead of ours at its last answer to a POST, else to any request.
    #[must_use]
    pub fn skew(&self) -> Option<TimeDelta> {
        self.skew.lock().ok().and_then(|skew| skew.map(|skew| skew.by))
    }

    /// Follows redirects. Where the first address is over TLS, all must be; a plain one leads nowhere but over TLS or to
    /// this machine.
    fn follow(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let first = request.uri().to_string();
        let plain = request.uri().scheme_str() == Some("http");
        let host = request.uri().authority().cloned();
        let mut response = self.send(self.with_headers(request))?;
        let mut from = first.clone();
        for _ in 0..REDIRECTS {
            let location = response.headers().get(header::LOCATION).map(|value| value.to_str());
            let Some(Ok(location)) = location.filter(|_| response.status().is_redirection()) else {
                return Ok(response);
            };
            let refused = |reason: String| HttpError::Body { url: bare(&first), reason };
            let to = Url::parse(&from).and_then(|from| from.join(location));
            let to = to.map_err(|error| refused(format!("a redirect to no address: {error}")))?;
            let link = Link::checked(to.as_str(), plain).map_err(|error| {
                refused(format!("a redirect to an address that {}", error.reason))
            })?;
            let mut next = HttpRequest::new(Vec::new());
            *next.uri_mut() = link
                .as_str()
                .parse()
                .map_err(|_| refused("a redirect to no address".to_owned()))?;
            // What the settings send may be a secret, and is not for whoever is redirected to.
            let next = if next.uri().authority() == host.as_ref() {
                self.with_headers(next)
            } else {
                next
            };
            response = self.send(next)?;
            link.as_str().clone_into(&mut from);
        }
        Err(HttpError::Body { url: bare(&first), reason: "too many redirects".to_owned() })
    }

    fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri().clone();
        let line = describe(&request);
        let fresh = request.method() == Method::POST;
        let proxy = Url::parse(&uri.to_string()).ok().and_then(|url| self.proxies.of(&url));
        let through = proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let start = Instant::now();
        let sent = request.with_agent(&self.agent).configure().proxy(proxy).run();
        let answer = sent.and_then(|response| {
            let (parts, mut body) = response.into_parts();
            let body = body.with_config().limit(RESPONSE_LIMIT).read_to_vec()?;
            Ok(HttpResponse::from_parts(parts, body))
        });
        let elapsed = start.elapsed().as_millis();
        match answer {
            Ok(response) => {
                if let (Some(by), Ok(mut skew)) = (skew_of(&response), self.skew.lock())
                    && (fresh || !skew.is_some_and(|skew| skew.fresh))
                {
                    *skew = Some(Skew { by, fresh });
                }
                self.console.trace(|| {
                    format!("{line} -> {} in {elapsed} ms {}", response.status(), fields(&response))
                });
                Ok(response)
            }
            Err(error) => {
                let by = through.as_ref().map(|proxy| format!(" by the proxy {proxy}"));
                let by = by.unwrap_or_default();
                self.console.trace(|| format!("{line}{by} -> {error} after {elapsed} ms"));
                Err(explain(&uri, &error, through.as_deref()))
            }
        }
    }
}

const NO_SUCH_HOST: &str = "there is no host of this name here";

impl HttpError {
    /// What to do about it, to stand behind it. `authority` is the setting for the server's certificate authority.
    #[must_use]
    pub fn way_out(&self, authority: &str) -> String {
        match self {
            Self::Unproven(_) => String::new(),
            Self::Unreachable { reason, .. } if reason.contains("HTTPS_PROXY=") => String::new(),
            Self::Unreachable { .. } => {
                "; check the address, the network (is a VPN needed?) and $HTTPS_PROXY".to_owned()
            }
            Self::Untrusted { reason, .. } if reason.contains("--ca-fingerprint") => String::new(),
            Self::Untrusted { reason, .. } if reason.contains("authority") => {
                format!("; give its certificate authority with {authority}")
            }
            Self::Untrusted { .. } => "; its administrator must correct that".to_owned(),
            Self::Status { status: 404, .. } => "; is the address right?".to_owned(),
            Self::Status { status: 403 | 429, .. } => {
                "; it refuses for now, or something before it does: try again in some minutes"
                    .to_owned()
            }
            Self::Status { status: 500.., .. } => {
                "; it has a fault of its own: try again in some minutes".to_owned()
            }
            Self::Status { .. } | Self::Body { .. } => {
                "; -v shows what was asked and answered".to_owned()
            }
        }
    }
}

/// What went wrong, in words: none of a library's own.
fn explain(uri: &Uri, error: &ureq::Error, proxy: Option<&str>) -> HttpError {
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    let reason = match error {
        // rustls reports its own errors through io.
        ureq::Error::Io(io) => match io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(error) => return explain_tls(host, error),
            None => explain_io(io),
        },
        ureq::Error::HostNotFound => NO_SUCH_HOST.to_owned(),
        ureq::Error::Timeout(_) => "it did not answer in time".to_owned(),
        ureq::Error::BodyExceedsLimit(_) => {
            let reason = format!("more than {RESPONSE_LIMIT} bytes");
            return HttpError::Body { url: bare(&uri.to_string()), reason };
        }
        ureq::Error::ConnectProxyFailed(said) => {
            let status = said.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 3);
            match status {
                Some("407") => "the proxy requires a name and a password; put them into its address, as in HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT".to_owned(),
                Some(status) => format!("the proxy refuses to lead there ({status})"),
                None => "the proxy does not answer".to_owned(),
            }
        }
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
            "what answers there does not speak HTTP".to_owned()
        }
        _ => "the connection failed".to_owned(),
    };
    let reason = match proxy {
        Some(proxy) => format!("{reason} (by the proxy {proxy} of the environment)"),
        None => reason,
    };
    HttpError::Unreachable { host, reason }
}

fn explain_io(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    // The standard library has no kind for it.
    let unknown = error.to_string().starts_with("failed to lookup address")
        || cfg!(windows) && matches!(error.raw_os_error(), Some(11_001..=11_004));
    if unknown {
        return NO_SUCH_HOST.to_owned();
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => "the connection was cut".to_owned(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            "there is no way to it from here".to_owned()
        }
        ErrorKind::TimedOut => "it did not answer in time".to_owned(),
        ErrorKind::InvalidData | ErrorKind::Other => "the connection failed".to_owned(),
        _ => plain(error),
    }
}

fn explain_tls(host: String, error: &rustls::Error) -> HttpError {
    use rustls::{AlertDescription as Alert, Error};
    let reason = match error {
        Error::InvalidCertificate(reason) => {
            return HttpError::Untrusted { host, reason: certificate_reason(reason) };
        }
        Error::InvalidMessage(_) => "what answers there does not speak TLS; another port, or http?",
        Error::AlertReceived(
            Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity,
        )
        | Error::PeerIncompatible(_) => {
            "it has no TLS in common with this program, which has 1.3, and 1.2 with AEAD ciphers"
        }
        Error::AlertReceived(Alert::CertificateRequired | Alert::BadCertificate) => {
            "it wants a client certificate, of which this program has none"
        }
        Error::AlertReceived(Alert::UnrecognisedName) => "it serves no host of this name",
        _ => "the TLS handshake failed",
    };
    HttpError::Unreachable { host, reason: reason.to_owned() }
}

fn certificate_reason(reason: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Reason;
    match reason {
        Reason::UnknownIssuer => "no certificate authority known here signed it",
        Reason::Expired | Reason::ExpiredContext { .. } => {
            "it has expired, or this machine's clock is wrong"
        }
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            "it is not valid yet, or this machine's clock is wrong"
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            "it is for other names than this one"
        }
        Reason::BadSignature => "its signature is not its authority's",
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => "it is not for servers",
        Reason::Revoked => "it was revoked",
        Reason::Other(other) if trust::is_other_authority(other) => {
            "of the certificates that it shows none has the fingerprint of --ca-fingerprint; is it the right server, and does it show its CA's certificate, too? Its administrator knows"
        }
        Reason::Other(_) => "it is the certificate of an authority, which no server should show; give that very certificate as the authority, or make one for the server",
        _ => "it breaks the rules for certificates, or uses a signature that is not known here",
    }
    .to_owned()
}

/// The `Date` of an answer, and how long a cache has had it (`Age`), against our clock.
fn skew_of(response: &HttpResponse) -> Option<TimeDelta> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let date = DateTime::parse_from_rfc2822(text(header::DATE)?).ok()?;
    let age: u32 = text(header::AGE).and_then(|age| age.trim().parse().ok()).unwrap_or_default();
    Some(date.with_timezone(&Utc) + TimeDelta::seconds(age.into()) - Utc::now())
}

/// Method, address and form fields, secrets masked.
fn describe(request: &HttpRequest) -> String {
    let mut line = format!("{} {}", request.method(), bare(&request.uri().to_string()));
    let form = form_urlencoded::parse(request.body());
    let query = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    for (name, value) in query.chain(form.filter(|_| is_form)) {
        let _ = write!(line, " {name}={}", mask(&name, &value));
    }
    if request.headers().contains_key(header::AUTHORIZATION) {
        line.push_str(" (Authorization: ***)");
    }
    line
}

/// The names of an answer's JSON fields; of an error, what it says.
fn fields(response: &HttpResponse) -> String {
    match serde_json::from_slice(response.body()) {
        Ok(Value::Object(object)) if object.contains_key("error") => ["error", "error_description"]
            .iter()
            .filter_map(|name| object.get(*name).map(|value| format!("{name}={value}")))
            .collect::<Vec<_>>()
            .join(" "),
        Ok(Value::Object(object)) => {
            format!("({})", object.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        }
        _ => format!("({} bytes)", response.body().len()),
    }
}

/// The proxy that leads to an address, without its password.
pub fn proxy_for(url: &str) -> Result<Option<String>, TrustError> {
    let proxies = Proxies::of_environment(|name| std::env::var(name).ok())?;
    let proxy = Url::parse(url).ok().and_then(|url| proxies.of(&url));
    Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
}

/// What stands where JSON should be.
#[must_use]
pub fn not_json(body: &[u8]) -> &'static str {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    match text.first() {
        Some(b'<') => {
            "it is a web page and not JSON: is it another address, or does the network want you to sign in first (a hotel's, a guest's)?"
        }
        None => "it is empty",
        Some(_) => "it is not the JSON that it should be",
    }
}

/// The address without what may be secret in it.
fn bare(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_described_without_its_secrets() {
        let body = b"grant_type=refresh_token&refresh_token=s3cret&client_id=c".to_vec();
        let request = ureq::http::Request::post("https://i.example/token?code=s3cret&a=b")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", "Basic s3cret")
            .body(body)
            .unwrap();
        assert_eq!(
            describe(&request),
            "POST https://i.example/token code=*** a=b grant_type=refresh_token \
             refresh_token=*** client_id=c (Authorization: ***)"
        );
    }

    #[test]
    fn an_answer_is_described_by_its_names() {
        for (body, want) in [
            (r#"{"id_token":"s3cret","expires_in":60}"#, "(expires_in, id_token)"),
            (r#"{"error":"invalid_grant"}"#, r#"error="invalid_grant""#),
            ("s3cret", "(6 bytes)"),
        ] {
            assert_eq!(fields(&HttpResponse::new(body.as_bytes().to_vec())), want);
        }
    }
}
