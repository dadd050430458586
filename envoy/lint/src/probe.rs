//! The program's own way to servers: as requests go, but without the gateway's credential.

use serde_json::{Map, Value};

use crate::{
    clusters,
    finding::{Findings, Rule},
    model::{Cluster, Manager, Model},
    node::Node,
    routes::targets,
};

/// What the program's own questions are counted under.
const NAME: &str = "probe";

/// What of a TLS context may differ: who the gateway is, what is spoken inside, and whether handshakes are abridged.
const OWN: [&str; 2] = ["max_session_keys", "common_tls_context"];
const OWN_COMMON: [&str; 3] =
    ["alpn_protocols", "tls_certificates", "tls_certificate_sds_secret_configs"];

/// Whether a connection manager is for the program's questions.
pub fn is_probe(manager: &Manager<'_>) -> bool {
    manager.node.text("stat_prefix") == Some(NAME)
        && manager.filters.iter().all(|filter| filter.is("Router"))
}

pub fn check(manager: &Manager<'_>, model: &Model<'_>, findings: &mut Findings) {
    let pipe = manager.listener.at(&["address", "pipe"]);
    let private = pipe.is_some_and(|it| it.number("mode") == Some(0o600));
    let message = "others than the program can ask servers by it";
    findings.demand(private, Rule::Probe, &manager.listener, message);
    let Some(routes) = &manager.routes else {
        findings.add(Rule::Unread, &manager.node, "its routes were not read");
        return;
    };
    for route in routes.items("virtual_hosts").iter().flat_map(|host| host.items("routes")) {
        check_route(&route, model, findings);
    }
}

fn check_route(route: &Node<'_>, model: &Model<'_>, findings: &mut Findings) {
    let Some(action) = route.get("route") else {
        let answers = route.get("direct_response").is_some();
        findings.demand(answers, Rule::Probe, route, "it leads on, nobody can say where");
        return;
    };
    let names = targets(&action);
    let chosen = names.is_empty() || !action.items("request_mirror_policies").is_empty();
    findings.demand(!chosen, Rule::Probe, &action, "its clusters cannot be foreseen");
    for name in names {
        let Some(cluster) = model.cluster(name) else { continue };
        if model.has_credential(cluster) {
            let message = format!("it leads to {name:?}, which carries the credential");
            findings.add(Rule::Probe, &action, message);
        } else if !model.named.issuers.iter().any(|issuer| issuer == name) {
            check_same_way(cluster, model, findings);
        }
    }
}

/// It finds what requests find: the same servers, the same TLS.
fn check_same_way(cluster: &Cluster<'_>, model: &Model<'_>, findings: &mut Findings) {
    for requests in model.with_credential() {
        let mut own = Findings::default();
        clusters::check_trust(&requests.node, &mut own);
        if !own.into_vec().is_empty() {
            // That is a finding of its own.
            continue;
        }
        let same = endpoints(cluster) == endpoints(requests) && tls(cluster) == tls(requests);
        let message = format!("it does not lead where {:?} leads, by the same TLS", requests.name);
        findings.demand(same, Rule::Probe, &cluster.node, &message);
    }
}

fn endpoints<'a>(cluster: &Cluster<'a>) -> Option<&'a Value> {
    cluster.node.at(&["load_assignment", "endpoints"]).map(|it| it.value())
}

/// The TLS context without what may differ.
fn tls(cluster: &Cluster<'_>) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let context = cluster.node.at(&["transport_socket", "typed_config"])?;
    let without = |value: &Value, own: &[&str]| {
        let mut fields = value.as_object()?.clone();
        fields.retain(|name, _| !own.contains(&name.as_str()));
        Some(fields)
    };
    let common = context.get("common_tls_context")?;
    Some((without(context.value(), &OWN)?, without(common.value(), &OWN_COMMON)?))
}
