//! The portal, beside the gateway and alone.

use std::path::{Path, PathBuf};

use gateway_config::{
    Documents,
    portal::{Inputs, Part, render},
};
use gateway_lint::{Rule, Sources, lint};
use serde_json::{Value, json};

use super::{CLUSTERS, Case, ENVOY, Files, GATEWAY, support};

const LISTENER: &str = "/static_resources/listeners/0";
const CHAIN: &str = "/static_resources/listeners/0/filter_chains/1";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/1/filters/0/typed_config";
const LOGIN: &str = "/static_resources/listeners/0/filter_chains/1/filters/0/typed_config/http_filters/1/typed_config/config";
const FILTER: &str = "/static_resources/listeners/0/filter_chains/1/filters/0/typed_config/http_filters/2/typed_config/config";

/// Gives the portal's filter other settings.
fn settings(files: &mut Files, change: impl FnOnce(&mut Value)) {
    let document = files.at(ENVOY, &format!("{FILTER}/configuration"));
    let mut value: Value = serde_json::from_str(document["value"].as_str().unwrap()).unwrap();
    change(&mut value);
    document["value"] = json!(value.to_string());
}

/// Gives the gateway's filter another configuration.
fn gateways(files: &mut Files, change: impl FnOnce(&mut Value)) {
    let document = files.at(GATEWAY, "/resources/0/typed_config/config/configuration");
    let mut value: Value = serde_json::from_str(document["value"].as_str().unwrap()).unwrap();
    change(&mut value);
    document["value"] = json!(value.to_string());
}

fn filters(files: &mut Files) -> &mut Vec<Value> {
    files.list(ENVOY, &format!("{MANAGER}/http_filters"))
}

/// Adds a listener with a portal like the first one but for a change of its filter.
fn second(files: &mut Files, change: impl FnOnce(&mut Value)) {
    let listeners = files.list(ENVOY, "/static_resources/listeners");
    let mut listener = listeners[0].clone();
    listener["name"] = json!("second");
    let chains = listener["filter_chains"].as_array_mut().unwrap();
    chains.drain(..1);
    let manager = &mut chains[0]["filters"][0]["typed_config"];
    change(&mut manager["http_filters"][2]["typed_config"]["config"]);
    listeners.push(listener);
}

fn other_audience(config: &mut Value) {
    let text = config["configuration"]["value"].as_str().unwrap();
    let mut value: Value = serde_json::from_str(text).unwrap();
    value["audience"] = json!("another");
    config["configuration"]["value"] = json!(value.to_string());
}

fn spaced(config: &mut Value) {
    let text = config["configuration"]["value"].as_str().unwrap();
    config["configuration"]["value"] = json!(format!("{text} "));
}

/// The rule, what breaks it, and the place in which that is found.
type Broken = (Rule, fn(&mut Files), &'static str);

/// Every case, of the portal beside a gateway.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    let cases: Vec<Broken> = vec![
        // The login behind the filter that it is for: nobody would ever log in, and its cookies would reach the filter sealed.
        (Rule::PortalOrder, |files| filters(files).swap(1, 2), "http_filters[2]"),
        (
            Rule::PortalOrder,
            |files| {
                let lua = json!({"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}});
                filters(files).insert(2, lua);
            },
            "http_filters[2]",
        ),
        (
            Rule::PortalOrder,
            |files| {
                let route = format!("{MANAGER}/route_config/virtual_hosts/0/routes/0");
                files.remove(ENVOY, &route, "direct_response");
                files.set(ENVOY, &route, "route", json!({"cluster": "identify"}));
            },
            "routes[0].route",
        ),
        (Rule::Switchable, |files| filters(files)[2]["disabled"] = json!(true), "http_filters[2]"),
        (
            Rule::Switchable,
            |files| {
                let host = format!("{MANAGER}/route_config/virtual_hosts/0");
                files.set(ENVOY, &host, "typed_per_filter_config", json!({"host": {}}));
            },
            "typed_per_filter_config",
        ),
        (Rule::PortalHost, |files| drop(filters(files).remove(0)), "filter_chains[1]"),
        (
            Rule::PortalHost,
            |files| files.remove(ENVOY, CHAIN, "filter_chain_match"),
            "filter_chains[1]",
        ),
        (
            Rule::PortalHost,
            |files| {
                let names = json!({"server_names": ["*.example"]});
                files.set(ENVOY, CHAIN, "filter_chain_match", names);
            },
            "filter_chains[1]",
        ),
        (
            Rule::PortalHost,
            |files| {
                let rule = format!(
                    "{MANAGER}/http_filters/0/typed_config/rules/policies/own/permissions/0/header"
                );
                files.set(ENVOY, &rule, "invert_match", json!(true));
            },
            "filter_chains[1]",
        ),
        // Headers of proxies that show no certificate.
        (
            Rule::PortalTrust,
            |files| {
                let tls = format!("{CHAIN}/transport_socket/typed_config");
                files.remove(ENVOY, &tls, "require_client_certificate");
            },
            "filter_chains[1]",
        ),
        (
            Rule::PortalTrust,
            |files| {
                let tls = format!("{CHAIN}/transport_socket/typed_config/common_tls_context");
                files.remove(ENVOY, &tls, "validation_context");
            },
            "filter_chains[1]",
        ),
        (
            Rule::PortalTrust,
            |files| settings(files, |it| it["trust"]["anybody"] = json!(true)),
            "filter_chains[1]",
        ),
        (
            Rule::PortalTrust,
            |files| {
                settings(files, |it| it["trust"]["networks"] = json!(["10.0.0.0/8"]));
                files.set(ENVOY, MANAGER, "xff_num_trusted_hops", json!(1));
            },
            "filter_chains[1]",
        ),
        (
            Rule::ClientAddress,
            |files| files.remove(ENVOY, MANAGER, "use_remote_address"),
            "filter_chains[1]",
        ),
        (
            Rule::PortalKeys,
            |files| {
                let values = json!({"KUBE_OIDC_GATEWAY_PORTAL_KEYS": "x"});
                let variables = format!("{FILTER}/vm_config/environment_variables");
                files.set(ENVOY, &variables, "key_values", values);
            },
            "environment_variables.key_values",
        ),
        (
            Rule::PortalKeys,
            |files| files.remove(ENVOY, &format!("{FILTER}/vm_config"), "environment_variables"),
            "http_filters[2]",
        ),
        (
            Rule::PortalKeys,
            |files| {
                settings(files, |it| {
                    it["template"] =
                        json!({"clusters": [["a", {"server": "https://a", "secret": "x"}]]});
                });
            },
            "configuration",
        ),
        (Rule::GatewayName, |files| second(files, other_audience), "listeners[3]"),
        (
            Rule::PortalAudience,
            |files| {
                second(files, |config| {
                    spaced(config);
                    config["name"] = json!("second");
                });
            },
            "listeners[3]",
        ),
        (
            Rule::SharedVm,
            |files| {
                second(files, |config| {
                    let keys = json!(["KUBE_OIDC_GATEWAY_PORTAL_KEYS", "MORE"]);
                    config["vm_config"]["environment_variables"]["host_env_keys"] = keys;
                });
            },
            "listeners[3]",
        ),
        (
            Rule::PluginConfiguration,
            |files| settings(files, |it| it["audience"] = json!("")),
            "configuration",
        ),
        (
            Rule::FailurePolicy,
            |files| files.set(ENVOY, FILTER, "failure_policy", json!("FAIL_OPEN")),
            "http_filters[2]",
        ),
        (
            Rule::CalloutCluster,
            |files| drop(files.list(CLUSTERS, "/resources").pop()),
            "http_filters[2]",
        ),
        (
            Rule::PortalLogin,
            |files| {
                let secret = format!("{LOGIN}/credentials/hmac_secret");
                files.remove(ENVOY, &secret, "sds_config");
            },
            "http_filters[1]",
        ),
        (
            Rule::PortalLogin,
            |files| {
                let names = format!("{LOGIN}/credentials/cookie_names");
                files.set(ENVOY, &names, "id_token", json!("IdToken"));
            },
            "http_filters[1]",
        ),
        (
            Rule::PortalLogin,
            |files| {
                let cookie = format!("{LOGIN}/cookie_configs/id_token_cookie_config");
                files.set(ENVOY, &cookie, "same_site", json!("NONE"));
            },
            "http_filters[1]",
        ),
        (
            Rule::PortalLogin,
            |files| files.remove(ENVOY, LOGIN, "disable_access_token_set_cookie"),
            "http_filters[1]",
        ),
        (
            Rule::PortalLogin,
            |files| files.set(ENVOY, LOGIN, "forward_bearer_token", json!(true)),
            "http_filters[1]",
        ),
        (
            Rule::PortalIdentify,
            |files| {
                let address = "/static_resources/listeners/1/address";
                let tcp = json!({"address": "0.0.0.0", "port_value": 1});
                files.remove(ENVOY, address, "pipe");
                files.set(ENVOY, address, "socket_address", tcp);
            },
            "listeners[1]",
        ),
        (
            Rule::PortalIdentify,
            |files| {
                files.set(ENVOY, "/static_resources/listeners/1/address/pipe", "mode", json!(438));
            },
            "listeners[1]",
        ),
        (
            Rule::PortalIdentify,
            |files| {
                let route = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/1";
                files.remove(ENVOY, route, "direct_response");
                files.set(ENVOY, route, "route", json!({"cluster": "identify"}));
            },
            "listeners[1]",
        ),
        (
            Rule::PortalIdentify,
            |files| gateways(files, |it| drop(it.as_object_mut().unwrap().remove("portalIssuer"))),
            "http_filters[2]",
        ),
        (
            Rule::PortalIdentify,
            |files| gateways(files, |it| it["portalIssuer"] = json!("https://other.example")),
            "http_filters[2]",
        ),
    ];
    cases.into_iter().map(|(rule, breaks, place)| (rule, "portal", breaks, place)).collect()
}

/// A portal on a port of its own.
fn alone(part: Part, documents: Option<Documents>) -> Vec<(String, Value)> {
    let inputs = Inputs {
        directory: PathBuf::from("/portal"),
        listen: "127.0.0.1:10003".parse().unwrap(),
        part: Part { host: None, ..part },
        documents,
        system_ca: "/etc/ssl/certs/ca-certificates.crt".into(),
        concurrency: None,
    };
    let rendered = render(&inputs).unwrap();
    let files = rendered.files().iter().rev();
    files.map(|file| (file.name.clone(), support::parsed(&rendered, &file.name))).collect()
}

fn documents() -> Documents {
    support::documents(&[("https://issuer.example", None)], &json!({}))
}

/// kubehook's way: a secret, and a network or mutual TLS.
fn kubehook() -> Part {
    let mut part = support::portal(Path::new("/portal"));
    part.login = None;
    part.settings.identify = None;
    part
}

#[test]
fn every_rendered_portal_is_clean() {
    let without_tls = {
        let mut part = Part { serving: None, client_ca: None, client_subject: None, ..kubehook() };
        part.settings.trust.client_certificate = false;
        part.settings.trust.networks = vec!["10.0.0.0/8".parse().unwrap()];
        part.settings.hosts = Some(vec!["portal.example".to_owned()]);
        part
    };
    for (part, documents) in [
        (support::portal(Path::new("/portal")), Some(documents())),
        (kubehook(), None),
        (without_tls, None),
    ] {
        assert_eq!(lint(&Sources::from_values(alone(part, documents))), []);
    }
}

#[test]
fn portals_that_are_told_apart_are_clean() {
    let changes: [fn(&mut Value); 2] = [
        // One portal on two listeners.
        |_| {},
        |config| {
            other_audience(config);
            config["name"] = json!("second");
        },
    ];
    for change in changes {
        let mut files = Files::of("portal");
        second(&mut files, change);
        assert_eq!(files.lint(), []);
    }
}

/// What is asked of a portal alone, too: its name is not.
#[test]
fn a_portal_alone_is_looked_at_likewise() {
    let part = support::portal(Path::new("/portal"));
    let mut files = alone(part, Some(documents()));
    let envoy = &mut files[0].1;
    assert!(envoy.pointer(&format!("{LISTENER}/filter_chains/0")).is_some());
    let chain = envoy.pointer_mut(&format!("{LISTENER}/filter_chains/0")).unwrap();
    chain.as_object_mut().unwrap().remove("transport_socket");
    let found: Vec<_> = lint(&Sources::from_values(files)).into_iter().map(|it| it.rule).collect();
    assert_eq!(found, [Rule::NoTls, Rule::PortalHost, Rule::PortalTrust]);

    // Without TLS nothing but its hosts keeps DNS rebinding out (break-in 11).
    let mut part = Part { serving: None, client_ca: None, client_subject: None, ..kubehook() };
    part.settings.trust.client_certificate = false;
    let found = lint(&Sources::from_values(alone(part, None)));
    assert_eq!(found.iter().map(|it| it.rule).collect::<Vec<_>>(), [Rule::PortalHost], "{found:?}");

    let mut part = kubehook();
    part.settings.trust.anybody = true;
    let found = lint(&Sources::from_values(alone(part, None)));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].rule, Rule::PortalTrust);
}
