//! The listener around the filter: who the client is, how long what may take, what may be upgraded.

use std::time::Duration;

use crate::{
    finding::{Findings, Rule},
    form::Form,
    model::{Filter, Manager, Model, names},
    native,
    node::Node,
    plugin::Plugin,
};

/// A request that no route holds yet must end soon, but not before the filter has given up waiting.
const UNDECIDED: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);

/// What kube-apiserver upgrades to.
const UPGRADES: [&str; 2] = ["websocket", "spdy/3.1"];

pub fn check_admin(model: &Model<'_>, findings: &mut Findings) {
    if let Some(address) = model.bootstrap.at(&["admin", "address", "socket_address"]) {
        findings.add(Rule::AdminTcp, &address, "the admin interface listens on TCP");
    }
}

/// Network filters that are no connection managers: no door is in them, and none may lead to the credential.
pub fn check_others(model: &Model<'_>, findings: &mut Findings) {
    for filter in &model.others {
        let mut named = Vec::new();
        names(filter.value(), &mut named);
        let clusters = named.into_iter().filter_map(|name| model.cluster(name));
        for cluster in clusters.filter(|it| model.has_credential(it)) {
            let message = format!("it leads to {:?}, which carries the credential", cluster.name);
            findings.add(Rule::Around, filter, message);
        }
    }
}

/// The settings of a connection manager that runs the filter.
pub fn check(manager: &Manager<'_>, findings: &mut Findings) {
    let node = &manager.node;
    let tls = manager.filter_chain.at(&["transport_socket", "typed_config"]);
    let tls = tls.is_some_and(|it| it.type_name() == "DownstreamTlsContext");
    findings.demand(tls, Rule::NoTls, &manager.filter_chain, "clients connect without TLS");
    check_client(node, findings);
    check_proxy_protocol(manager, findings);
    let idle = node.duration("stream_idle_timeout").unwrap_or(Duration::from_secs(300));
    if !UNDECIDED.contains(&idle) {
        findings.add(Rule::UndecidedTimeout, node, format!("stream_idle_timeout is {idle:?}"));
    }
    check_ends(node, findings);
    check_upgrades(node, findings);
    let action = node
        .get("common_http_protocol_options")
        .and_then(|it| it.text("headers_with_underscores_action"));
    findings.demand(
        matches!(action, Some("DROP_HEADER" | "REJECT_REQUEST")),
        Rule::Underscores,
        node,
        "header names with underscores pass",
    );
    let mappers = node.get("local_reply_config").map(|it| it.items("mappers"));
    let remapped =
        mappers.unwrap_or_default().iter().any(|it| it.number("status_code") == Some(503));
    findings.demand(remapped, Rule::Credential401, node, "no local reply becomes 503");
}

/// Who the client is, and the id of its request.
pub fn check_client(node: &Node<'_>, findings: &mut Findings) {
    let by_peer = node.flag("use_remote_address");
    let detections = node.items("original_ip_detection_extensions");
    let by_proxies = !detections.is_empty()
        && detections.iter().filter_map(|it| it.get("typed_config")).all(|it| {
            it.type_name() == "XffConfig"
                && it
                    .get("xff_trusted_cidrs")
                    .is_some_and(|ranges| !ranges.items("cidrs").is_empty())
        });
    findings.demand(
        by_peer || by_proxies,
        Rule::ClientAddress,
        node,
        "use_remote_address is not true",
    );
    if node.flag("preserve_external_request_id") {
        findings.add(Rule::RequestId, node, "preserve_external_request_id is true");
    }
    let removed = node
        .items("early_header_mutation_extensions")
        .iter()
        .filter_map(|it| it.get("typed_config"))
        .flat_map(|it| it.items("mutations"))
        .any(|it| it.text("remove") == Some("x-request-id"));
    if by_proxies && !by_peer && !removed {
        let message = "without use_remote_address a client's own x-request-id is kept";
        findings.add(Rule::RequestId, node, message);
    }
}

/// Whose word counts at the beginning of a connection.
fn check_proxy_protocol(manager: &Manager<'_>, findings: &mut Findings) {
    let filters = manager.listener.items("listener_filters");
    let filters = filters.iter().filter_map(|it| it.get("typed_config"));
    for filter in filters.filter(|it| it.type_name() == "ProxyProtocol") {
        let chain = &manager.filter_chain;
        let named = chain
            .get("filter_chain_match")
            .is_some_and(|it| !it.items("direct_source_prefix_ranges").is_empty());
        findings.demand(named, Rule::ProxyProtocol, chain, "anybody may send a PROXY header");
        if filter.flag("allow_requests_without_proxy_protocol") {
            let message = "connections without a PROXY header are let in";
            findings.add(Rule::ProxyProtocol, &filter, message);
        }
    }
}

/// The network filter that counts connections of which no user is known, and the gateway that tells it of users.
pub fn check_connections(
    manager: &Manager<'_>,
    gateway: &Filter<'_>,
    plugin: &Plugin,
    findings: &mut Findings,
) {
    // Other network filters may be Wasm, too.
    let counting = manager.before.iter().filter_map(|it| {
        let (form, settings) = match it.type_name() {
            "Wasm" => (Form::Wasm, it.at(&["config", "configuration"])),
            "DynamicModuleNetworkFilter" => (Form::Native, it.get("filter_config")),
            _ => return None,
        };
        settings?.text("value")?.starts_with("per_address=").then_some((form, it))
    });
    let counting: Vec<_> = counting.collect();
    match (plugin.marks_connections, counting.first()) {
        (Some(true), None) => {
            let message = "countsConnections is set, and no network filter counts";
            findings.add(Rule::Connections, &gateway.config, message);
        }
        (Some(false), Some((_, filter))) => {
            let message = "the gateway behind it does not mark users' connections";
            findings.add(Rule::Connections, filter, message);
        }
        _ => {}
    }
    let vm = |it: &Node<'_>| it.at(&["config", "vm_config", "vm_id"]).map(|it| it.value().clone());
    for (form, filter) in counting {
        if Some(form) != gateway.form() {
            let message =
                "it is in another form than the gateway's filter, which tells it of no user";
            findings.add(Rule::Connections, filter, message);
            continue;
        }
        if form == Form::Native {
            let message =
                "it is another file than the gateway's filter, so that they share no memory";
            // What is no file of ours is found for that.
            let files = native::file(filter).zip(native::file(&gateway.config));
            let is_same = files.is_none_or(|(one, other)| one == other);
            findings.demand(is_same, Rule::Connections, filter, message);
            continue;
        }
        let Some(config) = filter.get("config") else { continue };
        let reloads = config.text("failure_policy") == Some("FAIL_RELOAD");
        let message = "failure_policy is not FAIL_RELOAD";
        findings.demand(reloads && !config.flag("fail_open"), Rule::Connections, &config, message);
        let message = "it may share a VM with the gateway's filter";
        findings.demand(vm(filter) != vm(&gateway.config), Rule::Connections, &config, message);
    }
}

/// Times that would end what is meant to last. `max_connection_duration` does not: what is under way on a connection goes on.
fn check_ends(node: &Node<'_>, findings: &mut Findings) {
    let options = node.get("common_http_protocol_options");
    for (holder, field) in
        [(Some(node.clone()), "request_timeout"), (options.clone(), "max_stream_duration")]
    {
        let Some(holder) = holder else { continue };
        if let Some(time) = holder.duration(field).filter(|time| !time.is_zero()) {
            findings.add(Rule::RequestTimeout, &holder, format!("{field} is {time:?}"));
        }
    }
    let lasts = |options: Node<'_>| options.duration("max_connection_duration");
    let is_safe = node.flag("http1_safe_max_connection_duration");
    if let Some(time) = options.and_then(lasts).filter(|time| !time.is_zero() && !is_safe) {
        let message = format!("a connection ends after {time:?} without a word to its client");
        findings.add(Rule::ConnectionEnd, node, message);
    }
}

fn check_upgrades(node: &Node<'_>, findings: &mut Findings) {
    let mut missing = UPGRADES.to_vec();
    for upgrade in node.items("upgrade_configs") {
        let kind = upgrade.text("upgrade_type").unwrap_or_default().to_ascii_lowercase();
        let known = missing.iter().position(|it| *it == kind);
        match known {
            Some(index) => {
                missing.remove(index);
            }
            None => findings.add(Rule::Upgrades, &upgrade, format!("upgrade_type {kind:?}")),
        }
        if !upgrade.items("filters").is_empty() {
            findings.add(Rule::Upgrades, &upgrade, "upgrades have filters of their own");
        }
        let enabled = upgrade.get("enabled").is_none_or(|it| it.value() != false);
        findings.demand(enabled, Rule::Upgrades, &upgrade, "the upgrade is not enabled");
    }
    if !missing.is_empty() {
        let message = format!("upgrade_configs lack {}", missing.join(" and "));
        findings.add(Rule::Upgrades, node, message);
    }
}
