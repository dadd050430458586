//! Traces: tags, and the collector's token.

use gateway_lint::{Finding, Rule};
use serde_json::json;

use super::{CLUSTERS, Case, ENVOY, Files, OPTIONS, ROUTES};

const COLLECTOR: &str = "/static_resources/clusters/0";
const TRACING: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/1/typed_config/tracing";

pub fn broken() -> Vec<Case> {
    vec![
        // Envoy's own http.url has the query.
        (
            Rule::TraceTags,
            "traces",
            |files| {
                files
                    .list(ENVOY, &format!("{TRACING}/custom_tags"))
                    .retain(|it| it["tag"] != "http.url");
            },
            "tracing",
        ),
        (
            Rule::TraceTags,
            "traces",
            |files| {
                let tag = json!({"tag": "a", "request_header": {"name": "Authorization"}});
                files.list(ENVOY, &format!("{TRACING}/custom_tags")).push(tag);
            },
            "tracing.custom_tags",
        ),
        (
            Rule::TraceTags,
            "traces",
            |files| {
                let tag = json!({"tag": "a", "value": "%REQ(x-a?cookie):10%"});
                files.list(ENVOY, &format!("{TRACING}/custom_tags")).push(tag);
            },
            "tracing.custom_tags",
        ),
        (
            Rule::TraceTags,
            "traces-http",
            |files| {
                files.set(
                    ENVOY,
                    &TRACING.replace("listeners/0", "listeners/1"),
                    "operation",
                    json!("%REQ(:path)%"),
                );
            },
            "tracing",
        ),
        // The gateway's token at the collector.
        (
            Rule::Collector,
            "traces",
            |files| {
                let filters = format!("/resources/0{OPTIONS}/http_filters/1");
                let injector = files.at(CLUSTERS, &filters).clone();
                files.list(ENVOY, &format!("{COLLECTOR}{OPTIONS}/http_filters"))[0] = injector;
            },
            "static_resources.clusters[0]",
        ),
        (
            Rule::UpstreamTrust,
            "traces",
            |files| files.remove(ENVOY, COLLECTOR, "transport_socket"),
            "static_resources.clusters[0]",
        ),
    ]
}

/// Whoever is led to the collector is so with its token: then it is a credential as the gateway's is.
#[test]
fn no_route_leads_to_the_collector() {
    let mut files = Files::of("traces");
    let route = json!({
        "match": {"prefix": "/otlp", "filter_state": [{"key": "wasm.mode", "string_match": {"exact": "impersonate"}}]},
        "route": {"cluster": "collector", "timeout": "0s", "idle_timeout": "3600s"},
    });
    files.list(ROUTES, "/resources/0/virtual_hosts/0/routes").insert(0, route);
    let findings = files.lint();
    let no_door =
        |it: &Finding| it.rule == Rule::NoDoor && it.at.contains("static_resources.clusters[0]");
    assert!(findings.iter().any(no_door), "{findings:?}");
}
