//! Traces: what spans say, and who the collector is for.

use crate::{
    clusters,
    finding::{Findings, Rule},
    headers,
    model::{Cluster, Manager, Model},
    node::Node,
    sources::Sources,
};

/// Headers that hold credentials, beside those that say who somebody is.
const SECRET: [&str; 3] = ["cookie", "sec-websocket-protocol", "proxy-authorization"];

/// What a format would write a whole path with, query and all.
const WITH_QUERY: [&str; 4] =
    ["%REQ(:PATH", "%REQ(X-ENVOY-ORIGINAL-PATH", "%PATH(WQ", "%QUERY_PARAM"];

/// The tags of a connection manager that runs the filter.
pub fn check(manager: &Manager<'_>, findings: &mut Findings) {
    let Some(tracing) = manager.node.get("tracing") else { return };
    if tracing.get("provider").is_none() {
        return;
    }
    let tags = tracing.items("custom_tags");
    let own_url = tags.iter().any(|tag| tag.text("tag") == Some("http.url"));
    let no_path = tracing.number("max_path_tag_length") == Some(0);
    findings.demand(
        own_url || no_path,
        Rule::TraceTags,
        &tracing,
        "the tag http.url has the query, and exec has its command there",
    );
    for tag in &tags {
        let header = tag.get("request_header").and_then(|it| it.text("name"));
        let texts = ["value", "operation"].iter().filter_map(|field| tag.text(field));
        if let Some(what) = header.filter(|name| is_secret(name)) {
            findings.add(Rule::TraceTags, tag, format!("it has the header {what}"));
        }
        for text in texts {
            check_format(text, tag, findings);
        }
    }
    for field in ["operation", "upstream_operation"] {
        if let Some(text) = tracing.text(field) {
            check_format(text, &tracing, findings);
        }
    }
}

fn is_secret(name: &str) -> bool {
    headers::says_who(name) || SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

fn check_format(text: &str, at: &Node<'_>, findings: &mut Findings) {
    let upper = text.to_ascii_uppercase();
    for what in WITH_QUERY {
        if upper.contains(what) {
            findings.add(Rule::TraceTags, at, "it has the query, and exec has its command there");
            return;
        }
    }
    // %REQ(NAME?OTHER):LENGTH%
    for name in upper.split("%REQ(").skip(1).filter_map(|rest| rest.split(')').next()) {
        if name.split('?').any(is_secret) {
            let name = name.to_ascii_lowercase();
            findings.add(Rule::TraceTags, at, format!("it has the header {name}"));
        }
    }
}

/// The collector: it is told who sends spans by a token of its own, and by TLS.
pub fn check_collectors(model: &Model<'_>, sources: &Sources, findings: &mut Findings) {
    let gateway_s: Vec<_> =
        model.with_credential().flat_map(|cluster| secrets(cluster, sources)).collect();
    let collectors =
        model.collectors.iter().filter_map(|name| model.cluster(name)).filter(|it| it.injects());
    for cluster in collectors.filter(|it| !model.has_credential(it)) {
        clusters::check_trust(&cluster.node, findings);
        let shared = secrets(cluster, sources).iter().any(|file| gateway_s.contains(file));
        findings.demand(
            !shared,
            Rule::Collector,
            &cluster.node,
            "the collector is shown the gateway's own token",
        );
    }
}

/// The files of the secrets that a cluster's requests carry.
pub fn secrets(cluster: &Cluster<'_>, sources: &Sources) -> Vec<String> {
    let injectors = cluster.filters.iter().filter(|it| it.is("CredentialInjector"));
    // A token or a password; of OAuth2, the client's secret.
    let places: [&[&str]; 2] = [&["credential"], &["client_credentials", "client_secret"]];
    let injectors = injectors.flat_map(|filter| places.map(|place| (filter, place)));
    let files = injectors.flat_map(|(filter, place)| {
        let credential = filter.config.at(&["credential", "typed_config"]);
        let credential = credential.and_then(|it| it.at(place));
        let name = credential.as_ref().and_then(|it| it.text("name"));
        let source = credential.as_ref().and_then(|it| it.at(&["sds_config"]));
        let found = source.and_then(|it| sources.resources(&it)).unwrap_or_default();
        let secret = found.into_iter().filter(move |it| it.text("name") == name);
        secret.filter_map(|it| {
            let file = it.at(&["generic_secret", "secret"])?;
            file.text("filename").map(str::to_owned)
        })
    });
    files.collect()
}
