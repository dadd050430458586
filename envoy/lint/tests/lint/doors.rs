//! The filter and the doors beside it.

use gateway_lint::Rule;
use serde_json::json;

use super::{CLUSTERS, Case, ENVOY, GATE, GATEWAY, HOST, MANAGER, OPTIONS, ROUTES, STRIP};

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::PluginConfiguration,
            "in-cluster",
            |files| {
                let configuration = "/resources/0/typed_config/config/configuration";
                files.set(
                    GATEWAY,
                    configuration,
                    "@type",
                    json!("type.googleapis.com/google.protobuf.Struct"),
                );
            },
            "filter-gateway.yaml: resources[0].typed_config.extension_config.typed_config.config.configuration",
        ),
        (
            Rule::PluginConfiguration,
            "in-cluster",
            |files| {
                let configuration = "/resources/0/typed_config/config/configuration";
                let value = files.at(GATEWAY, configuration)["value"].as_str().unwrap().to_owned();
                let value = value.replace("\"audiences\":[\"kubernetes\"]", "\"audiences\":[]");
                files.set(GATEWAY, configuration, "value", json!(value));
            },
            "config.configuration",
        ),
        (
            Rule::FailurePolicy,
            "in-cluster",
            |files| {
                let config = "/resources/0/typed_config/config";
                files.set(GATEWAY, config, "failure_policy", json!("FAIL_OPEN"));
            },
            "filter-gateway.yaml: resources[0].typed_config.extension_config.typed_config.config",
        ),
        (
            Rule::FailurePolicy,
            "in-cluster",
            |files| files.remove(GATEWAY, "/resources/0/typed_config/config", "failure_policy"),
            "filter-gateway.yaml: resources[0].typed_config.extension_config.typed_config.config",
        ),
        (
            Rule::CalloutCluster,
            "in-cluster",
            |files| {
                files.list(CLUSTERS, "/resources").pop();
            },
            "config.configuration",
        ),
        (
            Rule::CalloutCluster,
            "authorize-own-token",
            |files| {
                let options = format!("/resources/2{OPTIONS}");
                files.remove(CLUSTERS, &options, "http_filters");
            },
            "config.configuration",
        ),
        (
            Rule::NoFilter,
            "in-cluster",
            |files| {
                let filters = files.list(ENVOY, &format!("{MANAGER}/http_filters"));
                filters.remove(1);
                files.list(CLUSTERS, "/resources").truncate(0);
            },
            "envoy.yaml: ",
        ),
        (
            Rule::NoStrip,
            "in-cluster",
            |files| {
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).remove(0);
            },
            "http_filters[0]",
        ),
        // Strip behind the filter would remove the filter's own headers, and the client's reach it.
        (
            Rule::NoStrip,
            "in-cluster",
            |files| {
                let filters = files.list(ENVOY, &format!("{MANAGER}/http_filters"));
                let strip = filters.remove(0);
                filters.insert(2, strip);
                filters.retain(|filter| filter["name"] != "strip");
            },
            "http_filters[0]",
        ),
        // Impersonate-Uid: by a list of names, as proxies that forgot it had.
        (
            Rule::WeakStrip,
            "in-cluster",
            |files| {
                let list =
                    files.list(STRIP, "/resources/0/typed_config/mutations/request_mutations");
                list.retain(|it| it["remove_on_match"]["key_matcher"]["prefix"] != "impersonate");
                list.push(json!({"remove": "impersonate-user"}));
                list.push(json!({"remove": "impersonate-group"}));
            },
            "filter-strip.yaml: resources[0].typed_config",
        ),
        (
            Rule::WeakStrip,
            "server-name-reject",
            |files| {
                let list =
                    files.list(STRIP, "/resources/0/typed_config/mutations/request_mutations");
                list.retain(|it| it["remove_on_match"]["key_matcher"]["prefix"] != "x-remote-");
            },
            "filter-strip.yaml: resources[0].typed_config",
        ),
        // ORCA (KEP-6315): how busy kube-apiserver is, asked for and told.
        (
            Rule::WeakStrip,
            "in-cluster",
            |files| {
                let list =
                    files.list(STRIP, "/resources/0/typed_config/mutations/request_mutations");
                list.retain(|it| it["remove"] != "endpoint-load-metrics-request");
            },
            "filter-strip.yaml: resources[0].typed_config",
        ),
        (
            Rule::WeakStrip,
            "in-cluster",
            |files| {
                files.remove(STRIP, "/resources/0/typed_config/mutations", "response_mutations");
            },
            "filter-strip.yaml: resources[0].typed_config",
        ),
        (
            Rule::WeakStrip,
            "in-cluster",
            |files| {
                let list = files
                    .list(STRIP, "/resources/0/typed_config/mutations/response_trailers_mutations");
                list.retain(|it| it["remove"] != "endpoint-load-metrics-bin");
            },
            "filter-strip.yaml: resources[0].typed_config",
        ),
        (
            Rule::NoGate,
            "in-cluster",
            |files| {
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).remove(2);
            },
            "http_filters[1]",
        ),
        (
            Rule::OpenGate,
            "in-cluster",
            |files| files.set(GATE, "/resources/0/typed_config/rules", "action", json!("LOG")),
            "filter-gate.yaml: resources[0].typed_config",
        ),
        (
            Rule::OpenGate,
            "in-cluster",
            |files| {
                let policies = "/resources/0/typed_config/rules/policies";
                let health = json!({"permissions": [{"any": true}], "principals": [{"any": true}]});
                files.set(GATE, policies, "health", health);
            },
            "rules.policies.health",
        ),
        // What the filter sets for refusals, too.
        (
            Rule::OpenGate,
            "in-cluster",
            |files| {
                let state =
                    "/resources/0/typed_config/rules/policies/marked/principals/0/filter_state";
                files.set(GATE, state, "key", json!("wasm.identity"));
            },
            "rules.policies.marked",
        ),
        (
            Rule::OpenGate,
            "in-cluster",
            |files| {
                let matcher = "/resources/0/typed_config/rules/policies/marked/principals/0/filter_state/string_match";
                files.set(GATE, matcher, "safe_regex", json!({"regex": ".*"}));
            },
            "rules.policies.marked",
        ),
        (
            Rule::GateComparison,
            "authorize-own-token",
            |files| {
                files.remove(GATE, "/resources/0/typed_config/rules/policies/marked", "condition");
            },
            "rules.policies.marked",
        ),
        // The conjunction became a disjunction.
        (
            Rule::GateComparison,
            "server-name-reject",
            |files| {
                let call = "/resources/0/typed_config/rules/policies/marked/condition/call_expr";
                files.set(GATE, call, "function", json!("_||_"));
            },
            "rules.policies.marked",
        ),
        (
            Rule::BetweenDoors,
            "in-cluster",
            |files| {
                let lua = json!({"name": "lua", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}});
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).insert(3, lua);
            },
            "http_filters[3]",
        ),
        (
            Rule::DownstreamCredential,
            "in-cluster",
            |files| {
                let injector = json!({"name": "ci", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"}});
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).insert(3, injector);
            },
            "http_filters[3]",
        ),
        (
            Rule::Switchable,
            "in-cluster",
            |files| files.set(ENVOY, &format!("{MANAGER}/http_filters/2"), "disabled", json!(true)),
            "http_filters[2]",
        ),
        (
            Rule::Switchable,
            "in-cluster",
            |files| {
                let off = json!({"gateway": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}});
                files.set(ROUTES, &format!("{HOST}/routes/2"), "typed_per_filter_config", off);
            },
            "routes[2].typed_per_filter_config.gateway",
        ),
        (
            Rule::Switchable,
            "in-cluster",
            |files| {
                let off = json!({"strip": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}});
                files.set(ROUTES, HOST, "typedPerFilterConfig", off);
            },
            "virtual_hosts[0].typed_per_filter_config.strip",
        ),
    ]
}
