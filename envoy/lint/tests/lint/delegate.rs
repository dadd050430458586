//! What stands around the gateway's filter: it keeps ordinary answers from it, and nothing else.

use gateway_config::FilterForm;
use gateway_lint::Rule;
use serde_json::{Value, json};

use super::{Case, ENVOY, Files, GATEWAY, MANAGER};

/// Where the Wasm filter's own configuration stands.
const INNER: &str = "typed_config/extension_config/typed_config";
const AROUND: &str = "/resources/0/typed_config";
const TREE: &str = "/xds_matcher/matcher_tree";
const ORDINARY: &str = "/xds_matcher/matcher_tree/exact_match_map/map/2xx/matcher";
const PLACE: &str = "filter-gateway.yaml: resources[0].typed_config";

/// Where a gateway has what the Wasm filter's configuration has there, for what stands around it.
pub fn place(of_wasm: &str) -> String {
    of_wasm.replacen("typed_config/config", &format!("{INNER}/config"), 1)
}

/// Changes something in what stands around the filter.
fn change(files: &mut Files, place: &str, field: &str, value: Value) {
    files.set(GATEWAY, &format!("{AROUND}{place}"), field, value);
}

fn header(name: &str) -> Value {
    json!({"name": "header", "typed_config": {
        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
        "header_name": name,
    }})
}

fn skip() -> Value {
    json!({"action": {"name": "skip", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter",
    }}})
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    vec![
        // A request, by what the client says.
        (
            Rule::Skipped,
            "in-cluster",
            |files| change(files, TREE, "input", header("x-skip")),
            PLACE,
        ),
        (
            Rule::Skipped,
            "in-cluster",
            |files| change(files, "/xds_matcher", "on_no_match", skip()),
            PLACE,
        ),
        // Without a matcher Envoy skips the filter always.
        (Rule::Skipped, "in-cluster", |files| files.remove(GATEWAY, AROUND, "xds_matcher"), PLACE),
        (
            Rule::Skipped,
            "in-cluster",
            |files| {
                let matcher = files.at(GATEWAY, &format!("{AROUND}/xds_matcher")).clone();
                files.set(GATEWAY, AROUND, "matcher", matcher);
            },
            PLACE,
        ),
        // The gateway's own 401, which kubectl would take for the user's.
        (
            Rule::Skipped,
            "in-cluster",
            |files| change(files, &format!("{TREE}/exact_match_map/map"), "4xx", skip()),
            PLACE,
        ),
        // The 101 behind which the bytes of an upgrade may go on.
        (
            Rule::Skipped,
            "in-cluster",
            |files| change(files, &format!("{TREE}/exact_match_map/map"), "1xx", skip()),
            PLACE,
        ),
        // Whatever the filter has asked for: a warning, bytes that wait.
        (
            Rule::Skipped,
            "in-cluster",
            |files| change(files, &format!("{TREE}/exact_match_map/map"), "2xx", skip()),
            PLACE,
        ),
        (
            Rule::Skipped,
            "in-cluster",
            |files| change(files, ORDINARY, "on_no_match", skip()),
            PLACE,
        ),
        (
            Rule::Skipped,
            "in-cluster",
            |files| {
                let state = "/matcher_list/matchers/0/predicate/not_matcher/single_predicate";
                let state = format!("{ORDINARY}{state}");
                change(files, &format!("{state}/input/typed_config"), "key", json!("wasm.deny"));
            },
            PLACE,
        ),
        (
            Rule::Skipped,
            "in-cluster",
            |files| {
                let state = "/matcher_list/matchers/0/predicate/not_matcher/single_predicate";
                change(
                    files,
                    &format!("{ORDINARY}{state}"),
                    "value_match",
                    json!({"exact": "yes"}),
                );
            },
            PLACE,
        ),
        // A part of the state, which has none: as if the filter had not asked.
        (
            Rule::Skipped,
            "in-cluster",
            |files| {
                let state = "/matcher_list/matchers/0/predicate/not_matcher/single_predicate";
                let state = format!("{ORDINARY}{state}");
                change(files, &format!("{state}/input/typed_config"), "field", json!("a"));
            },
            PLACE,
        ),
        // The native form does not ask for answers.
        (
            Rule::Skipped,
            "native",
            |files| {
                let mut around = Files::of("in-cluster").at(GATEWAY, AROUND).clone();
                let native = files.at(GATEWAY, AROUND).clone();
                around["extension_config"]["typed_config"] = native;
                *files.at(GATEWAY, AROUND) = around;
            },
            PLACE,
        ),
        // A portal has no answers from elsewhere.
        (
            Rule::Skipped,
            "portal",
            |files| {
                let around = Files::of("in-cluster").at(GATEWAY, AROUND).clone();
                let filters = "/static_resources/listeners/0/filter_chains/1/filters/0/typed_config/http_filters";
                let filters = files.list(ENVOY, filters);
                let is_wasm = |it: &&mut Value| it["typed_config"]["config"]["root_id"] == "portal";
                let portal = filters.iter_mut().find(is_wasm).unwrap();
                let own = portal["typed_config"].take();
                portal["typed_config"] = around;
                portal["typed_config"]["extension_config"]["typed_config"] = own;
            },
            "http_filters[2]",
        ),
    ]
}

/// Istio and Envoy Gateway have no words for what stands around a filter: there it sees all answers.
#[test]
fn the_filter_alone_is_clean() {
    let mut files = Files::of("in-cluster");
    assert_eq!(files.1, FilterForm::Wasm);
    let own = files.at(GATEWAY, "/resources/0/typed_config/config").clone();
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    files.set(GATEWAY, "/resources/0", "typed_config", json!({"@type": wasm, "config": own}));
    assert_eq!(files.lint(), []);
}

/// What stands around a filter that is nobody's code is judged as what it is: no door.
#[test]
fn a_gate_that_can_be_skipped_is_none() {
    let mut files = Files::of("in-cluster");
    let around = files.at(GATEWAY, AROUND).clone();
    let filters = files.list(ENVOY, &format!("{MANAGER}/http_filters"));
    let gate = json!({"name": "gate", "typed_config": around});
    *filters.iter_mut().find(|it| it["name"] == "gate").unwrap() = gate;
    let filters = format!("{MANAGER}/http_filters/2/typed_config/extension_config");
    let rbac = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"});
    files.set(ENVOY, &filters, "typed_config", rbac);
    let findings = files.lint();
    assert!(findings.iter().any(|it| it.rule == Rule::NoGate), "{findings:?}");
}
