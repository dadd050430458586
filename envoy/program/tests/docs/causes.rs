//! docs/troubleshooting.md, of why a callout fails: what stands between its two marks.

use std::{fmt::Write, fs};

use gateway_core::callout::Cause;

const FILE: &str = "docs/troubleshooting.md";
const BEGIN: &str = "<!-- causes: UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->\n";
const END: &str = "<!-- /causes -->\n";

#[test]
fn every_cause_is_explained() {
    let text = fs::read_to_string(super::root().join(FILE)).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect(BEGIN);
    let (_, after) = rest.split_once(END).expect(END);
    super::hold(FILE, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

fn table() -> String {
    let mut table = "| word | what a client reads | what to do |\n|---|---|---|\n".to_owned();
    for cause in Cause::ALL {
        writeln!(table, "| `{}` | {} | {} |", cause.keyword(), cause.words(), remedy(cause))
            .unwrap();
    }
    table
}

fn remedy(cause: Cause) -> &'static str {
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
            "an Envoy that hides the reason, see [envoy.md](envoy.md#the-pieces-in-the-order-of-a-request); its access to the network, CA and name in turn"
        }
        Cause::Reset => {
            "it, or something before it, closes connections; or its answer is larger than Envoy holds"
        }
        Cause::Timeout => {
            "`keySets.timeoutSeconds` is what an answer may take, `limits.waitSeconds` what a request waits"
        }
        Cause::Overflow => "the cluster's `circuit_breakers`, if you wrote them",
        Cause::NoCluster => "the filter's configuration names a cluster that Envoy's does not have",
        Cause::NotHttp => "the port is another service's",
        Cause::HttpStatus => "the log has the status; ask the issuer's own log",
        Cause::Redirect => {
            "write the URL that it leads to into `issuer.discoveryURL`; keys are never fetched by a redirect"
        }
        Cause::ContentEncoding => {
            "only gzip is read, and nothing is asked for: the server, or a proxy, must not compress otherwise"
        }
        Cause::TooLarge => "`keySets.maximumBytes`",
        Cause::Document => {
            "the log has what is wrong with it: another `issuer`, no JSON, more than 1000 keys"
        }
        Cause::NoUsableKey => "the log names each key and what spoils it",
        Cause::Url => "the `jwks_uri` of its discovery document, which must be https",
        Cause::Envoy => "the log has Envoy's own answer; tell us",
    }
}
