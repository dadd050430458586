//! CVE-2026-73548: the version of the Envoy that has the configuration, and the switch of its fix.

use gateway_lint::{
    Finding, Rule, Sources,
    envoy_version::{SWITCH, Version},
    lint,
};
use serde_json::{Value, json};

use super::{Case, ENVOY, Files};

fn runtime(files: &mut Files, value: &Value) {
    let layers = json!([{"name": "ours", "static_layer": {SWITCH: value}}]);
    files.set(ENVOY, "", "layered_runtime", json!({"layers": layers}));
}

pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::EnvoyVersion,
            "in-cluster",
            |files| {
                let version = json!({"major_number": 1, "minor_number": 39});
                let built = json!({"version": version, "metadata": {"build.type": "RELEASE"}});
                files.set(ENVOY, "/node", "user_agent_build_version", built);
            },
            "envoy.yaml: node.user_agent_build_version",
        ),
        (
            Rule::EnvoyVersion,
            "in-cluster",
            |files| files.set(ENVOY, "/node", "metadata", json!({"ISTIO_VERSION": "1.30.3"})),
            "envoy.yaml: node.metadata",
        ),
        (
            Rule::EnvoyVersion,
            "in-cluster",
            |files| runtime(files, &json!(false)),
            "envoy.yaml: layered_runtime.layers[0].static_layer",
        ),
        (
            Rule::EnvoyVersion,
            "in-cluster",
            |files| runtime(files, &json!("false")),
            "envoy.yaml: layered_runtime.layers[0].static_layer",
        ),
    ]
}

/// What is found of an Envoy that says this of itself, and whether its version is known.
fn judge(node: &Value) -> (Vec<Finding>, bool) {
    let mut files = Files::of("in-cluster");
    for (field, value) in node.as_object().unwrap() {
        files.set(ENVOY, "/node", field, value.clone());
    }
    let sources = Sources::from_values(files.0);
    (lint(&sources), sources.tell_version())
}

#[test]
fn cve_2026_73548_is_found_by_what_an_envoy_says_of_itself() {
    let built = |patch: u32, metadata: Value| {
        let version = json!({"majorNumber": 1, "minorNumber": 37, "patch": patch});
        json!({"userAgentBuildVersion": {"version": version, "metadata": metadata}})
    };
    let istio = |version: &str| {
        // Between two releases of Envoy: what Istio has put into it, Istio's version alone says.
        let mut node = built(0, json!({"build.label": "dev"}));
        node["metadata"] = json!({"ISTIO_VERSION": version});
        node
    };
    for (node, found, known) in [
        (built(5, json!({"build.type": "RELEASE"})), true, true),
        (built(6, json!({"build.type": "RELEASE"})), false, true),
        (built(0, json!({"build.label": "dev"})), false, false),
        (istio("1.29.6"), true, true),
        (istio("1.29.7"), false, true),
        (istio("1.30.3-distroless"), true, true),
        (istio("1.31.1"), false, true),
        (istio("1.28.9"), true, true),
        (istio("1.31-alpha.0"), false, false),
        (istio("unknown"), false, false),
        (json!({"userAgentBuildVersion": {}}), false, false),
        (json!({}), false, false),
    ] {
        let (findings, tells) = judge(&node);
        assert_eq!(tells, known, "{node}");
        assert_eq!(!findings.is_empty(), found, "{node}: {findings:?}");
        for finding in findings {
            assert_eq!(finding.rule, Rule::EnvoyVersion);
            assert!(finding.message.contains("CVE-2026-73548"), "{finding}");
        }
    }
}

/// Files do not tell; whoever has them checked can.
#[test]
fn what_is_said_of_the_version_counts() {
    for (version, found) in [(Version(1, 39, 0), true), (Version(1, 39, 1), false)] {
        let mut sources = Sources::from_values(Files::of("in-cluster").0);
        assert!(!sources.tell_version());
        sources.of_envoy(version);
        assert!(sources.tell_version());
        assert_eq!(!lint(&sources).is_empty(), found, "{version}");
    }
}

#[test]
fn the_switch_of_the_fix_may_be_left_on() {
    for value in [json!(true), json!("true")] {
        let mut files = Files::of("in-cluster");
        runtime(&mut files, &value);
        assert_eq!(files.lint(), [], "{value}");
    }
}
