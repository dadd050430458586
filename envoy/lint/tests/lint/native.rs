//! The native form of the filter: the same doors, and what a module without a sandbox adds to them.

use gateway_config::FilterForm;
use gateway_lint::{Rule, Sources, envoy_version::Version, lint};
use serde_json::{Value, json};

use super::{
    CONNECTIONS, Case, ENVOY, Files, GATEWAY, MANAGER, clusters, doors, listener, probe, routes,
};

const CONFIG: &str = "/resources/0/typed_config";
const MODULE: &str = "/resources/0/typed_config/dynamic_module_config";

/// Where a native gateway has what the Wasm filter's has there: its configuration is not in a plugin's.
pub fn place(of_wasm: &str) -> String {
    of_wasm.replace("typed_config/config/configuration", "typed_config/filter_config")
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::NativeModule,
            "native",
            |files| files.set(GATEWAY, MODULE, "name", json!("other")),
            "filter-gateway.yaml: resources[0].typed_config.dynamic_module_config",
        ),
        // Envoy would find such a one in whatever folder it is started in.
        (
            Rule::NativeModule,
            "native",
            |files| {
                let other = json!({"local": {"filename": "/elsewhere/libother.so"}});
                files.set(GATEWAY, MODULE, "module", other);
            },
            "dynamic_module_config.module",
        ),
        (
            Rule::NativeModule,
            "native",
            |files| {
                let relative = json!({"local": {"filename": "libkube_oidc_gateway.so"}});
                files.set(GATEWAY, MODULE, "module", relative);
            },
            "dynamic_module_config.module",
        ),
        (
            Rule::NativeModule,
            "native",
            |files| {
                let fetched =
                    json!({"remote": {"http_uri": {"uri": "https://a/b.so"}, "sha256": "c"}});
                files.set(GATEWAY, MODULE, "module", fetched);
            },
            "dynamic_module_config.module",
        ),
        (
            Rule::NativeModule,
            "native",
            |files| files.remove(GATEWAY, MODULE, "do_not_close"),
            "dynamic_module_config",
        ),
        (
            Rule::NativeModule,
            "native",
            |files| files.set(GATEWAY, MODULE, "load_globally", json!(true)),
            "dynamic_module_config",
        ),
        (
            Rule::NativeModule,
            "native",
            |files| files.set(GATEWAY, CONFIG, "terminal_filter", json!(true)),
            "filter-gateway.yaml: resources[0].typed_config",
        ),
        // Beside a Wasm filter, too, and as no filter at all: it reads the credential in Envoy's memory.
        (
            Rule::NativeModule,
            "in-cluster",
            |files| {
                let other = json!({"name": "logs", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog",
                    "dynamic_module_config": {"name": "other", "do_not_close": true},
                }});
                files.list(ENVOY, &format!("{MANAGER}/access_log")).push(other);
            },
            "access_log[1].typed_config.dynamic_module_config",
        ),
        (
            Rule::NativeVersion,
            "native",
            |files| {
                let version = json!({"major_number": 1, "minor_number": 41});
                let built = json!({"version": version, "metadata": {"build.type": "RELEASE"}});
                files.set(ENVOY, "/node", "user_agent_build_version", built);
            },
            "envoy.yaml: node.user_agent_build_version",
        ),
        (
            Rule::NativeVersion,
            "native",
            |files| files.set(ENVOY, "/node", "metadata", json!({"ISTIO_VERSION": "1.31.0"})),
            "envoy.yaml: node.metadata",
        ),
        // The text of the Wasm form never equals a native module's bytes, so that nobody would get in.
        (
            Rule::GateComparison,
            "native",
            |files| {
                let wasm = Files::of("authorize-own-token");
                let gate = wasm.0.into_iter().find(|(name, _)| name == super::GATE).unwrap().1;
                let resource = files.at(super::GATE, "/resources/0");
                *resource = gate["resources"][0].clone();
            },
            "rules.policies.marked",
        ),
        (
            Rule::Connections,
            "native",
            |files| files.plugin(|document| document["countsConnections"] = json!(false)),
            "filter-connections.yaml",
        ),
        (
            Rule::Connections,
            "native",
            |files| {
                let filters = "/static_resources/listeners/0/filter_chains/0/filters";
                files.list(ENVOY, filters).remove(0);
            },
            "filter-gateway.yaml",
        ),
        // Each file that is loaded has its own memory.
        (
            Rule::Connections,
            "native",
            |files| {
                let copy = json!({"local": {"filename": "/copy/libkube_oidc_gateway.so"}});
                files.set(CONNECTIONS, MODULE, "module", copy);
            },
            "filter-connections.yaml",
        ),
        // Nobody tells the Wasm filter that counts of whom the native one knows: it would end users' connections.
        (
            Rule::Connections,
            "native",
            |files| {
                let wasm = Files::of("in-cluster");
                let counting = wasm.0.iter().find(|(name, _)| name == CONNECTIONS).unwrap();
                let config = counting.1["resources"][0]["typed_config"].clone();
                let chain = "/static_resources/listeners/0/filter_chains/0/filters";
                let counting = json!({"name": "connections", "typed_config": config});
                files.list(ENVOY, chain)[0] = counting;
            },
            "filters[0].typed_config",
        ),
        // Two gateways of one name and other configurations.
        (
            Rule::GatewayName,
            "native",
            |files| {
                let mut own = files.at(GATEWAY, CONFIG).clone();
                let text = own["filter_config"]["value"].as_str().unwrap();
                own["filter_config"]["value"] = json!(format!("{text} "));
                let listeners = files.list(ENVOY, "/static_resources/listeners");
                let mut beside = listeners[0].clone();
                beside["name"] = json!("beside");
                beside["filter_chains"].as_array_mut().unwrap().truncate(1);
                let manager = &mut beside["filter_chains"][0]["filters"][1]["typed_config"];
                let filters = manager["http_filters"].as_array_mut().unwrap();
                let gateway = filters.iter_mut().find(|it| it["name"] == "gateway").unwrap();
                *gateway = json!({"name": "gateway", "typed_config": own});
                listeners.push(beside);
            },
            "filter_chains[0]",
        ),
    ]
}

/// Whatever breaks the doors of the Wasm filter breaks them, where it is not about VMs.
#[test]
fn the_doors_of_both_forms_are_the_same() {
    let about_vms = [Rule::FailurePolicy, Rule::Connections];
    let cases = [doors::broken(), routes::broken(), clusters::broken(), listener::broken()];
    let cases = cases.into_iter().flatten().chain(probe::broken());
    let mut tried = 0;
    for (rule, variant, breaks, at) in cases.filter(|(rule, ..)| !about_vms.contains(rule)) {
        let case = format!("{}, {variant}, {at}", rule.name());
        let mut files = Files::native(variant);
        breaks(&mut files);
        let findings = files.lint();
        assert!(!findings.is_empty(), "{case}: nothing found");
        let at = at.replace("extension_config.typed_config.config.configuration", "filter_config");
        let at = at.replace("config.configuration", "filter_config");
        assert!(findings.iter().all(|it| it.rule == rule), "{case}: {findings:?}");
        assert!(findings.iter().any(|it| it.at.contains(&at)), "{case}: {findings:?}");
        tried += 1;
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn a_native_gateway_is_clean_where_its_envoy_is_tested() {
    for (version, clean) in [
        (Version(1, 39, 1), true),
        (Version(1, 40, 2), true),
        (Version(1, 38, 4), false),
        (Version(1, 41, 0), false),
    ] {
        let mut sources = Sources::from_values(Files::of("native").0);
        sources.of_envoy(version);
        let findings = lint(&sources);
        assert_eq!(findings.is_empty(), clean, "{version}: {findings:?}");
        assert!(
            findings.iter().all(|it| it.rule == Rule::NativeVersion),
            "{version}: {findings:?}"
        );
    }
}

/// A module of the gateway's name that is not given the gateway's configuration is no gateway: nothing it stands before is
/// behind the doors.
#[test]
fn a_native_module_without_the_gateway_s_configuration_guards_nothing() {
    let mut files = Files::of("native");
    files.set(GATEWAY, CONFIG, "filter_config", Value::Null);
    let findings = files.lint();
    assert!(findings.iter().any(|it| it.rule == Rule::Around), "{findings:?}");
    assert_eq!(Files::of("native").1, FilterForm::Native);
}
