//! Clusters of servers beside issuers and kube-apiserver: a rogue one that a client is led to, that shows the gateway's own token, or that
//! leads anywhere, is found.

use gateway_lint::Rule;
use serde_json::{Value, json};

use super::{CLUSTERS, Case, ENVOY, Files, HOST, MANAGER, OPTIONS, ROUTES};

const VARIANT: &str = "group-sources";
const OAUTH2: &str = "callout_groups_entra";
const TOKEN: &str = "callout_groups_entra_token";
const BEARER: &str = "callout_groups_keycloak";

fn cluster<'a>(files: &'a mut Files, name: &str) -> &'a mut Value {
    let mut clusters = files.list(CLUSTERS, "/resources").iter_mut();
    clusters.find(|cluster| cluster["name"] == name).unwrap()
}

fn injector<'a>(files: &'a mut Files, name: &str) -> &'a mut Value {
    let filters = format!("{OPTIONS}/http_filters");
    let filters = cluster(files, name).pointer_mut(&filters).unwrap().as_array_mut().unwrap();
    let is_injector = |it: &&mut Value| it["name"] == "envoy.filters.http.credential_injector";
    &mut filters.iter_mut().find(is_injector).unwrap()["typed_config"]
}

fn trust<'a>(files: &'a mut Files, name: &str) -> &'a mut Value {
    &mut cluster(files, name)["transport_socket"]["typed_config"]["common_tls_context"]
}

pub fn broken() -> Vec<Case> {
    [led_to(), shown(), trusted()].concat()
}

/// A client, or something else, is led there.
fn led_to() -> Vec<Case> {
    vec![
        // By the way of the gateway's own requests, and by the program's.
        (
            Rule::CalloutRouted,
            VARIANT,
            |files| files.set(ROUTES, &format!("{HOST}/routes/2/route"), "cluster", json!(OAUTH2)),
            "clusters.yaml",
        ),
        (
            Rule::Probe,
            VARIANT,
            |files| {
                let route = "/resources/0/virtual_hosts/0/routes/0/route";
                files.set("routes-probe.yaml", route, "cluster", json!(BEARER));
            },
            "clusters.yaml",
        ),
        // A filter before the doors, which asks with what the client wrote, and tells the client what came of it.
        (
            Rule::CalloutRouted,
            VARIANT,
            |files| {
                let filter = json!({"name": "envoy.filters.http.ext_authz", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                    "http_service": {"server_uri": {"uri": "https://x", "cluster": BEARER, "timeout": "1s"}},
                }});
                files.list(ENVOY, &format!("{MANAGER}/http_filters")).insert(0, filter);
            },
            "clusters.yaml",
        ),
        // A cluster that is made of it has its hosts and its certificate.
        (
            Rule::CalloutRouted,
            VARIANT,
            |files| {
                let made_of = json!({
                    "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                    "name": "all", "lb_policy": "CLUSTER_PROVIDED",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        },
                    },
                    "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                        "clusters": [OAUTH2],
                    }},
                });
                files.list(CLUSTERS, "/resources").push(made_of);
                files.set(ROUTES, &format!("{HOST}/routes/2/route"), "cluster", json!("all"));
            },
            "clusters.yaml",
        ),
    ]
}

/// Somebody is shown a credential of another's.
fn shown() -> Vec<Case> {
    vec![
        (
            Rule::CalloutCredential,
            VARIANT,
            |files| {
                let path = "/resources/0/generic_secret/secret";
                let file = format!("secret-{BEARER}.yaml");
                files.set(&file, path, "filename", json!("/gateway/serviceaccount/token"));
            },
            "clusters.yaml",
        ),
        // As the client's secret, that is: the issuer that gives out tokens for a server would see it.
        (
            Rule::CalloutCredential,
            VARIANT,
            |files| {
                let path = "/resources/0/generic_secret/secret";
                let file = format!("secret-{OAUTH2}.yaml");
                files.set(&file, path, "filename", json!("/gateway/serviceaccount/token"));
            },
            "clusters.yaml",
        ),
        // The client's secret goes there.
        (
            Rule::CalloutCredential,
            VARIANT,
            |files| {
                let cluster = cluster(files, TOKEN).as_object_mut().unwrap();
                cluster.insert("type".into(), json!("ORIGINAL_DST"));
            },
            "clusters.yaml",
        ),
        // One server would see the questions for another one, and with its own credential.
        (
            Rule::CalloutCredential,
            VARIANT,
            |files| {
                files.plugin(|document| {
                    document["calloutClusters"]["groupSources/userinfo"] = json!(BEARER);
                });
            },
            "clusters.yaml",
        ),
        (
            Rule::CalloutCredential,
            VARIANT,
            |files| {
                let cluster = cluster(files, BEARER).as_object_mut().unwrap();
                cluster.remove("type");
                cluster.insert(
                    "cluster_type".into(),
                    json!({"name": "envoy.clusters.dynamic_forward_proxy"}),
                );
            },
            "clusters.yaml",
        ),
        (
            Rule::CalloutCredential,
            VARIANT,
            |files| {
                files.plugin(|document| {
                    document["issuerClusters"]["https://issuer.example"] = json!(BEARER);
                });
            },
            "clusters.yaml",
        ),
        (
            Rule::LenientInjector,
            VARIANT,
            |files| injector(files, OAUTH2)["allow_request_without_credential"] = json!(true),
            "http_filters[1].typed_config",
        ),
    ]
}

/// It is not who it is to be, or is not there.
fn trusted() -> Vec<Case> {
    vec![
        (
            Rule::UpstreamTrust,
            VARIANT,
            |files| {
                trust(files, BEARER)["validation_context"]
                    .as_object_mut()
                    .unwrap()
                    .remove("match_typed_subject_alt_names");
            },
            "clusters.yaml",
        ),
        (
            Rule::UpstreamTrust,
            VARIANT,
            |files| {
                trust(files, TOKEN).as_object_mut().unwrap().remove("combined_validation_context");
            },
            "clusters.yaml",
        ),
        (
            Rule::UpstreamTrust,
            VARIANT,
            |files| {
                let endpoint = "http://login.example/token";
                injector(files, OAUTH2)["credential"]["typed_config"]["token_endpoint"]["uri"] =
                    json!(endpoint);
            },
            "token_endpoint",
        ),
        (
            Rule::CalloutCluster,
            VARIANT,
            |files| files.list(CLUSTERS, "/resources").retain(|it| it["name"] != TOKEN),
            "token_endpoint",
        ),
        (
            Rule::CalloutCluster,
            VARIANT,
            |files| files.list(CLUSTERS, "/resources").retain(|it| it["name"] != BEARER),
            "configuration",
        ),
    ]
}
