//! Where Envoy sends the spans of requests, by OpenTelemetry's protocol (OTLP), and which of them.
//!
//! A trace is begun here: what a client says of one (`traceparent`) is not believed unless that is asked for, because whoever is
//! believed decides what is recorded.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use gateway_net::{Host, endpoint};
use serde::Serialize;

use crate::{
    error::RenderError,
    inputs::Inputs,
    paths::{Watched, folder, watched},
};

/// The file of the secret with the collector's CA.
pub(crate) const CA_FILE: &str = "secret-collector-ca.yaml";

/// The file of the secret with the token for the collector.
pub(crate) const TOKEN_FILE: &str = "secret-collector-token.yaml";

/// Where OTLP's own servers take spans by HTTP (OpenTelemetry protocol, section "OTLP/HTTP Request").
const HTTP_PATH: &str = "/v1/traces";

/// The collector, and what it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Where spans go.
    pub collector: Collector,
    /// Which part of the requests is traced.
    pub sampling: Sampling,
    /// Whether a span names the request's user.
    pub user: bool,
    /// Whether a client's `traceparent` is believed: the request is then a part of its trace, and recorded if that says so.
    pub trust_clients: bool,
}

/// An OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Where it listens.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The path for OTLP by HTTP.
    pub path: String,
    /// How it is known, if it is reached by TLS.
    pub tls: Option<Trust>,
    /// What it is shown, if it asks who sends spans.
    pub token: Option<Token>,
}

/// Whom a TLS connection believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The system's CA bundle.
    System,
    /// A CA bundle (PEM file). Its directory is watched.
    File(PathBuf),
}

/// A token for the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The file with it. Its directory is watched.
    pub file: PathBuf,
    /// The header that it goes in; `authorization` has `Bearer ` before it.
    pub header: String,
}

/// A form of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// OTLP by gRPC.
    Grpc,
    /// OTLP by HTTP, protobuf.
    Http,
}

/// A part of all requests, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling(u16);

/// Flags for [`Traces`]; without an endpoint there are none.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub struct TracesFlags {
    /// The OpenTelemetry collector that gets the spans of requests (OTLP) [default: no traces]
    #[arg(long, value_name = "http[s]://HOST[:PORT][/PATH]")]
    pub tracing_endpoint: Option<String>,
    /// How it is spoken to; http without a path goes to /v1/traces
    #[arg(long, value_name = "PROTOCOL", default_value = "grpc", requires = "tracing_endpoint")]
    pub tracing_protocol: Protocol,
    /// Which part of the requests is traced: 0.01 to 100
    #[arg(long, value_name = "PERCENT", default_value = "1", requires = "tracing_endpoint")]
    pub tracing_sampling_percent: Sampling,
    /// Name the user in the spans of its requests
    #[arg(long, requires = "tracing_endpoint")]
    pub tracing_user: bool,
    /// Believe the traceparent of clients, all of them: they then decide what is recorded
    #[arg(long, requires = "tracing_endpoint")]
    pub tracing_trust_clients: bool,
    /// The CA bundle for the collector (PEM) [default: the system's]
    #[arg(long, value_name = "FILE", requires = "tracing_endpoint")]
    pub tracing_ca_file: Option<PathBuf>,
    /// The token that the collector is shown; over https alone
    #[arg(long, value_name = "FILE", requires = "tracing_endpoint")]
    pub tracing_token_file: Option<PathBuf>,
    /// The header that the token goes in; authorization has "Bearer " before it
    #[arg(
        long,
        value_name = "HEADER",
        default_value = "authorization",
        value_parser = header,
        requires = "tracing_token_file"
    )]
    pub tracing_token_header: String,
}

impl TracesFlags {
    /// What they say. Paths are as they were given.
    ///
    /// # Errors
    /// In a line that names the flag.
    pub fn traces(self) -> Result<Option<Traces>, String> {
        let Some(url) = self.tracing_endpoint else { return Ok(None) };
        let bad = |why: &str| format!("--tracing-endpoint {url:?}: {why}");
        let Endpoint { tls, host, port, path } = Endpoint::parse(&url).map_err(bad)?;
        let protocol = self.tracing_protocol;
        if protocol == Protocol::Grpc && !path.is_empty() {
            return Err(bad("gRPC has no path; with one it is --tracing-protocol=http"));
        }
        if !tls && self.tracing_token_file.is_some() {
            return Err(bad("a token (--tracing-token-file) goes over https:// alone"));
        }
        if !tls && self.tracing_ca_file.is_some() {
            return Err(bad("a CA (--tracing-ca-file) is for https://"));
        }
        let header = self.tracing_token_header;
        let collector = Collector {
            host,
            port,
            protocol,
            path: if path.is_empty() { HTTP_PATH.to_owned() } else { path },
            tls: tls.then(|| self.tracing_ca_file.map_or(Trust::System, Trust::File)),
            token: self.tracing_token_file.map(|file| Token { file, header }),
        };
        Ok(Some(Traces {
            collector,
            sampling: self.tracing_sampling_percent,
            user: self.tracing_user,
            trust_clients: self.tracing_trust_clients,
        }))
    }
}

struct Endpoint {
    tls: bool,
    host: Host,
    port: u16,
    path: String,
}

impl Endpoint {
    fn parse(url: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("it must begin with http:// or https://"),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let plain = |c: char| c.is_ascii_graphic() && !"?#\"\\".contains(c);
        if !path.chars().all(plain) {
            return Err("its path must be printable ASCII without ? and #");
        }
        let (host, port) = endpoint(&format!("https://{authority}"))?;
        let given = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        Ok(Self {
            tls,
            host,
            port: if given || tls { port } else { 80 },
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

impl FromStr for Sampling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str, most| {
            let digits =
                (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten()
        };
        let hundredths = digits(whole, 3)
            .zip(digits(part, 2).map(|it| if part.len() == 1 { 10 * it } else { it }))
            .map(|(whole, part)| 100 * whole + part)
            .filter(|it| (1..=10_000).contains(it));
        let bad = || format!("{text:?} is not between 0.01 and 100, with at most two decimals");
        hundredths.map(Self).ok_or_else(bad)
    }
}

impl Sampling {
    fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A header that a token can go in: a name of HTTP/2 that says nothing else (RFC 9110, section 5.6.2).
fn header(name: &str) -> Result<String, String> {
    const TAKEN: [&str; 6] =
        ["host", "te", "content-type", "content-length", "connection", "transfer-encoding"];
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let name = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_token) || TAKEN.contains(&name.as_str()) {
        return Err("no header that a token can go in".to_owned());
    }
    Ok(name)
}

/// [`Traces`] as the template has them.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct TraceTexts<'a> {
    host: String,
    port: u16,
    by_name: bool,
    grpc: bool,
    /// What it is asked as.
    authority: String,
    url: String,
    tls: bool,
    sni: Option<String>,
    san: String,
    san_type: &'static str,
    ca: Option<TrustedFile<'a>>,
    token: Option<TokenTexts<'a>>,
    percent: f64,
    user: bool,
    trust_clients: bool,
}

#[derive(Serialize)]
struct TrustedFile<'a> {
    secret: String,
    #[serde(flatten)]
    file: Watched<'a>,
}

#[derive(Serialize)]
struct TokenTexts<'a> {
    secret: String,
    header: &'a str,
    prefix: &'static str,
    #[serde(flatten)]
    file: Watched<'a>,
}

impl<'a> TraceTexts<'a> {
    pub(crate) fn new(inputs: &'a Inputs) -> Result<Option<Self>, RenderError> {
        let Some(traces) = &inputs.options.traces else { return Ok(None) };
        let Collector { host, port, protocol, path, tls, token } = &traces.collector;
        let directory = folder(&inputs.directory)?;
        let secret = |name: &str| format!("{directory}/{name}");
        let (san_type, sni, shown) = match host {
            Host::Ip(address) if address.is_ipv6() => ("IP_ADDRESS", None, format!("[{address}]")),
            Host::Ip(address) => ("IP_ADDRESS", None, address.to_string()),
            Host::Dns(name) => ("DNS", Some(name.as_str().to_owned()), name.as_str().to_owned()),
        };
        let authority = format!("{shown}:{port}");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let ca = match tls {
            Some(Trust::File(path)) => {
                let file = watched("collector CA", path)?;
                Some(TrustedFile { secret: secret(CA_FILE), file })
            }
            Some(Trust::System) | None => None,
        };
        let token = token.as_ref().map(|Token { file, header }| {
            let prefix = if header == "authorization" { "Bearer " } else { "" };
            let file = watched("collector token", file)?;
            Ok::<_, RenderError>(TokenTexts { secret: secret(TOKEN_FILE), header, prefix, file })
        });
        Ok(Some(Self {
            host: host.to_string(),
            port: *port,
            by_name: matches!(host, Host::Dns(_)),
            grpc: *protocol == Protocol::Grpc,
            url: format!("{scheme}://{authority}{path}"),
            authority,
            tls: tls.is_some(),
            sni,
            san: host.to_string(),
            san_type,
            ca,
            token: token.transpose()?,
            percent: traces.sampling.percent(),
            user: traces.user,
            trust_clients: traces.trust_clients,
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn traces(flags: &[&str]) -> Result<Option<Traces>, String> {
        let command = TracesFlags::augment_args(Command::new("a").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).map_err(|error| error.to_string())?;
        TracesFlags::from_arg_matches(&matches).unwrap().traces()
    }

    #[test]
    fn who_names_no_collector_has_no_traces() {
        assert_eq!(traces(&[]), Ok(None));
        for flag in [
            "--tracing-protocol=http",
            "--tracing-sampling-percent=2",
            "--tracing-user",
            "--tracing-trust-clients",
            "--tracing-ca-file=/a",
            "--tracing-token-file=/a",
        ] {
            let refused = traces(&[flag]).unwrap_err();
            assert!(refused.contains("--tracing-endpoint"), "{refused}");
        }
        let refused = traces(&["--tracing-endpoint=https://a", "--tracing-token-header=b"]);
        assert!(refused.unwrap_err().contains("--tracing-token-file"));
    }

    #[test]
    fn collectors() {
        let with = |url: &str, more: &[&str]| {
            let endpoint = format!("--tracing-endpoint={url}");
            let flags: Vec<_> =
                [endpoint.as_str()].into_iter().chain(more.iter().copied()).collect();
            traces(&flags)
        };
        for (url, more, want) in [
            ("http://otel.observability:4317", &[][..], Ok((4317, "/v1/traces", false))),
            ("https://otel.example", &[], Ok((443, "/v1/traces", true))),
            ("http://[fd00::1]/", &[], Ok((80, "/v1/traces", false))),
            (
                "https://otel.example/otlp/v1/traces",
                &["--tracing-protocol=http"],
                Ok((443, "/otlp/v1/traces", true)),
            ),
            ("https://otel.example/otlp", &[], Err("gRPC has no path")),
            ("otel.example:4317", &[], Err("begin with http:// or https://")),
            ("http://otel.example:0", &[], Err("port")),
            ("http://user:pass@otel.example", &[], Err("port")),
            ("http://otel.example", &["--tracing-token-file=/t"], Err("https:// alone")),
            ("http://otel.example", &["--tracing-ca-file=/t"], Err("is for https://")),
            ("https://otel.example/a?b", &["--tracing-protocol=http"], Err("without ? and #")),
        ] {
            match (with(url, more), want) {
                (Ok(Some(got)), Ok((port, path, tls))) => {
                    let got = got.collector;
                    assert_eq!(
                        (got.port, got.path.as_str(), got.tls.is_some()),
                        (port, path, tls),
                        "{url}"
                    );
                }
                (Err(got), Err(want)) => {
                    assert!(got.contains(want) && got.contains("--tracing-endpoint"), "{got}");
                }
                (got, want) => panic!("{url}: {got:?} / {want:?}"),
            }
        }
    }

    #[test]
    fn percentages() {
        for (text, want) in [
            ("1", Some("1.00")),
            ("100", Some("100.00")),
            ("0.01", Some("0.01")),
            ("12.5", Some("12.50")),
            ("0", None),
            ("0.001", None),
            ("100.01", None),
            ("-1", None),
            ("1e1", None),
            ("", None),
            (".5", None),
            ("1.", None),
        ] {
            let got = text.parse::<Sampling>().ok().map(|it| it.to_string());
            assert_eq!(got.as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn headers_for_tokens() {
        for (name, good) in [
            ("authorization", true),
            ("X-Api-Key", true),
            ("", false),
            (":path", false),
            ("host", false),
            ("a b", false),
        ] {
            assert_eq!(header(name).is_ok(), good, "{name:?}");
        }
    }
}
