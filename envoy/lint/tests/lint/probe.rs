//! The program's own way to servers. A rogue one that asks as the gateway, or that others can use, is found.

use gateway_lint::Rule;
use serde_json::{Value, json};

use super::{CLUSTERS, Case, ENVOY, Files};

const ROUTES: &str = "routes-probe.yaml";
const ROUTE: &str = "/resources/0/virtual_hosts/0/routes/0/route";

fn cluster<'a>(files: &'a mut Files, name: &str) -> &'a mut Value {
    let mut clusters = files.list(CLUSTERS, "/resources").iter_mut();
    clusters.find(|cluster| cluster["name"] == name).unwrap()
}

pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::Probe,
            "in-cluster",
            |files| files.set(ROUTES, ROUTE, "cluster", json!("apiserver_impersonate_h2")),
            "routes-probe.yaml: resources[0].virtual_hosts[0].routes[0].route",
        ),
        // A client certificate is a credential as a token is.
        (
            Rule::Probe,
            "certificates",
            |files| files.set(ROUTES, ROUTE, "cluster", json!("apiserver_impersonate_h1")),
            "routes-probe.yaml: resources[0].virtual_hosts[0].routes[0].route",
        ),
        (
            Rule::Probe,
            "authorize-own-token",
            |files| {
                let weighted = json!({"weighted_clusters": {"clusters": [
                    {"name": "apiserver_probe", "weight": 1},
                    {"name": "apiserver_impersonate_h2", "weight": 1},
                ]}});
                *files.at(ROUTES, ROUTE) = weighted;
            },
            "routes-probe.yaml: resources[0].virtual_hosts[0].routes[0].route",
        ),
        (
            Rule::Probe,
            "in-cluster",
            |files| *files.at(ROUTES, ROUTE) = json!({"cluster_header": "x-gateway-cluster"}),
            "routes-probe.yaml: resources[0].virtual_hosts[0].routes[0].route",
        ),
        (
            Rule::Probe,
            "in-cluster",
            |files| {
                files.set(
                    ENVOY,
                    "/static_resources/listeners/1/address/pipe",
                    "mode",
                    json!(0o666),
                );
            },
            "envoy.yaml: static_resources.listeners[1]",
        ),
        (
            Rule::Probe,
            "in-cluster",
            |files| {
                let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 1}});
                files.set(ENVOY, "/static_resources/listeners/1", "address", address);
            },
            "envoy.yaml: static_resources.listeners[1]",
        ),
        // It would be ready while requests fail: kube-apiserver asks for TLS 1.3, say.
        (
            Rule::Probe,
            "in-cluster",
            |files| {
                let cluster = cluster(files, "apiserver_probe");
                cluster["transport_socket"]["typed_config"]["common_tls_context"]["tls_params"] =
                    json!({"tls_minimum_protocol_version": "TLSv1_2"});
            },
            "clusters.yaml: resources[",
        ),
        (
            Rule::Probe,
            "in-cluster",
            |files| {
                let cluster = cluster(files, "apiserver_probe");
                cluster["load_assignment"]["endpoints"] = json!([]);
            },
            "clusters.yaml: resources[",
        ),
    ]
}
