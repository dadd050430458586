//! Ways around the filter that nothing in its own place shows: what else has its name, what stands in before it is there, what is read elsewhere.

use gateway_lint::Rule;
use serde_json::{Value, json};

use super::{CLUSTERS, Case, ENVOY, Files, GATEWAY, HOST, MANAGER, OPTIONS, ROUTES};

const CONFIG: &str = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";

/// A listener beside the gateway's that leads to the credential, by this network filter.
fn listener(files: &mut Files, filter: &Value) {
    let listener = json!({
        "name": "other", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 1}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": filter}]}],
    });
    files.list(ENVOY, "/static_resources/listeners").push(listener);
}

/// A connection manager that leads to the credential.
fn manager() -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "other",
        "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "apiserver_impersonate_h2"}},
        ]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": format!("{FILTERS}.router.v3.Router")}}],
    })
}

/// A filter within `match_delegate`.
fn around(inner: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": "inner", "typed_config": inner}, "xds_matcher": {},
    })
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    vec![
        // It stands behind the gate, and has its name.
        (
            Rule::BetweenDoors,
            "in-cluster",
            |files| {
                let lua = json!({"name": "gate", "typed_config": {"@type": format!("{FILTERS}.lua.v3.Lua")}});
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).insert(3, lua);
            },
            "http_filters[3]",
        ),
        // A name that looks like a field's.
        (
            Rule::Switchable,
            "in-cluster",
            |files| {
                let filters = files.list(ENVOY, &format!("{MANAGER}/http_filters"));
                filters[2]["name"] = json!("theGate");
                let gate = files.at("filter-gate.yaml", "/resources/0");
                gate["name"] = json!("theGate");
                let off = json!({"theGate": {"@type": CONFIG, "disabled": true}});
                files.set(ROUTES, HOST, "typed_per_filter_config", off);
            },
            "virtual_hosts[0].typed_per_filter_config.theGate",
        ),
        // The third door has settings for routes, too.
        (
            Rule::Switchable,
            "in-cluster",
            |files| {
                let open = json!({"envoy.filters.http.upstream_rbac": {"@type": format!("{RBAC}PerRoute")}});
                files.set(ROUTES, &format!("{HOST}/routes/2"), "typed_per_filter_config", open);
            },
            "routes[2].typed_per_filter_config",
        ),
        (
            Rule::Switchable,
            "in-cluster",
            |files| {
                let door = format!("/resources/0{OPTIONS}/http_filters/0");
                files.set(CLUSTERS, &door, "disabled", json!(true));
            },
            "http_filters[0]",
        ),
        // What stands in until the filter is there.
        (
            Rule::Switchable,
            "in-cluster",
            |files| {
                let gate = format!("{MANAGER}/http_filters/2/config_discovery");
                files.set(ENVOY, &gate, "default_config", json!({"@type": RBAC}));
            },
            "http_filters[2]",
        ),
        (
            Rule::Switchable,
            "in-cluster",
            |files| {
                let lua = json!({"@type": format!("{FILTERS}.lua.v3.Lua")});
                let gateway = format!("{MANAGER}/http_filters/1/config_discovery");
                files.set(ENVOY, &gateway, "default_config", lua);
            },
            "http_filters[1]",
        ),
        // Envoy does not call the filter for what is not among its capabilities.
        (
            Rule::Skipped,
            "in-cluster",
            |files| {
                let allowed = json!({"allowed_capabilities": {"proxy_on_request_headers": {}}});
                let config = "/resources/0/typed_config/config";
                files.set(GATEWAY, config, "capability_restriction_config", allowed);
            },
            "capability_restriction_config",
        ),
        // Others set the mark.
        (
            Rule::OpenGate,
            "in-cluster",
            |files| {
                let set = json!({"name": "set", "typed_config": {
                    "@type": format!("{FILTERS}.set_filter_state.v3.Config"),
                    "on_request_headers": [{"object_key": "wasm.user"}],
                }});
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).insert(0, set);
            },
            "on_request_headers[0]",
        ),
        (
            Rule::OpenGate,
            "in-cluster",
            |files| {
                let set = json!({"name": "set", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config",
                    "on_new_connection": [{"object_key": "wasm.mode"}],
                }});
                files
                    .list(ENVOY, "/static_resources/listeners/0/filter_chains/0/filters")
                    .insert(0, set);
            },
            "on_new_connection[0]",
        ),
        // A connection manager that says what it is in another place.
        (
            Rule::Around,
            "in-cluster",
            |files| {
                listener(
                    files,
                    &json!({
                        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                        "type_url": manager()["@type"], "value": manager(),
                    }),
                );
            },
            "listeners[",
        ),
        // A credential that does so.
        (
            Rule::NoDoor,
            "in-cluster",
            |files| {
                let filters = format!("/resources/0{OPTIONS}/http_filters");
                files.list(CLUSTERS, &filters).remove(0);
                let options = files.at(CLUSTERS, &format!("/resources/0{OPTIONS}")).take();
                *files.at(CLUSTERS, &format!("/resources/0{OPTIONS}")) = json!({
                    "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                    "type_url": options["@type"], "value": options,
                });
            },
            "clusters.yaml: resources[0]",
        ),
        // Whoever connects has the gateway's certificate.
        (
            Rule::Around,
            "certificates",
            |files| {
                let proxy =
                    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
                let proxy = json!({"@type": proxy, "stat_prefix": "a", "cluster": "apiserver_impersonate_h1"});
                listener(files, &proxy);
            },
            "listeners[",
        ),
        // A credential within a filter that may keep requests from it.
        (
            Rule::BetweenDoors,
            "in-cluster",
            |files| {
                let injector = format!("/resources/0{OPTIONS}/http_filters/1/typed_config");
                let inner = files.at(CLUSTERS, &injector).take();
                *files.at(CLUSTERS, &injector) = around(&inner);
            },
            "http_filters[1]",
        ),
        (
            Rule::DownstreamCredential,
            "in-cluster",
            |files| {
                let injector = json!({"@type": format!("{FILTERS}.credential_injector.v3.CredentialInjector")});
                let injector = json!({"name": "ci", "typed_config": around(&injector)});
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).insert(0, injector);
            },
            "http_filters[0]",
        ),
        // The router has filters for clusters that have none of their own.
        (
            Rule::DownstreamCredential,
            "in-cluster",
            |files| {
                let injector = json!({"@type": format!("{FILTERS}.credential_injector.v3.CredentialInjector")});
                let filters = json!([{"name": "ci", "typed_config": injector}]);
                let router = format!("{MANAGER}/http_filters/3/typed_config");
                files.set(ENVOY, &router, "upstream_http_filters", filters);
            },
            "http_filters[3]",
        ),
        // Behind the third door.
        (
            Rule::BetweenDoors,
            "in-cluster",
            |files| {
                let lua = json!({"name": "lua", "typed_config": {"@type": format!("{FILTERS}.lua.v3.Lua")}});
                files.list(CLUSTERS, &format!("/resources/0{OPTIONS}/http_filters")).insert(1, lua);
            },
            "http_filters[1]",
        ),
        (
            Rule::RouteHeaders,
            "in-cluster",
            |files| {
                let groups = json!({"key": "Impersonate-Group", "value": "system:masters"});
                let mutation = json!({"name": "more", "typed_config": {
                    "@type": format!("{FILTERS}.header_mutation.v3.HeaderMutation"),
                    "mutations": {"request_mutations": [{"append": {"header": groups}}]},
                }});
                files
                    .list(CLUSTERS, &format!("/resources/0{OPTIONS}/http_filters"))
                    .insert(1, mutation);
            },
            "http_filters[1]",
        ),
        // A connection manager within something else.
        (
            Rule::Around,
            "in-cluster",
            |files| {
                listener(
                    files,
                    &json!({
                        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
                        "extension_config": {"name": "hcm", "typed_config": manager()},
                    }),
                );
            },
            "listeners[",
        ),
        // Routes that come later, where no filter is.
        (
            Rule::Unread,
            "in-cluster",
            |files| {
                let mut manager = manager();
                let fields = manager.as_object_mut().unwrap();
                fields.remove("route_config");
                let source =
                    json!({"path_config_source": {"path": "/gateway/rendered/routes.yaml"}});
                fields.insert(
                    "rds".to_owned(),
                    json!({"route_config_name": "later", "config_source": source}),
                );
                listener(files, &manager);
            },
            "listeners[",
        ),
        (
            Rule::Unread,
            "in-cluster",
            |files| {
                let mut manager = manager();
                manager["route_config"] =
                    json!({"name": "a", "vhds": {"config_source": {"ads": {}}}});
                listener(files, &manager);
            },
            "listeners[",
        ),
        (
            Rule::Unread,
            "in-cluster",
            |files| {
                let mut manager = manager();
                let host = &mut manager["route_config"]["virtual_hosts"][0];
                let routes = host.as_object_mut().unwrap().remove("routes").unwrap();
                host["matcher"] = json!({"on_no_match": {"action": {"typed_config": routes[0]}}});
                listener(files, &manager);
            },
            "listeners[",
        ),
        (
            Rule::Unread,
            "in-cluster",
            |files| {
                let locator = json!("xdstp://control/envoy.config.listener.v3.Listener/all");
                files.set(ENVOY, "/dynamic_resources", "lds_resources_locator", locator);
            },
            "dynamic_resources",
        ),
    ]
}

/// A token that stands in the configuration is one, whatever writes it into requests.
#[test]
fn a_token_that_a_cluster_adds_is_a_credential() {
    let mut files = Files::of("authorize-own-token");
    let token = json!({"key": "Authorization", "value": "Bearer x"});
    let mutation = json!({"name": "token", "typed_config": {
        "@type": format!("{FILTERS}.header_mutation.v3.HeaderMutation"),
        "mutations": {"request_mutations": [{"append": {"header": token}}]},
    }});
    let codec = format!("{FILTERS}.upstream_codec.v3.UpstreamCodec");
    let codec =
        json!({"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": codec}});
    let clusters = files.list(CLUSTERS, "/resources");
    let own = clusters.iter_mut().find(|it| it["name"] == "apiserver_own_h2").unwrap();
    own.pointer_mut(OPTIONS).unwrap()["http_filters"] = json!([mutation, codec]);
    let findings = files.lint();
    for rule in [Rule::NoDoor, Rule::RouteWithoutDecision, Rule::RouteHeaders] {
        assert!(findings.iter().any(|it| it.rule == rule), "{}: {findings:?}", rule.name());
    }
}
