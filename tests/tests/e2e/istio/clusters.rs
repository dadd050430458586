//! The clusters that istiod makes of a `ServiceEntry` and a `DestinationRule`, as far as the gateway's have any.
//!
//! istiod's own code does not run in the tests. What it made of some such objects lies in `istiod/gateway.json`, and this module
//! has to come to the same.

use serde_json::{Value, json};

/// The clusters for some objects.
pub fn made_of(objects: &[Value]) -> Vec<Value> {
    let rules = objects.iter().filter(|it| it["kind"] == "DestinationRule");
    rules.flat_map(|rule| of_rule(rule, objects)).collect()
}

fn of_rule(rule: &Value, objects: &[Value]) -> Vec<Value> {
    let host = &rule["spec"]["host"];
    let entry = objects
        .iter()
        .find(|it| it["kind"] == "ServiceEntry" && it["spec"]["hosts"] == json!([host]));
    match rule["spec"]["subsets"].as_array() {
        Some(subsets) => {
            let subset = |it: &Value| cluster(rule, &it["name"], &it["trafficPolicy"], entry);
            subsets.iter().map(subset).collect()
        }
        None => vec![cluster(rule, &json!(""), &rule["spec"]["trafficPolicy"], entry)],
    }
}

fn cluster(rule: &Value, subset: &Value, policy: &Value, entry: Option<&Value>) -> Value {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (host, subset) = (text(&rule["spec"]["host"]), text(subset));
    // kube-apiserver's Service has this port.
    let port = entry.map_or(json!(443), |it| it["spec"]["ports"][0]["number"].clone());
    let name = format!("outbound|{port}|{subset}|{host}");
    let (tcp, http) = (&policy["connectionPool"]["tcp"], &policy["connectionPool"]["http"]);
    let h2 = http["h2UpgradePolicy"] == "UPGRADE";
    let mut protocol = json!({"http_protocol_options": {}});
    if h2 {
        let streams = &http["maxConcurrentStreams"];
        protocol = json!({"http2_protocol_options": {"max_concurrent_streams": streams}});
    }
    let mut options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": http["idleTimeout"]},
        "explicit_http_config": protocol,
    });
    if policy["tls"]["sni"].is_null() {
        options["upstream_http_protocol_options"] = json!({"auto_sni": true});
    }
    let limits = json!({
        "max_connections": tcp["maxConnections"],
        "max_pending_requests": http["http1MaxPendingRequests"],
        "max_requests": http["http2MaxRequests"],
        "max_retries": http["maxRetries"],
    });
    let mut cluster = json!({
        "name": name,
        "connect_timeout": tcp["connectTimeout"],
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        },
        "transport_socket": socket(&policy["tls"], h2),
    });
    let keepalive = &tcp["tcpKeepalive"];
    if keepalive.is_object() {
        let seconds = |field: &str| -> u64 {
            text(&keepalive[field]).strip_suffix('s').unwrap().parse().unwrap()
        };
        cluster["upstream_connection_options"] = json!({"tcp_keepalive": {
            "keepalive_probes": keepalive["probes"],
            "keepalive_time": seconds("time"),
            "keepalive_interval": seconds("interval"),
        }});
    }
    if entry.is_some_and(|it| it["spec"]["resolution"] == "DNS") {
        cluster["type"] = json!("STRICT_DNS");
    } else {
        cluster["type"] = json!("EDS");
        cluster["eds_cluster_config"] = json!({
            "eds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "service_name": name,
        });
    }
    cluster
}

fn socket(tls: &Value, h2: bool) -> Value {
    let agent = json!({
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
        "set_node_on_first_message_only": true,
    });
    let names: Vec<_> =
        tls["subjectAltNames"].as_array().unwrap().iter().map(|it| json!({"exact": it})).collect();
    let mut common = json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "combined_validation_context": {
            "default_validation_context": {"match_subject_alt_names": names},
            "validation_context_sds_secret_config": {
                "name": format!("file-root:{}", tls["caCertificates"].as_str().unwrap()),
                "sds_config": {"api_config_source": agent, "resource_api_version": "V3"},
            },
        },
    });
    if h2 {
        common["alpn_protocols"] = json!(["h2"]);
    }
    let mut config = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    });
    if tls["sni"].is_string() {
        config["sni"] = tls["sni"].clone();
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
}

/// What a cluster of istiod's has beside, and what is no concern of the gateway's: how it counts, what it says of itself to
/// Istio's own filters, and how it asks DNS.
const BESIDE: [&str; 10] = [
    "alt_stat_name",
    "common_lb_config",
    "dns_jitter",
    "dns_lookup_family",
    "dns_refresh_rate",
    "filters",
    "load_assignment",
    "metadata",
    "respect_dns_ttl",
    "typed_dns_resolver_config",
];

#[test]
fn clusters_are_those_of_istiod() {
    let objects = serde_saphyr::from_multiple::<Value>(super::fixtures::GATEWAY_OBJECTS).unwrap();
    let mut made = made_of(&objects);
    let dump: Value = serde_json::from_str(super::fixtures::GATEWAY).unwrap();
    let mut want = dump["clusters"].as_array().unwrap().clone();
    for cluster in &mut want {
        cluster.as_object_mut().unwrap().retain(|field, _| !BESIDE.contains(&field.as_str()));
    }
    let by_name = |it: &Value| it["name"].as_str().unwrap().to_owned();
    made.sort_by_key(by_name);
    want.sort_by_key(by_name);
    assert_eq!(made, want);
    assert_eq!(made.len(), 4);
}
