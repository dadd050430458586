//! Why a callout gave no usable answer.
//!
//! A [`Cause`] is a word of a closed set: for metrics, and in words that a client may read. The [`Fault`] around it has the whole story
//! for the operator's log. Where Envoy itself answers in place of who was asked, its text says what happened: no connection, a
//! certificate that does not pass, no answer in time.
//!
//! Source of Envoy's texts: `source/common/router/router.cc` (`upstream connect error ...`, `no healthy upstream`, `upstream request
//! timeout`), `source/common/http/utility.cc` (`resetReasonToString`), `source/common/tls/` (`TLS_error:`). Since 1.37 it leaves the
//! reason of a failed connection out, unless `envoy.reloadable_features.hide_transport_failure_reason_in_response_body` is off.

use std::fmt;

/// What went wrong with a callout.
#[expect(missing_docs, reason = "Cause::words says what each is")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    NoAddress,
    Refused,
    Unreachable,
    ConnectTimeout,
    UnknownAuthority,
    CertificateName,
    CertificateExpired,
    Certificate,
    Tls,
    Connection,
    Reset,
    Timeout,
    Overflow,
    NoCluster,
    NotHttp,
    HttpStatus,
    Redirect,
    ContentEncoding,
    TooLarge,
    Document,
    NoUsableKey,
    Url,
    Envoy,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::NoAddress,
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::UnknownAuthority,
        Self::CertificateName,
        Self::CertificateExpired,
        Self::Certificate,
        Self::Tls,
        Self::Connection,
        Self::Reset,
        Self::Timeout,
        Self::Overflow,
        Self::NoCluster,
        Self::NotHttp,
        Self::HttpStatus,
        Self::Redirect,
        Self::ContentEncoding,
        Self::TooLarge,
        Self::Document,
        Self::NoUsableKey,
        Self::Url,
        Self::Envoy,
    ];

    /// Its word, for metrics and logs.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::NoAddress => "no_address",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::UnknownAuthority => "unknown_authority",
            Self::CertificateName => "certificate_name",
            Self::CertificateExpired => "certificate_expired",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Connection => "connection_failed",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Overflow => "overflow",
            Self::NoCluster => "no_cluster",
            Self::NotHttp => "not_http",
            Self::HttpStatus => "http_status",
            Self::Redirect => "redirect",
            Self::ContentEncoding => "content_encoding",
            Self::TooLarge => "too_large",
            Self::Document => "document",
            Self::NoUsableKey => "no_usable_key",
            Self::Url => "url",
            Self::Envoy => "envoy",
        }
    }

    /// What it is, in words that follow a colon. They name nothing of the network, so that a client may read them.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NoAddress => "its host has no known address",
            Self::Refused => "its host refuses the connection",
            Self::Unreachable => "there is no route to its host",
            Self::ConnectTimeout => "no connection in time",
            Self::UnknownAuthority => {
                "its certificate is not signed by a CA that is trusted for it"
            }
            Self::CertificateName => "its certificate is for another name",
            Self::CertificateExpired => "its certificate has expired or is not valid yet",
            Self::Certificate => "its certificate does not pass",
            Self::Tls => "the TLS handshake failed",
            Self::Connection => "the connection failed",
            Self::Reset => "the connection ended before the answer did",
            Self::Timeout => "no answer in time",
            Self::Overflow => "too many callouts are under way",
            Self::NoCluster => "Envoy has no cluster for it",
            Self::NotHttp => "its answer is not HTTP",
            Self::HttpStatus => "it answers with an HTTP error",
            Self::Redirect => "it answers with a redirect",
            Self::ContentEncoding => "its answer is encoded in a way that is not read",
            Self::TooLarge => "its answer is too large",
            Self::Document => "its answer is not the document that was expected",
            Self::NoUsableKey => "its key set has no usable key",
            Self::Url => "one of its URLs cannot be used",
            Self::Envoy => "Envoy did not make the callout",
        }
    }

    /// The cause with this word.
    #[must_use]
    pub fn of_keyword(keyword: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.keyword() == keyword)
    }
}

/// A cause, and what the operator is told of it: one line of bounded length, whatever the other side wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// What went wrong.
    pub cause: Cause,
    detail: String,
}

impl Fault {
    /// A fault of which this is the story.
    pub fn new(cause: Cause, detail: impl fmt::Display) -> Self {
        Self { cause, detail: one_line(&detail.to_string()) }
    }

    /// A fault of which there is no more to say than what it is; `more` stands behind it, if there is more.
    fn plain(cause: Cause, more: &str) -> Self {
        if more.is_empty() {
            Self::new(cause, cause.words())
        } else {
            Self::new(cause, format_args!("{}: {more}", cause.words()))
        }
    }

    /// Envoy knows no cluster of this name.
    #[must_use]
    pub fn no_cluster(cluster: &str) -> Self {
        Self::plain(Cause::NoCluster, &format!("{cluster:?}"))
    }

    /// Envoy had its own answer at once, and gives it to nobody. Without a host to ask there is none to wait for; with too many
    /// callouts under way it is the same.
    #[must_use]
    pub fn refused_at_once() -> Self {
        let more = "its name was not found, DNS does not answer, or Envoy takes no more callouts";
        Self::plain(Cause::NoAddress, more)
    }

    /// Envoy did not take the callout.
    #[must_use]
    pub fn not_taken(status: &dyn fmt::Debug) -> Self {
        Self::plain(Cause::Envoy, &format!("{status:?}"))
    }

    /// No answer came within the callout's own time.
    #[must_use]
    pub fn timeout() -> Self {
        Self::plain(Cause::Timeout, "")
    }

    /// The answer began, and did not end.
    #[must_use]
    pub fn broken_off() -> Self {
        Self::plain(Cause::Reset, "or it is larger than Envoy holds")
    }

    /// The answer has so many bytes.
    #[must_use]
    pub fn too_large(bytes: usize) -> Self {
        Self::plain(Cause::TooLarge, &format!("{bytes} bytes"))
    }

    /// The answer was not waited for, or got lost.
    #[must_use]
    pub fn lost() -> Self {
        Self::plain(Cause::Timeout, "the answer was lost")
    }

    /// What Envoy's own answer, of this body, means.
    #[must_use]
    pub fn of_envoy(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body.get(..body.len().min(2048)).unwrap_or_default());
        let text = text.trim();
        if text.starts_with("no healthy upstream") {
            return Self::plain(Cause::NoAddress, "its name was not found, or DNS does not answer");
        }
        if text.starts_with("upstream request timeout") {
            return Self::timeout();
        }
        let Some((_, reason)) = text.split_once("reset reason: ") else {
            return Self::plain(Cause::Envoy, &format!("HTTP {status}: {text}"));
        };
        let (reset, transport) =
            reason.split_once(", transport failure reason: ").unwrap_or((reason, ""));
        let cause = of_transport(transport).unwrap_or_else(|| of_reset(reset));
        Self::plain(cause, if transport.is_empty() { reset } else { shortened(transport) })
    }
}

/// The cause in the reason that Envoy gives for a connection that failed.
fn of_transport(reason: &str) -> Option<Cause> {
    const CAUSES: [(&str, Cause); 15] = [
        ("verify SAN list", Cause::CertificateName),
        ("certificate has expired", Cause::CertificateExpired),
        ("certificate is not yet valid", Cause::CertificateExpired),
        ("issuer certificate", Cause::UnknownAuthority), // unable to get (local) issuer certificate
        ("self-signed certificate", Cause::UnknownAuthority),
        ("self signed certificate", Cause::UnknownAuthority),
        ("unable to verify the first certificate", Cause::UnknownAuthority),
        ("CERTIFICATE_VERIFY_FAILED", Cause::Certificate),
        ("TLS_error", Cause::Tls),
        ("Connection refused", Cause::Refused),
        ("Network is unreachable", Cause::Unreachable),
        ("No route to host", Cause::Unreachable),
        ("Cannot assign requested address", Cause::Unreachable),
        ("Connection timed out", Cause::ConnectTimeout),
        ("Connection reset", Cause::Reset),
    ];
    // The names in a certificate are behind what was wrong with them, and must not be taken for it.
    let reason = reason.split(", expected SANs").next().unwrap_or_default();
    CAUSES.into_iter().find_map(|(text, cause)| reason.contains(text).then_some(cause))
}

/// The cause in Envoy's word for how a request to another ended.
fn of_reset(reason: &str) -> Cause {
    match reason {
        "connection timeout" => Cause::ConnectTimeout,
        "connection termination" | "remote reset" | "remote refused stream reset" => Cause::Reset,
        "protocol error" => Cause::NotHttp,
        "overflow" => Cause::Overflow,
        _ => Cause::Connection,
    }
}

/// Without the parts that are the same in every reason of BoringSSL's.
fn shortened(transport: &str) -> &str {
    let text = transport.split_once("OPENSSL_internal:").map_or(transport, |(_, text)| text);
    text.trim_end_matches("TLS_error_end").trim_end_matches(':')
}

/// What others wrote, so that it can stand in a log: no control characters, and no more than some hundred characters.
fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    let mut line: String =
        text.chars().take(MOST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const CONNECT: &str =
        "upstream connect error or disconnect/reset before headers. reset reason: ";
    const FAILED: &str = "remote connection failure, transport failure reason: ";

    /// The bodies that Envoy 1.40 gave, each for what its cause says.
    #[test]
    fn envoys_own_answers_name_their_cause() {
        let verify = "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: ";
        let x509 = "X509_verify_cert: certificate verification error at depth 0: ";
        for (body, cause, detail) in [
            (
                format!("{CONNECT}{FAILED}delayed connect error: Connection refused"),
                Cause::Refused,
                "its host refuses the connection: delayed connect error: Connection refused",
            ),
            (
                format!("{CONNECT}{FAILED}delayed connect error: Network is unreachable"),
                Cause::Unreachable,
                "there is no route to its host: delayed connect error: Network is unreachable",
            ),
            (
                format!(
                    "{CONNECT}{FAILED}{verify}{x509}unable to get local issuer certificate:TLS_error_end"
                ),
                Cause::UnknownAuthority,
                "its certificate is not signed by a CA that is trusted for it: CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate",
            ),
            (
                format!("{CONNECT}{FAILED}{verify}{x509}certificate has expired:TLS_error_end"),
                Cause::CertificateExpired,
                "its certificate has expired or is not valid yet: CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired",
            ),
            (
                format!(
                    "{CONNECT}{FAILED}{verify}verify SAN list, expected SANs: [localhost], certificate SANs: [certificate has expired]:TLS_error_end"
                ),
                Cause::CertificateName,
                "its certificate is for another name: CERTIFICATE_VERIFY_FAILED:verify cert failed: verify SAN list, expected SANs: [localhost], certificate SANs: [certificate has expired]",
            ),
            (
                format!(
                    "{CONNECT}{FAILED}TLS_error:|268436526:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION:TLS_error_end"
                ),
                Cause::Tls,
                "the TLS handshake failed: TLSV1_ALERT_PROTOCOL_VERSION",
            ),
            (
                format!(
                    "{CONNECT}{FAILED}TLS_error:|33554536:system library:OPENSSL_internal:Connection reset by peer:TLS_error_end"
                ),
                Cause::Tls,
                "the TLS handshake failed: Connection reset by peer",
            ),
            (
                format!("{CONNECT}connection timeout"),
                Cause::ConnectTimeout,
                "no connection in time: connection timeout",
            ),
            (
                format!("{CONNECT}connection termination"),
                Cause::Reset,
                "the connection ended before the answer did: connection termination",
            ),
            (
                format!("{CONNECT}protocol error"),
                Cause::NotHttp,
                "its answer is not HTTP: protocol error",
            ),
            (
                format!("{CONNECT}overflow"),
                Cause::Overflow,
                "too many callouts are under way: overflow",
            ),
            // An Envoy that hides the reason.
            (
                format!("{CONNECT}remote connection failure"),
                Cause::Connection,
                "the connection failed: remote connection failure",
            ),
            (
                "no healthy upstream".to_owned(),
                Cause::NoAddress,
                "its host has no known address: its name was not found, or DNS does not answer",
            ),
            ("upstream request timeout".to_owned(), Cause::Timeout, "no answer in time"),
            (
                "something new\nof Envoy's".to_owned(),
                Cause::Envoy,
                "Envoy did not make the callout: HTTP 503: something new?of Envoy's",
            ),
        ] {
            let fault = Fault::of_envoy(503, body.as_bytes());
            assert_eq!((fault.cause, fault.to_string().as_str()), (cause, detail), "{body}");
        }
    }

    /// The names in a certificate are the other side's own words.
    #[test]
    fn what_others_wrote_is_one_line_of_bounded_length() {
        let names = "x\u{1b}\n".repeat(10_000);
        let fault = Fault::of_envoy(503, format!("{CONNECT}{FAILED}TLS_error:{names}").as_bytes());
        assert_eq!(fault.cause, Cause::Tls);
        let line = fault.to_string();
        assert!(line.chars().count() <= 401 && !line.contains(char::is_control), "{line}");
        assert_eq!(Fault::of_envoy(503, b"\xff\xfe").cause, Cause::Envoy);
    }

    #[test]
    fn every_cause_has_a_word_of_its_own_and_says_what_it_is() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(Cause::ALL.iter().position(|other| *other == cause), Some(index));
            assert_eq!(Cause::of_keyword(cause.keyword()), Some(cause));
            assert!(cause.keyword().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(!cause.words().is_empty());
        }
        assert_eq!(Cause::of_keyword("other"), None);
    }
}
