//! What a gateway's conditions rely on: that a request reaches the API server by the path that they judged, and that its address is its
//! client's.

use crate::{
    chain,
    finding::{Findings, Rule},
    model::{Manager, Model},
    plugin::Plugin,
};

/// What gives a route's request another path.
const REWRITES: [&str; 4] =
    ["prefix_rewrite", "regex_rewrite", "path_rewrite", "path_rewrite_policy"];

/// Routes come behind the filter. One that rewrites a path would let the API server see another request than the conditions did.
pub fn check(manager: &Manager<'_>, plugin: &Plugin, findings: &mut Findings) {
    if !plugin.has_conditions {
        return;
    }
    let hosts = manager.routes.iter().flat_map(|routes| routes.items("virtual_hosts"));
    for route in hosts.flat_map(|host| host.items("routes")) {
        let Some(action) = route.get("route") else { continue };
        for field in REWRITES {
            if let Some(rewrite) = action.get(field) {
                let message = "it rewrites the path that the conditions have judged";
                findings.add(Rule::PathRewrite, &rewrite, message);
            }
        }
    }
}

/// What may be wrong, where the configuration alone cannot say: a balancer before Envoy whose address every client has.
pub fn warnings(model: &Model<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for manager in &model.managers {
        let Some(chain) = chain::find(manager) else { continue };
        let plugin = crate::plugin::check(&chain.gateway, model, &mut Findings::default());
        if plugin.reads_address && !knows_clients(manager) {
            warnings.push(format!(
                "{}: a condition reads request.address, and nothing before Envoy is trusted to say it (xff_num_trusted_hops, original_ip_detection_extensions, PROXY protocol): behind a balancer every client has the balancer's",
                manager.node
            ));
        }
    }
    warnings
}

/// Whether somebody before Envoy says where a request comes from.
fn knows_clients(manager: &Manager<'_>) -> bool {
    let by_proxy_protocol = manager.listener.items("listener_filters").iter().any(|filter| {
        filter.get("typed_config").is_some_and(|config| config.type_name() == "ProxyProtocol")
    });
    let node = &manager.node;
    by_proxy_protocol
        || node.number("xff_num_trusted_hops").is_some_and(|hops| hops > 0)
        || !node.items("original_ip_detection_extensions").is_empty()
}
