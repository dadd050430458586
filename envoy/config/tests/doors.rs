//! The three doors between a request and the gateway's credential, read off the rendered files.

mod support;

use std::path::Path;

use gateway_config::{ClientImpersonation, Credential, FilterForm, Inputs, Rendered, render};
use serde_json::{Value, json};
use support::parsed;

const INJECTOR: &str = "envoy.filters.http.credential_injector";

fn each_variant(test: impl Fn(&str, &Inputs, &Rendered)) {
    for (name, inputs) in support::variants(Path::new("/gateway")) {
        test(name, &inputs, &render(&inputs).unwrap());
    }
}

fn clusters(rendered: &Rendered) -> Vec<Value> {
    parsed(rendered, "clusters.yaml")["resources"].as_array().unwrap().clone()
}

fn names(values: &Value) -> Vec<&str> {
    let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().map(|value| value["name"].as_str().unwrap()).collect()
}

fn upstream_filters(cluster: &Value) -> Value {
    cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        ["http_filters"]
        .clone()
}

/// Every object and list inside a value, itself included.
fn everything(value: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    std::iter::once(value).chain(inner.into_iter().flat_map(everything)).collect()
}

#[test]
fn the_only_listener_is_tls_and_its_filters_stand_in_order() {
    each_variant(|name, inputs, rendered| {
        let envoy = parsed(rendered, "envoy.yaml");
        let listeners = envoy["static_resources"]["listeners"].as_array().unwrap();
        let (inside, listeners): (Vec<_>, Vec<_>) =
            listeners.iter().partition(|listener| listener.get("internal_listener").is_some());
        let (identify, listeners): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|listener| listener["name"] == "identify");
        // The program asks here, by a socket that only this user opens; no cluster with the credential is behind it.
        let (probe, listeners): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|listener| listener["name"] == "probe");
        assert_eq!(probe.len(), 1, "{name}");
        assert_eq!(probe[0]["address"]["pipe"]["mode"], 0o600, "{name}");
        let routes = parsed(rendered, "routes-probe.yaml");
        for action in everything(&routes).iter().filter_map(|it| it.get("route")) {
            let cluster = action["cluster"].as_str().unwrap();
            let known = cluster == "apiserver_probe" || cluster.starts_with("issuers_");
            assert!(known, "{name}: {cluster}");
        }
        assert_eq!(
            (listeners.len(), identify.len()),
            (1, usize::from(inputs.portal.is_some())),
            "{name}"
        );
        // The portal asks here, by a socket that only this user opens; it leads nowhere.
        for listener in identify {
            assert_eq!(listener["address"]["pipe"]["mode"], 0o600, "{name}");
            assert!(everything(listener).iter().all(|it| it.get("route").is_none()), "{name}");
        }
        // Nobody but Envoy reaches it, and it leads nowhere but to the issuers' proxy.
        assert_eq!(inside.len(), usize::from(inputs.documents.proxy().is_some()), "{name}");
        for way in inside {
            let filters = &way["filter_chains"][0]["filters"];
            assert_eq!(names(filters), ["envoy.filters.network.tcp_proxy"], "{name}");
            assert_eq!(filters[0]["typed_config"]["cluster"], "issuer_proxy", "{name}");
        }
        let chains = listeners[0]["filter_chains"].as_array().unwrap();
        let (portal, chains): (Vec<_>, Vec<_>) =
            chains.iter().partition(|chain| chain["name"] == "portal");
        assert_eq!(portal.len(), usize::from(inputs.portal.is_some()), "{name}");
        for chain in portal {
            let matches = &chain["filter_chain_match"];
            assert_eq!(matches["server_names"], json!(["portal.example"]));
            let balancers = matches["direct_source_prefix_ranges"].as_array().map(Vec::len);
            assert_eq!(balancers.unwrap_or(0), inputs.options.proxy_protocol.len(), "{name}");
            assert_eq!(chain["transport_socket"]["name"], "envoy.transport_sockets.tls", "{name}");
            let manager = &chain["filters"][0]["typed_config"];
            let filters = ["host", "login", "portal", "envoy.filters.http.router"];
            assert_eq!(names(&manager["http_filters"]), filters, "{name}");
            assert!(everything(manager).iter().all(|it| it.get("route").is_none()), "{name}");
        }
        assert_eq!(chains.len(), 1 + inputs.options.protocols.certificates.len(), "{name}");
        assert!(listeners[0].get("default_filter_chain").is_none(), "{name}");
        for chain in chains {
            assert_eq!(chain["transport_socket"]["name"], "envoy.transport_sockets.tls", "{name}");
            // What counts connections sees them before anything else does.
            let filters = &chain["filters"];
            let manager = "envoy.filters.network.http_connection_manager";
            assert_eq!(names(filters), ["connections", manager], "{name}");
            let manager = &filters[1]["typed_config"];
            assert_eq!(
                names(&manager["http_filters"]),
                ["strip", "gateway", "gate", "envoy.filters.http.router"],
                "{name}"
            );
        }
    });
}

#[test]
fn no_file_switches_a_filter_off_or_fails_open() {
    each_variant(|name, inputs, rendered| {
        for file in rendered.files() {
            let whole = parsed(rendered, &file.name);
            for value in everything(&whole) {
                for field in ["disabled", "is_optional", "typed_per_filter_config", "fail_open"] {
                    assert!(value.get(field).is_none(), "{name}/{}: {field}", file.name);
                }
                assert_ne!(value, "FAIL_OPEN", "{name}/{}", file.name);
            }
        }
        if inputs.options.form == FilterForm::Native {
            return;
        }
        let config = |file: &str| parsed(rendered, file)["resources"][0]["typed_config"].take();
        let gateway = &config("filter-gateway.yaml")["extension_config"]["typed_config"]["config"];
        let connections = &config("filter-connections.yaml")["config"];
        assert_eq!(gateway["failure_policy"], "FAIL_RELOAD", "{name}");
        // Else a gateway's VM that dies would end all connections of its worker.
        assert_eq!(connections["failure_policy"], "FAIL_RELOAD", "{name}");
        for field in ["vm_id", "code"] {
            assert_ne!(connections["vm_config"][field], gateway["vm_config"][field], "{name}");
        }
        let document = gateway["configuration"]["value"].as_str().unwrap();
        let document: Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["countsConnections"], true, "{name}");
    });
}

/// No other file than the one that is named, and its code stays where it is. By the same file it counts connections: another would have
/// other memory.
#[test]
fn a_native_module_is_loaded_by_its_path() {
    let variants = support::variants(Path::new("/gateway"));
    let (_, inputs) = variants.into_iter().find(|(name, _)| *name == "native").unwrap();
    let rendered = render(&inputs).unwrap();
    let gateway = parsed(&rendered, "filter-gateway.yaml");
    let config = &gateway["resources"][0]["typed_config"];
    let module = &config["dynamic_module_config"];
    assert_eq!(module["name"], "kube_oidc_gateway");
    assert_eq!(module["module"]["local"]["filename"], "/gateway/libkube_oidc_gateway.so");
    assert_eq!(module["do_not_close"], true);
    let document = config["filter_config"]["value"].as_str().unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["countsConnections"], true);
    let connections = parsed(&rendered, "filter-connections.yaml");
    assert_eq!(connections["resources"][0]["typed_config"]["dynamic_module_config"], *module);
    let envoy = parsed(&rendered, "envoy.yaml");
    let types = everything(&envoy).into_iter().filter(|it| it["name"] == "gateway");
    let types: Vec<_> =
        types.filter_map(|it| it["config_discovery"]["type_urls"][0].as_str()).collect();
    assert_eq!(types.len(), 2, "the gateway's, and the one that says whose a token is");
    assert!(types.iter().all(|it| it.ends_with("v3.DynamicModuleFilter")), "{types:?}");
}

#[test]
fn the_first_door_opens_for_a_marked_request_only() {
    each_variant(|name, inputs, rendered| {
        let gate = parsed(rendered, "filter-gate.yaml");
        let rules = &gate["resources"][0]["typed_config"]["rules"];
        assert_eq!(rules["action"], "ALLOW", "{name}");
        let policies = rules["policies"].as_object().unwrap();
        assert_eq!(policies.len(), 1, "{name}");
        let marked = json!([{"filter_state": {"key": "wasm.user", "string_match": {"safe_regex": {"regex": ".+"}}}}]);
        assert_eq!(policies["marked"]["principals"], marked, "{name}");
        let strips = inputs.documents.client_impersonation() == ClientImpersonation::Strip;
        // Either the client's headers are gone before the filter, or what the filter left is compared after it.
        assert_eq!(policies["marked"].get("condition").is_none(), strips, "{name}");
        let strip = parsed(rendered, "filter-strip.yaml");
        let removes = |prefix: &str| {
            let rule = json!({"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": true}}});
            everything(&strip).contains(&&rule)
        };
        assert_eq!(removes("impersonate"), strips, "{name}");
        for always in ["x-remote-", "x-gateway-", "x-envoy-", "x-forwarded-"] {
            assert!(removes(always), "{name}: {always}");
        }
    });
}

#[test]
fn the_second_door_opens_by_filter_state_only() {
    each_variant(|name, inputs, rendered| {
        let file = parsed(rendered, "routes.yaml");
        let hosts = file["resources"][0]["virtual_hosts"].as_array().unwrap();
        let (hosts, portal) = hosts.split_at(1);
        assert_eq!(portal.len(), usize::from(inputs.portal.is_some()), "{name}");
        for host in portal {
            assert_eq!(host["domains"], json!(["portal.example", "portal.example:*"]));
            let misdirected =
                json!([{"match": {"prefix": "/"}, "direct_response": {"status": 421}}]);
            assert_eq!(host["routes"], misdirected);
        }
        let routes = hosts[0]["routes"].as_array().unwrap();
        let (last, decided) = routes.split_last().unwrap();
        assert_eq!(last, &json!({"match": {"prefix": "/"}, "direct_response": {"status": 403}}));
        // What strangers are told comes from Envoy, by a mark that leads nowhere.
        let (told, decided): (Vec<_>, Vec<_>) =
            decided.iter().partition(|route| route.get("direct_response").is_some());
        let tells = !inputs.documents.gateway().protected_resource.url.is_empty();
        let logs_out = !inputs.documents.gateway().logout.path.is_empty();
        let (path, mode) = match (tells, logs_out) {
            (_, true) => ("/oidc/logout", "logout"),
            _ => ("/.well-known/oauth-protected-resource", "metadata"),
        };
        let state = json!([{"key": "wasm.mode", "string_match": {"exact": mode}}]);
        let answers = 2 * usize::from(tells) + usize::from(logs_out);
        assert_eq!(told.len(), answers, "{name}");
        for route in told {
            assert!(route.get("route").is_none(), "{name}");
            assert_eq!(route["match"]["path"], path, "{name}");
            assert_eq!(route["match"]["filter_state"], state, "{name}");
        }
        for route in &decided {
            let cluster = route["route"]["cluster"].as_str().unwrap();
            // What an issuer says goes to who takes it, by one path and a mark of its own.
            if cluster == "logout" {
                assert!(logs_out, "{name}");
                assert_eq!(route["match"]["path"], path, "{name}");
                assert_eq!(route["match"]["filter_state"], state, "{name}");
                continue;
            }
            let mode = match cluster {
                "apiserver_impersonate_h1" | "apiserver_impersonate_h2" => "impersonate",
                "apiserver_own_h1" | "apiserver_own_h2" if inputs.documents.own_token() => {
                    "own-token"
                }
                other => panic!("{name}: a route to {other}"),
            };
            let state = json!([{"key": "wasm.mode", "string_match": {"exact": mode}}]);
            assert_eq!(route["match"]["filter_state"], state, "{name}");
        }
        let each = if inputs.options.request_timeout.is_some() { 5 } else { 3 };
        let modes = if inputs.documents.own_token() { 2 } else { 1 };
        assert_eq!(decided.len(), modes * each + usize::from(logs_out), "{name}");
    });
}

#[test]
fn the_third_door_holds_the_credential() {
    each_variant(|name, inputs, rendered| {
        for cluster in clusters(rendered) {
            let cluster_name = cluster["name"].as_str().unwrap();
            let filters = upstream_filters(&cluster);
            let filter_names = names(&filters);
            let by_token = matches!(inputs.apiserver.credential, Credential::Token(_));
            let shows = everything(&cluster).iter().any(|value| *value == "apiserver-certificate");
            let holds = everything(&cluster).iter().any(|value| *value == INJECTOR) || shows;
            let callouts = inputs.documents.callouts();
            let is_callout = callouts.iter().any(|it| {
                cluster_name == it.cluster || cluster_name == format!("{}_token", it.cluster)
            });
            let injects =
                if is_callout { filter_names.contains(&INJECTOR) } else { holds && by_token };
            match cluster_name {
                "apiserver_impersonate_h2" | "apiserver_impersonate_h1" => {
                    assert!(holds, "{name}/{cluster_name}");
                    // With a client certificate the user's token stays here, and there is nothing to inject.
                    let in_order = [
                        "envoy.filters.http.upstream_rbac",
                        if by_token { INJECTOR } else { "envoy.filters.http.header_mutation" },
                        "envoy.filters.http.upstream_codec",
                    ];
                    assert_eq!(filter_names, in_order, "{name}/{cluster_name}");
                    let policies = &filters[0]["typed_config"]["rules"]["policies"];
                    assert_eq!(
                        policies["impersonating"],
                        json!({
                            "permissions": [{"header": {
                                "name": "impersonate-user", "string_match": {"safe_regex": {"regex": ".+"}}}}],
                            "principals": [{"filter_state": {
                                "key": "wasm.mode", "string_match": {"exact": "impersonate"}}}],
                        }),
                        "{name}/{cluster_name}"
                    );
                }
                "apiserver_review" => {
                    assert!(holds, "{name}");
                    let asks = inputs.documents.own_token()
                        || inputs.documents.client_impersonation()
                            == ClientImpersonation::Authorize;
                    assert!(asks, "{name}: a credential for nothing");
                }
                "apiserver_own_h2" | "apiserver_own_h1" => {
                    assert!(inputs.documents.own_token(), "{name}/{cluster_name}");
                    assert!(!holds, "{name}/{cluster_name}");
                }
                "apiserver_probe" => assert!(!holds, "{name}"),
                "identify" => {
                    assert!(inputs.portal.is_some() && !holds, "{name}");
                }
                "access" | "logout" => assert!(inputs.options.access && !holds, "{name}"),
                // A credential of its own, and never the gateway's.
                _ if is_callout => {
                    let secrets = everything(&cluster);
                    let token =
                        |it: &&Value| it.as_str().is_some_and(|it| it.contains("secret-token-"));
                    assert!(!shows && !secrets.iter().any(token), "{name}/{cluster_name}");
                }
                "issuer_proxy" => {
                    assert!(inputs.documents.proxy().is_some() && !holds, "{name}");
                }
                issuers => {
                    assert!(issuers.starts_with("issuers_"), "{name}/{issuers}");
                    assert!(!holds, "{name}/{issuers}");
                }
            }
            if injects {
                let injector = &filters[filter_names.len() - 2]["typed_config"];
                assert_eq!(injector["overwrite"], true, "{name}/{cluster_name}");
                assert_eq!(injector["allow_request_without_credential"], false, "{name}");
            }
        }
    });
}

/// Nobody but Envoy and the program gets to where tunnels to issuers begin.
#[test]
fn a_tunnel_leads_where_its_request_is_for_and_begins_inside() {
    each_variant(|name, inputs, rendered| {
        let envoy = parsed(rendered, "envoy.yaml");
        let listeners = envoy["static_resources"]["listeners"].as_array().unwrap();
        let leads = |value: &Value| {
            everything(value).into_iter().any(|it| it["server_listener_name"] == "issuer_proxy")
        };
        let routes = parsed(rendered, "routes.yaml");
        for cluster in clusters(rendered).iter().filter(|it| leads(it)) {
            let cluster = cluster["name"].as_str().unwrap();
            assert!(cluster.ends_with("_tunnel"), "{name}/{cluster}");
            let routed = everything(&routes).into_iter().any(|it| it["cluster"] == *cluster);
            let listed = listeners.iter().any(|listener| {
                everything(listener).into_iter().any(|it| it["cluster"] == *cluster)
            });
            assert!(!routed && !listed, "{name}/{cluster}");
            let gateway = parsed(rendered, "filter-gateway.yaml").to_string();
            assert!(!gateway.contains(cluster), "{name}/{cluster}: it bypasses the listener");
        }
        let states: Vec<_> = everything(&envoy)
            .into_iter()
            .filter_map(|it| it.get("object_key").filter(|key| *key == "issuer.target"))
            .collect();
        assert_eq!(states.len(), usize::from(inputs.documents.proxy().is_some()), "{name}");
    });
}

/// Where the listener probe listens.
fn probe_address(rendered: &Rendered) -> Value {
    let envoy = parsed(rendered, "envoy.yaml");
    let mut listeners = envoy["static_resources"]["listeners"].as_array().unwrap().iter();
    let probe = listeners.find(|it| it["name"] == "probe").unwrap();
    json!({"pipe": {"path": probe["address"]["pipe"]["path"]}})
}

#[test]
fn every_upstream_is_tls_with_a_name_to_check() {
    each_variant(|name, inputs, rendered| {
        for cluster in clusters(rendered) {
            let cluster_name = cluster["name"].as_str().unwrap();
            if ["issuer_proxy", "identify", "access", "logout"].contains(&cluster_name) {
                // What goes through it is TLS already, to the issuer itself; or goes to a socket that only this user opens.
                assert!(cluster.get("transport_socket").is_none(), "{name}");
                continue;
            }
            if cluster_name.ends_with("_proxied") {
                // It does not leave Envoy: its requests come by the listener probe to the cluster where TLS begins.
                let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
                    ["address"];
                assert_eq!(*address, probe_address(rendered), "{name}");
                assert!(cluster.get("transport_socket").is_none(), "{name}");
                continue;
            }
            let mut socket = &cluster["transport_socket"];
            if socket["name"] == "envoy.transport_sockets.internal_upstream" {
                socket = &socket["typed_config"]["transport_socket"];
            }
            assert_eq!(socket["name"], "envoy.transport_sockets.tls", "{name}/{cluster_name}");
            let tls = &socket["typed_config"]["common_tls_context"];
            let options = &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
            let exact = tls.pointer(
                "/combined_validation_context/default_validation_context/match_typed_subject_alt_names/0",
            );
            // With a CA bundle of its own.
            let exact = exact
                .or_else(|| tls.pointer("/validation_context/match_typed_subject_alt_names/0"));
            let by_authority = &options["upstream_http_protocol_options"]["auto_san_validation"];
            // `--insecure-skip-tls-verify`
            let unchecked = inputs.apiserver.ca.is_none() && cluster_name.starts_with("apiserver_");
            assert_eq!(
                exact.is_some() || *by_authority == true,
                !unchecked,
                "{name}/{cluster_name}"
            );
        }
    });
}

#[test]
fn the_name_to_check_has_the_type_of_the_host() {
    for (host, server_name, want_type, want_name, want_sni) in [
        ("10.96.0.1", None, "IP_ADDRESS", "10.96.0.1", None),
        ("fd00::1", None, "IP_ADDRESS", "fd00::1", None),
        ("api.example", None, "DNS", "api.example", Some("api.example")),
        ("10.96.0.1", Some("api.example"), "DNS", "api.example", Some("api.example")),
        ("api.example", Some("10.96.0.1"), "IP_ADDRESS", "10.96.0.1", None),
    ] {
        let mut inputs = support::inputs(Path::new("/gateway"));
        inputs.apiserver.host = host.parse().unwrap();
        inputs.apiserver.server_name = server_name.map(|name: &str| name.parse().unwrap());
        let rendered = render(&inputs).unwrap();
        let found = clusters(&rendered);
        let apiserver =
            found.iter().filter(|c| c["name"].as_str().unwrap().starts_with("apiserver"));
        for cluster in apiserver {
            let tls = &cluster["transport_socket"]["typed_config"];
            let san = &tls["common_tls_context"]["combined_validation_context"]["default_validation_context"]
                ["match_typed_subject_alt_names"];
            let want = json!([{"san_type": want_type, "matcher": {"exact": want_name}}]);
            assert_eq!(*san, want, "{host} {server_name:?}");
            assert_eq!(tls.get("sni").and_then(Value::as_str), want_sni, "{host} {server_name:?}");
        }
    }
}
