//! The program's own way to servers. A rogue one that asks as the gateway, or that others can use, is found.

use std::path::Path;

use gateway_config::{Candidates, Inputs, Issuer};
use gateway_lint::Rule;
use serde_json::{Value, json};

use super::{CLUSTERS, Case, ENVOY, Files, support};

const ROUTES: &str = "routes-probe.yaml";
const ROUTE: &str = "/resources/0/virtual_hosts/0/routes/0/route";

impl Files {
    /// A part of the connection manager of the listener probe.
    fn probe(&mut self, pointer: &str) -> &mut Value {
        let mut listeners = self.list(ENVOY, "/static_resources/listeners").iter_mut();
        let listener = listeners.find(|it| it["name"] == "probe").unwrap();
        let manager = "/filter_chains/0/filters/0/typed_config";
        listener.pointer_mut(&format!("{manager}{pointer}")).unwrap()
    }
}

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
        // What opens doors, on a question.
        (
            Rule::Probe,
            "proxies",
            |files| {
                let state = "/http_filters/0/typed_config/on_request_headers/0";
                files.probe(state)["object_key"] = json!("wasm.mode");
            },
            "on_request_headers[0]",
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

/// The files of a gateway that asks a server before it takes what a file brings: by a new CA of the API server, and new issuers.
fn asking(variant: &str) -> Files {
    let variants = support::variants(Path::new("/gateway"));
    let (_, mut inputs) = variants.into_iter().find(|(name, _)| *name == variant).unwrap();
    inputs.apiserver.ca.get_or_insert("/gateway/ca.crt".into());
    let issuer = |ca: Option<&str>, proxied: bool| Issuer {
        url: "https://new.example".to_owned(),
        discovery_url: "https://new.example".to_owned(),
        certificate_authority: ca.map(str::to_owned),
        proxied,
    };
    let ca = format!("{}\n", support::ISSUER_CA);
    let behind = inputs.documents.proxy().is_some();
    let issuers = vec![issuer(None, false), issuer(Some(&ca), behind)];
    let candidates = Candidates { issuers, apiserver_ca: Some(ca) };
    Files::rendered(&Inputs { candidates, ..inputs })
}

/// A dump of Envoy's may be taken while a reload's question runs.
#[test]
fn what_a_reload_asks_by_is_clean() {
    for variant in ["in-cluster", "certificates", "server-name-reject", "proxies"] {
        assert_eq!(asking(variant).lint(), [], "{variant}");
    }
}

/// It asks by that alone which is to be taken: whatever else a candidate has of its own is found.
#[test]
fn a_candidate_differs_in_whom_it_believes_and_nothing_else() {
    type Change = fn(&mut Value);
    const COMMON: &str = "/transport_socket/typed_config/common_tls_context";
    let changes: [(&str, Change); 6] = [
        ("apiserver_candidate", |it| it["load_assignment"]["endpoints"] = json!([])),
        ("apiserver_candidate", |it| {
            it.pointer_mut(COMMON).unwrap()["tls_params"] = json!({});
        }),
        ("apiserver_candidate", |it| {
            it.pointer_mut(COMMON).unwrap()["validation_context"]["match_typed_subject_alt_names"] =
                json!([{"san_type": "DNS", "matcher": {"exact": "other.example"}}]);
        }),
        ("apiserver_candidate", |it| {
            let context = &mut it.pointer_mut(COMMON).unwrap()["validation_context"];
            context.as_object_mut().unwrap().remove("trusted_ca");
        }),
        ("apiserver_candidate", |it| {
            it.pointer_mut(COMMON).unwrap()["tls_certificates"] = json!([{}]);
        }),
        // In the clothes of an issuer.
        ("apiserver_candidate", |it| it["name"] = json!("issuers_candidate")),
    ];
    for (index, (name, change)) in changes.into_iter().enumerate() {
        let mut files = asking("in-cluster");
        change(cluster(&mut files, name));
        let routes = files.list("routes-probe.yaml", "/resources/0/virtual_hosts/0/routes");
        for route in routes.iter_mut().filter(|it| it["route"]["cluster"] == name) {
            let renamed = if index == 5 { "issuers_candidate" } else { name };
            route["route"]["cluster"] = json!(renamed);
        }
        assert_ne!(files.lint(), [], "{index}");
    }
}
