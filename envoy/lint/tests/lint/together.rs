//! Several gateways in one Envoy.

use gateway_lint::{Finding, Rule};
use serde_json::{Value, json};

use super::{Case, ENVOY, Files, GATEWAY};

const CONFIG: &str = "/resources/0/typed_config/config";

/// The configuration of a filter that takes tokens of a shared secret.
fn with_secret(config: &mut Value) {
    let text = config["configuration"]["value"].as_str().unwrap();
    let mut document: Value = serde_json::from_str(text).unwrap();
    document["gatewayConfiguration"]["sharedSecret"] =
        json!({"audience": "a", "secretFiles": ["/secret"]});
    config["configuration"]["value"] = json!(document.to_string());
    config["vm_config"]["environment_variables"] = json!({"host_env_keys": ["SECRETS"]});
}

/// Adds a listener whose gateway has the first one's configuration with a change.
fn beside(files: &mut Files, change: impl FnOnce(&mut Value)) {
    let mut own = files.at(GATEWAY, "/resources/0/typed_config").clone();
    change(&mut own["extension_config"]["typed_config"]["config"]);
    let listeners = files.list(ENVOY, "/static_resources/listeners");
    let mut listener = listeners[0].clone();
    listener["name"] = json!("beside");
    let manager = &mut listener["filter_chains"][0]["filters"][1]["typed_config"];
    let filters = manager["http_filters"].as_array_mut().unwrap();
    let gateway = filters.iter_mut().find(|it| it["name"] == "gateway").unwrap();
    *gateway = json!({"name": "gateway", "typed_config": own});
    listeners.push(listener);
}

fn other_settings(config: &mut Value) {
    let text = config["configuration"]["value"].as_str().unwrap();
    config["configuration"]["value"] = json!(format!("{text} "));
}

pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::GatewayName,
            "in-cluster",
            |files| beside(files, other_settings),
            "listeners[2].filter_chains[0]",
        ),
        // No name counts as the only gateway's does.
        (
            Rule::GatewayName,
            "in-cluster",
            |files| {
                beside(files, |config| {
                    other_settings(config);
                    config["name"] = json!("");
                });
            },
            "listeners[2].filter_chains[0]",
        ),
        (
            Rule::SharedVm,
            "in-cluster",
            |files| {
                beside(files, |config| {
                    config["name"] = json!("other");
                    with_secret(config);
                });
            },
            "listeners[2].filter_chains[0]",
        ),
        (
            Rule::SharedVm,
            "in-cluster",
            |files| {
                with_secret(files.at(GATEWAY, CONFIG));
                beside(files, |config| {
                    config["name"] = json!("other");
                    other_settings(config);
                    let variables = json!({"host_env_keys": ["OTHER"]});
                    config["vm_config"]["environment_variables"] = variables;
                });
            },
            "listeners[2].filter_chains[0]",
        ),
    ]
}

#[test]
fn gateways_that_are_told_apart_are_clean() {
    let changes: [fn(&mut Value); 4] = [
        // One gateway on two listeners.
        |_| {},
        |config| {
            other_settings(config);
            config["name"] = json!("other");
        },
        |config| {
            with_secret(config);
            config["name"] = json!("other");
            config["vm_config"]["vm_id"] = json!("other");
        },
        // Another module has a VM of its own.
        |config| {
            with_secret(config);
            config["name"] = json!("other");
            config["vm_config"]["code"]["local"]["filename"] = json!("/other.wasm");
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut files = Files::of("in-cluster");
        beside(&mut files, change);
        assert_eq!(files.lint(), Vec::<Finding>::new(), "{index}");
    }
}
