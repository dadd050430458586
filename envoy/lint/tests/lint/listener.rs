//! The listener around the filter.

use gateway_lint::Rule;
use serde_json::json;

use super::{CONNECTIONS, Case, ENVOY, GATEWAY, MANAGER};

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::Unread,
            "in-cluster",
            |files| {
                let source = json!({"ads": {}});
                files.set(ENVOY, &format!("{MANAGER}/rds"), "config_source", source);
            },
            "rds.config_source",
        ),
        (
            Rule::AdminTcp,
            "in-cluster",
            |files| {
                let address = json!({"socket_address": {"address": "0.0.0.0", "port_value": 9901}});
                files.set(ENVOY, "/admin", "address", address);
            },
            "admin.address.socket_address",
        ),
        (
            Rule::NoTls,
            "in-cluster",
            |files| {
                let chain = "/static_resources/listeners/0/filter_chains/0";
                files.remove(ENVOY, chain, "transport_socket");
            },
            "filter_chains[0]",
        ),
        (
            Rule::ClientAddress,
            "in-cluster",
            |files| files.remove(ENVOY, MANAGER, "use_remote_address"),
            "filters[1].typed_config",
        ),
        (
            Rule::ProxyProtocol,
            "proxies",
            |files| {
                let chain = "/static_resources/listeners/1/filter_chains/0";
                files.remove(ENVOY, chain, "filter_chain_match");
            },
            "filter_chains[0]",
        ),
        (
            Rule::ProxyProtocol,
            "proxies",
            |files| {
                let filter = "/static_resources/listeners/1/listener_filters/0/typed_config";
                files.set(ENVOY, filter, "allow_requests_without_proxy_protocol", json!(true));
            },
            "listener_filters[0].typed_config",
        ),
        (
            Rule::Connections,
            "in-cluster",
            |files| files.plugin(|document| document["countsConnections"] = json!(false)),
            "filter-connections.yaml",
        ),
        (
            Rule::Connections,
            "in-cluster",
            |files| {
                let filters = "/static_resources/listeners/0/filter_chains/0/filters";
                files.list(ENVOY, filters).remove(0);
            },
            "filter-gateway.yaml",
        ),
        (
            Rule::Connections,
            "in-cluster",
            |files| {
                let config = "/resources/0/typed_config/config";
                files.set(CONNECTIONS, config, "failure_policy", json!("FAIL_CLOSED"));
            },
            "filter-connections.yaml",
        ),
        // When the gateway's VM dies, Envoy would end every connection that has passed it.
        (
            Rule::Connections,
            "in-cluster",
            |files| {
                let config = "/resources/0/typed_config/config/vm_config";
                let id = files.at(GATEWAY, config)["vm_id"].clone();
                files.set(CONNECTIONS, config, "vm_id", id);
            },
            "filter-connections.yaml",
        ),
        (
            Rule::RequestId,
            "in-cluster",
            |files| files.set(ENVOY, MANAGER, "preserve_external_request_id", json!(true)),
            "filters[1].typed_config",
        ),
        // 0 is no end at all: a request whose VM died would hang for ever.
        (
            Rule::UndecidedTimeout,
            "in-cluster",
            |files| files.set(ENVOY, MANAGER, "stream_idle_timeout", json!("0s")),
            "filters[1].typed_config",
        ),
        (
            Rule::UndecidedTimeout,
            "in-cluster",
            |files| files.remove(ENVOY, MANAGER, "stream_idle_timeout"),
            "filters[1].typed_config",
        ),
        (
            Rule::RequestTimeout,
            "in-cluster",
            |files| files.set(ENVOY, MANAGER, "request_timeout", json!("30s")),
            "filters[1].typed_config",
        ),
        (
            Rule::Upgrades,
            "in-cluster",
            |files| {
                let upgrades = files.list(ENVOY, &format!("{MANAGER}/upgrade_configs"));
                upgrades.push(json!({"upgrade_type": "CONNECT"}));
            },
            "upgrade_configs[2]",
        ),
        (
            Rule::Upgrades,
            "in-cluster",
            |files| {
                files.list(ENVOY, &format!("{MANAGER}/upgrade_configs")).pop();
            },
            "filters[1].typed_config",
        ),
        // A chain of their own has none of the doors.
        (
            Rule::Upgrades,
            "in-cluster",
            |files| {
                let router = json!([{"name": "envoy.filters.http.router"}]);
                files.set(ENVOY, &format!("{MANAGER}/upgrade_configs/0"), "filters", router);
            },
            "upgrade_configs[0]",
        ),
        (
            Rule::ConnectionEnd,
            "outside",
            |files| files.remove(ENVOY, MANAGER, "http1_safe_max_connection_duration"),
            "filters[1].typed_config",
        ),
        (
            Rule::Underscores,
            "in-cluster",
            |files| {
                let options = format!("{MANAGER}/common_http_protocol_options");
                files.set(ENVOY, &options, "headers_with_underscores_action", json!("ALLOW"));
            },
            "filters[1].typed_config",
        ),
        (
            Rule::Credential401,
            "in-cluster",
            |files| files.remove(ENVOY, MANAGER, "local_reply_config"),
            "filters[1].typed_config",
        ),
        (
            Rule::Around,
            "in-cluster",
            |files| {
                let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "apiserver_impersonate_h2"}});
                let manager = json!({
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "httpFilters": [],
                    "routeConfig": {"virtualHosts": [{"domains": ["*"], "routes": [route]}]},
                });
                let filter = json!({"name": "hcm", "typed_config": manager});
                let listener = json!({"filterChains": [{"filters": [filter]}]});
                files.list(ENVOY, "/static_resources/listeners").push(listener);
            },
            "listeners[2].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route",
        ),
    ]
}
