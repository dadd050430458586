//! The program's own way to servers: as requests go, but without the gateway's credential.

use serde_json::{Map, Value};

use crate::{
    clusters,
    finding::{Findings, Rule},
    model::{Cluster, Manager, Model},
    node::Node,
    routes::targets,
};

/// kube-apiserver under a CA that is not served with yet: a reload asks by it, and takes it away again.
const CANDIDATE: &str = "apiserver_candidate";

/// The state that says where a tunnel leads.
const TARGET: &str = "issuer.target";

/// What of a TLS context may differ: who the gateway is, what is spoken inside, and whether handshakes are abridged.
const OWN: [&str; 2] = ["max_session_keys", "common_tls_context"];
const OWN_COMMON: [&str; 3] =
    ["alpn_protocols", "tls_certificates", "tls_certificate_sds_secret_configs"];
const TRUST: [&str; 2] = ["validation_context", "combined_validation_context"];

pub fn check(manager: &Manager<'_>, model: &Model<'_>, findings: &mut Findings) {
    let pipe = manager.listener.at(&["address", "pipe"]);
    let private = pipe.is_some_and(|it| it.number("mode") == Some(0o600));
    let message = "others than the program can ask servers by it";
    findings.demand(private, Rule::Probe, &manager.listener, message);
    check_state(manager, findings);
    let Some(routes) = &manager.routes else {
        findings.add(Rule::Unread, &manager.node, "its routes were not read");
        return;
    };
    for route in routes.items("virtual_hosts").iter().flat_map(|host| host.items("routes")) {
        check_route(&route, model, findings);
    }
}

/// The state of a request is what doors look at: no question has one that opens them.
fn check_state(manager: &Manager<'_>, findings: &mut Findings) {
    for filter in manager.filters.iter().filter(|it| it.sets_state()) {
        for set in filter.config.items("on_request_headers") {
            let own = set.text("object_key") == Some(TARGET);
            let message = "it sets a state that is no tunnel's";
            findings.demand(own, Rule::Probe, &set, message);
        }
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
        } else if !is_issuers(cluster, model) {
            check_same_way(cluster, model, findings);
        }
    }
}

/// Whether it is for issuers: the filter says so, or it is a candidate that leads where no request goes.
fn is_issuers(cluster: &Cluster<'_>, model: &Model<'_>) -> bool {
    let elsewhere = || model.with_credential().all(|it| endpoints(it) != endpoints(cluster));
    model.named.issuers.iter().any(|name| name == cluster.name)
        || cluster.may_be_issuers() && elsewhere()
}

/// It finds what requests find: the same servers, the same TLS. Whom a candidate believes is what is in question: somebody, by the same
/// name.
fn check_same_way(cluster: &Cluster<'_>, model: &Model<'_>, findings: &mut Findings) {
    let candidate = cluster.name == CANDIDATE;
    if candidate {
        clusters::check_trust(&cluster.node, findings);
    }
    for requests in model.with_credential() {
        let mut own = Findings::default();
        clusters::check_trust(&requests.node, &mut own);
        if !own.into_vec().is_empty() {
            // That is a finding of its own.
            continue;
        }
        let believes = if candidate {
            names(cluster) == names(requests)
        } else {
            trust(cluster) == trust(requests)
        };
        let same =
            endpoints(cluster) == endpoints(requests) && tls(cluster) == tls(requests) && believes;
        let message = format!("it does not lead where {:?} leads, by the same TLS", requests.name);
        findings.demand(same, Rule::Probe, &cluster.node, &message);
    }
}

fn endpoints<'a>(cluster: &Cluster<'a>) -> Option<&'a Value> {
    cluster.node.at(&["load_assignment", "endpoints"]).map(|it| it.value())
}

/// The TLS context without what may differ, and without whom it believes.
fn tls(cluster: &Cluster<'_>) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let context = cluster.node.at(&["transport_socket", "typed_config"])?;
    let without = |value: &Value, own: &[&str]| {
        let mut fields = value.as_object()?.clone();
        fields.retain(|name, _| !own.contains(&name.as_str()));
        Some(fields)
    };
    let common = context.get("common_tls_context")?;
    let own = [&OWN_COMMON[..], &TRUST].concat();
    Some((without(context.value(), &OWN)?, without(common.value(), &own)?))
}

/// Whom it believes.
fn trust<'a>(cluster: &Cluster<'a>) -> [Option<&'a Value>; 2] {
    let common = cluster.node.at(&["transport_socket", "typed_config", "common_tls_context"]);
    TRUST.map(|field| common.as_ref().and_then(|it| it.get(field)).map(|it| it.value()))
}

/// The names of which it wants one, whoever signed for it.
fn names<'a>(cluster: &Cluster<'a>) -> Vec<&'a Value> {
    const FIELDS: [&str; 2] = ["match_typed_subject_alt_names", "match_subject_alt_names"];
    let contexts = trust(cluster).into_iter().flatten();
    let inner = contexts.map(|it| it.get("default_validation_context").unwrap_or(it));
    inner.flat_map(|it| FIELDS.map(|field| it.get(field))).flatten().collect()
}
