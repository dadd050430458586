//! The strip: what a client may not say.

use gateway_core::headers::is_identity;

use crate::{
    chain::Chain,
    finding::{Findings, Rule},
    node::Node,
};

/// Names of headers that a client must not bring to the filter or past it, one for each prefix, and why.
const STRIPPED: [(&str, &str); 10] = [
    ("x-remote-user", "kube-apiserver believes it of a front proxy"),
    ("x-remote-group", "kube-apiserver believes it of a front proxy"),
    ("x-remote-extra-name", "kube-apiserver believes it of a front proxy"),
    ("x-gateway-asked", "it is the gateway's own"),
    ("grpc-timeout", "it ends streams"),
    ("endpoint-load-metrics-request", "kube-apiserver tells its load by it"),
    ("audit-id", "the client would choose the id in every log"),
    ("x-envoy-upstream-alt-stat-name", "it steers Envoy"),
    ("x-forwarded-host", "only Envoy knows where a request comes from"),
    ("forwarded", "only Envoy knows where a request comes from"),
];

/// The same, where the filter does not read the client's impersonation itself. By prefix: Impersonate-Uid came years after
/// the others.
const IMPERSONATION: [&str; 5] = [
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-name",
    "impersonate-what-is-to-come",
];

/// The list of mutations of a request.
const REQUEST: &str = "request_mutations";

/// What tells a client how busy kube-apiserver is (ORCA), one for each prefix; of headers and of trailers.
const REPORTS: [&str; 3] =
    ["endpoint-load-metrics", "endpoint-load-metrics-bin", "x-endpoint-load-metrics-json"];

/// The lists of mutations of an answer.
const ANSWER: [(&str, &str); 2] =
    [("response_mutations", "header"), ("response_trailers_mutations", "trailer")];

/// Headers that say who somebody is.
pub fn says_who(name: &str) -> bool {
    is_identity(name) || name.eq_ignore_ascii_case("authorization")
}

pub fn check_strip(chain: &Chain<'_>, reads_impersonation: bool, findings: &mut Findings) {
    let Some(strip) = &chain.strip else { return };
    let mut demand = |header: &str, why: &str| {
        if !strips(&strip.config, header) {
            let message = format!("a client's {header} passes: {why}");
            findings.add(Rule::WeakStrip, &strip.config, message);
        }
    };
    for (header, why) in STRIPPED {
        demand(header, why);
    }
    if !reads_impersonation {
        for header in IMPERSONATION {
            demand(header, "clientImpersonation is strip");
        }
    }
    for (list, kind) in ANSWER {
        for report in REPORTS {
            let stripped = mutations(&strip.config, list).iter().any(|it| removes(it, report));
            if !stripped {
                let message = format!(
                    "the {kind} {report} of an answer passes: it tells kube-apiserver's load"
                );
                findings.add(Rule::WeakStrip, &strip.config, message);
            }
        }
    }
    for added in added(&strip.config) {
        findings.add(Rule::WeakStrip, &added, "it adds a header that says who somebody is");
    }
}

/// The mutations by which a filter adds a header that says who somebody is.
pub fn added<'a>(config: &Node<'a>) -> impl Iterator<Item = Node<'a>> + use<'a> {
    mutations(config, REQUEST).into_iter().filter(|mutation| {
        let appended = mutation.at(&["append", "header"]).and_then(|it| it.text("key"));
        appended.is_some_and(says_who)
    })
}

/// Whether a filter for header mutation takes away every header of this name.
pub fn strips(config: &Node<'_>, header: &str) -> bool {
    mutations(config, REQUEST).iter().any(|mutation| removes(mutation, header))
}

fn mutations<'a>(config: &Node<'a>, list: &str) -> Vec<Node<'a>> {
    config.get("mutations").map(|it| it.items(list)).unwrap_or_default()
}

/// Whether a mutation takes away every header of this name.
fn removes(mutation: &Node<'_>, header: &str) -> bool {
    if let Some(name) = mutation.text("remove") {
        return name.eq_ignore_ascii_case(header);
    }
    let Some(matcher) = mutation.at(&["remove_on_match", "key_matcher"]) else { return false };
    let lower = |kind| matcher.text(kind).map(str::to_ascii_lowercase);
    let regex = matcher.get("safe_regex").and_then(|it| it.text("regex"));
    lower("exact").is_some_and(|it| header == it)
        || lower("prefix").is_some_and(|it| header.starts_with(&it))
        || lower("contains").is_some_and(|it| header.contains(&it))
        || matches!(regex, Some(".*" | ".+"))
}
