//! What a running Envoy tells of its configuration is judged as the files are.

use gateway_lint::{Finding, Rule, Sources, lint};
use serde_json::{Value, json};

use super::{CLUSTERS, CONNECTIONS, ENVOY, Files, GATE, GATEWAY, PROBE, ROUTES, STRIP};

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3";

/// The parts of a dump of an Envoy to which a control plane has delivered everything.
fn dump(mut files: Files) -> Vec<Value> {
    let listeners = files.at(ENVOY, "/static_resources/listeners").take();
    let listener = |it: &Value| json!({"name": it["name"], "active_state": {"listener": it}});
    let resources = |files: &mut Files, name: &str| files.list(name, "/resources").clone();
    let wrapped = |items: Vec<Value>, field: &str| -> Vec<Value> {
        items.into_iter().map(|item| json!({field: item})).collect()
    };
    let filters =
        [CONNECTIONS, STRIP, GATEWAY, GATE].map(|name| resources(&mut files, name).remove(0));
    let clusters = wrapped(resources(&mut files, CLUSTERS), "cluster");
    let routes = [ROUTES, PROBE].map(|name| resources(&mut files, name)).concat();
    let routes = wrapped(routes, "route_config");
    let mut bootstrap = files.at(ENVOY, "").take();
    bootstrap["dynamic_resources"] = json!({"lds_config": {"ads": {}}, "cds_config": {"ads": {}}});
    bootstrap.as_object_mut().unwrap().remove("static_resources");
    vec![
        json!({"@type": format!("{ADMIN}.BootstrapConfigDump"), "bootstrap": bootstrap}),
        json!({
            "@type": format!("{ADMIN}.ListenersConfigDump"),
            "dynamic_listeners": listeners.as_array().unwrap().iter().map(listener).collect::<Vec<_>>(),
        }),
        json!({"@type": format!("{ADMIN}.ClustersConfigDump"), "dynamic_active_clusters": clusters}),
        json!({"@type": format!("{ADMIN}.RoutesConfigDump"), "dynamic_route_configs": routes}),
        json!({"@type": format!("{ADMIN}.EcdsConfigDump"), "ecds_filters": wrapped(filters.into(), "ecds_filter")}),
    ]
}

fn judge(parts: &[Value]) -> Vec<Finding> {
    lint(&Sources::from_values(vec![("config_dump".to_owned(), json!({"configs": parts}))]))
}

#[test]
fn a_dump_is_as_clean_as_its_files() {
    assert_eq!(judge(&dump(Files::of("in-cluster"))), []);
    let mut broken = Files::of("in-cluster");
    broken.list(ROUTES, "/resources/0/virtual_hosts/0/routes").pop();
    let findings = judge(&dump(broken));
    assert!(findings.iter().all(|it| it.rule == Rule::LastRoute), "{findings:?}");
    assert_eq!(findings.len(), 1);
}

/// Two listeners may have filters, or routes, of one name from different sources. A dump does not tell which is whose.
#[test]
fn what_is_there_twice_under_one_name_is_no_proof() {
    for (part, list, item) in
        [(4, "ecds_filters", "ecds_filter"), (3, "dynamic_route_configs", "route_config")]
    {
        let mut parts = dump(Files::of("in-cluster"));
        let items = parts[part][list].as_array_mut().unwrap();
        let name = if part == 4 { "gate" } else { "gateway" };
        let one = items.iter().find(|it| it[item]["name"] == name).unwrap().clone();
        items.push(one.clone());
        assert_eq!(judge(&parts), [], "the same twice");
        let mut other = one;
        other[item]["typed_config"] =
            json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"});
        other[item]["virtual_hosts"] = json!([]);
        parts[part][list].as_array_mut().unwrap().push(other);
        let findings = judge(&parts);
        assert!(findings.iter().any(|it| it.rule == Rule::Unread), "{findings:?}");
    }
}

/// Envoy's administration leaves parts out when it is asked to (`?resource=`).
#[test]
fn a_part_that_is_not_there_is_no_proof() {
    for part in 1..5 {
        let mut parts = dump(Files::of("in-cluster"));
        let part = parts.remove(part);
        assert_ne!(judge(&parts), [], "without {}", part["@type"]);
    }
}

/// The cluster of a control plane shows a certificate too, but nobody is led there.
#[test]
fn a_certificate_is_the_credential_where_clients_are_led_to_it() {
    let secrets = json!({"tls_certificate_sds_secret_configs": [{"name": "xds_certificate"}]});
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": secrets,
    });
    let cluster =
        json!({"name": "xds_cluster", "transport_socket": {"name": "tls", "typed_config": tls}});
    let proxy = |target: Value| {
        let mut config = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
        });
        config.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        let filters = json!([{"name": "tcp", "typed_config": config}]);
        json!({"active_state": {"listener": {"name": "tcp", "filter_chains": [{"filters": filters}]}}})
    };
    let weighted =
        json!({"weighted_clusters": {"clusters": [{"name": "xds_cluster", "weight": 1}]}});
    for (listener, found) in [
        (None, false),
        (Some(proxy(json!({"cluster": "elsewhere"}))), false),
        (Some(proxy(json!({"cluster": "xds_cluster"}))), true),
        (Some(proxy(weighted)), true),
    ] {
        let mut parts = dump(Files::of("in-cluster"));
        let list = |part: &mut Value, field: &str, item: Value| {
            part[field].as_array_mut().unwrap().push(item);
        };
        list(&mut parts[2], "dynamic_active_clusters", json!({"cluster": cluster}));
        if let Some(listener) = &listener {
            list(&mut parts[1], "dynamic_listeners", listener.clone());
        }
        let findings = judge(&parts);
        assert_eq!(findings.iter().any(|it| it.rule == Rule::NoDoor), found, "{listener:?}");
        assert_eq!(findings.is_empty(), !found, "{findings:?}");
    }
}
