//! Why an issuer's keys cannot be had, and what to do about it.

use gateway_control::ProbeError;
use gateway_core::callout::{Cause, Fault};

use crate::fetch::FetchError;
pub(super) use crate::words::of_client;

/// What to do, as docs/troubleshooting.md has it.
#[must_use]
pub fn cure(cause: Cause) -> &'static str {
    match cause {
        Cause::NoAddress => {
            "does the name resolve where Envoy runs (its pod, its node)? Or more callouts are under way than Envoy takes"
        }
        Cause::Refused => "is it up, and is the port right?",
        Cause::Unreachable => {
            "a route, a network policy or a firewall is missing; or `HTTPS_PROXY`"
        }
        Cause::ConnectTimeout => {
            "a firewall drops packets, or `HTTPS_PROXY` is missing; `--connect-timeout`"
        }
        Cause::UnknownAuthority => {
            "`issuer.certificateAuthority`, or the system's CAs, must have the CA; the server must send its intermediate certificates"
        }
        Cause::CertificateName => {
            "the log has the names that the certificate is for; is there a proxy that answers in its place?"
        }
        Cause::CertificateExpired => "renew it; look at the clocks",
        Cause::Certificate => "the log has what OpenSSL says of it",
        Cause::Tls => {
            "TLS 1.2 or 1.3 is needed; a server that wants a client certificate gets one by `--oidc-tls-client-cert-file`"
        }
        Cause::Connection => {
            "Envoy hides the reason, see [envoy.md](envoy.md#the-pieces-in-the-order-of-a-request); check the network, then the CA, then the name"
        }
        Cause::Reset => {
            "the server, or something before it, closes connections; or its answer is larger than Envoy can hold"
        }
        Cause::Timeout => {
            "an answer may take `keySets.timeoutSeconds`, a request waits for `limits.waitSeconds`"
        }
        Cause::Overflow => "the cluster's `circuit_breakers`, if you wrote them",
        Cause::NoCluster => "the filter's configuration names a cluster that Envoy's does not have",
        Cause::NotHttp => "the port is another service's",
        Cause::HttpStatus => "the log has the status; look into the issuer's own log",
        Cause::Redirect => {
            "write the URL that it leads to into `issuer.discoveryURL`; keys are never fetched by a redirect"
        }
        Cause::ContentEncoding => {
            "the gateway reads gzip and nothing else, and asks for no compression: the server, or a proxy before it, must not compress in another way"
        }
        Cause::TooLarge => "`keySets.maximumBytes`",
        Cause::Document => {
            "the log has what is wrong with it: another `issuer`, no JSON, more than 1000 keys"
        }
        Cause::NoUsableKey => "the log names each key and why it cannot be used",
        Cause::Url => "the `jwks_uri` of its discovery document, which must be https",
        Cause::Envoy => "the log has Envoy's own answer; please report it",
    }
}

/// The same without the marks of a page, for a terminal.
pub(super) fn plain(cause: Cause) -> String {
    let text = cure(cause).replace('`', "");
    // A page's link, `[text](target)`.
    match (text.split_once('['), text.rsplit_once(')')) {
        (Some((before, _)), Some((_, after))) if text.contains("](") => {
            let target = text.split_once("](").and_then(|(_, rest)| rest.split_once(['#', ')']));
            format!("{before}docs/{}{after}", target.map_or("", |(target, _)| target))
        }
        _ => text,
    }
}

/// Why an issuer's keys were not fetched.
pub(super) fn cause(error: &FetchError) -> Cause {
    match error {
        FetchError::Envoy { error: ProbeError::Envoy(reason), .. } => of_envoy(reason),
        FetchError::Envoy { error: ProbeError::Body(_), .. } => Cause::TooLarge,
        FetchError::Envoy { .. } => Cause::NoCluster,
        FetchError::Status { status: 300..=399, .. } => Cause::Redirect,
        FetchError::Status { .. } => Cause::HttpStatus,
        FetchError::Answer { fault, .. } => fault.cause,
        FetchError::Url { .. } => Cause::Url,
        FetchError::Ca(_) => Cause::UnknownAuthority,
        FetchError::Discovery(_) | FetchError::Endpoints { .. } => Cause::Document,
        FetchError::Get { error, .. } => of_client(&error.to_string()),
    }
}

/// Of Envoy's reason in its short form, which may be one of a connection, of a request, or its whole answer.
pub(super) fn of_envoy(reason: &str) -> Cause {
    // Where it was a header its blanks are underscores, which some of its words have, too.
    match of_text(&reason.replace('_', " ")) {
        Cause::Connection => of_text(reason),
        cause => cause,
    }
}

fn of_text(reason: &str) -> Cause {
    let of = |text: &str| Fault::of_envoy(503, text.as_bytes()).cause;
    let connection = "reset reason: remote connection failure, transport failure reason: ";
    match (of(reason), of(&format!("{connection}{reason}"))) {
        (Cause::Envoy, Cause::Connection) => of(&format!("reset reason: {reason}")),
        (Cause::Envoy, cause) | (cause, _) => cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_known_by_envoys_short_reasons() {
        for (reason, want) in [
            ("delayed connect error: Connection refused", Cause::Refused),
            ("connection timeout", Cause::ConnectTimeout),
            ("upstream request timeout", Cause::Timeout),
            ("no healthy upstream", Cause::NoAddress),
            (
                "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate",
                Cause::UnknownAuthority,
            ),
            (
                "268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_X509_verify_cert:_certificate_verification_error_at_depth_0:_unable_to_get_local_issuer_certificate",
                Cause::UnknownAuthority,
            ),
            (
                "268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED",
                Cause::Certificate,
            ),
            ("protocol error", Cause::NotHttp),
            ("something new", Cause::Connection),
        ] {
            assert_eq!(of_envoy(reason), want, "{reason}");
        }
    }

    #[test]
    fn cures_for_a_terminal_have_no_marks() {
        for cause in Cause::ALL {
            let text = plain(cause);
            assert!(!text.contains(['`', '[', ']']), "{text}");
        }
        assert!(
            plain(Cause::Connection)
                .starts_with("Envoy hides the reason, see docs/envoy.md; check the network")
        );
    }
}
