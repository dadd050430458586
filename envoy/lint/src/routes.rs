//! The second door: routes that follow the filter's decision, and a last one that refuses.

use std::time::Duration;

use gateway_core::logout;

use crate::{
    finding::{Findings, Rule},
    headers::says_who,
    model::{Cluster, Manager, Model},
    node::Node,
};

/// The decision for which the gateway's credential is.
const IMPERSONATE: &str = "impersonate";

/// The decision for what an issuer says of sessions that have ended. It needs no login.
const LOGOUT: &str = logout::MODE;

/// The routes behind the filter.
pub fn check(manager: &Manager<'_>, model: &Model<'_>, findings: &mut Findings) {
    let Some(config) = &manager.routes else {
        findings.add(Rule::Unread, &manager.node, "its routes were not read");
        return;
    };
    let doors = doors(manager, model);
    check_holder(config, &doors, findings);
    check_read(config, findings);
    mirrors(config, findings);
    for host in config.items("virtual_hosts") {
        check_holder(&host, &doors, findings);
        mirrors(&host, findings);
        let routes = host.items("routes");
        for (index, route) in routes.iter().enumerate() {
            check_route(route, &doors, model, findings);
            let leads_on = route.get("route").is_some();
            let is_numbered = [config, &host, route].into_iter().any(writes_audit_id);
            let message = "kube-apiserver gives the request an id of its own";
            findings.demand(!leads_on || is_numbered, Rule::AuditId, route, message);
            if decision(route) == Some(LOGOUT) {
                check_logout(route, findings);
            } else {
                check_times(route, routes.get(..index).unwrap_or_default(), findings);
            }
        }
        let refuses = |route: &Node<'_>| {
            let everything = route.get("match").is_some_and(|it| {
                it.text("prefix") == Some("/")
                    && it.value().as_object().is_some_and(|fields| fields.len() == 1)
            });
            let answer = route.get("direct_response").and_then(|it| it.number("status"));
            everything && matches!(answer, Some(403 | 421))
        };
        if !routes.last().is_some_and(refuses) {
            let last = routes.last().unwrap_or(&host);
            findings.add(Rule::LastRoute, last, "it does not refuse what no other route takes");
        }
    }
}

/// The routes of a listener without the filter: none may lead to the credential.
pub fn check_unguarded(manager: &Manager<'_>, model: &Model<'_>, findings: &mut Findings) {
    let Some(config) = &manager.routes else {
        findings.add(Rule::Unread, &manager.node, "its routes were not read");
        return;
    };
    check_read(config, findings);
    for host in config.items("virtual_hosts") {
        for route in host.items("routes") {
            let Some(action) = route.get("route") else { continue };
            for name in targets(&action) {
                if model.cluster(name).is_some_and(|it| model.has_credential(it)) {
                    let message = format!("it leads to {name:?}, which carries the credential");
                    findings.add(Rule::Around, &action, message);
                }
            }
            let chosen =
                action.get("cluster_header").or_else(|| action.get("cluster_specifier_plugin"));
            if let Some(chosen) = chosen {
                findings.add(Rule::OpenCluster, &chosen, "its cluster cannot be foreseen");
            }
        }
    }
}

/// Routes may stand elsewhere, too.
fn check_read(config: &Node<'_>, findings: &mut Findings) {
    if let Some(vhds) = config.get("vhds") {
        findings.add(Rule::Unread, &vhds, "virtual hosts from elsewhere were not read");
    }
    for matcher in config.items("virtual_hosts").iter().filter_map(|host| host.get("matcher")) {
        findings.add(Rule::Unread, &matcher, "a matcher of routes is not read");
    }
}

fn check_route(route: &Node<'_>, doors: &[&str], model: &Model<'_>, findings: &mut Findings) {
    check_holder(route, doors, findings);
    if route.get("filter_action").is_some() || route.get("non_forwarding_action").is_some() {
        findings.add(Rule::RouteWithoutDecision, route, "its action is not a route");
    }
    let Some(action) = route.get("route") else { return };
    mirrors(&action, findings);
    let decision = decision(route);
    let targets = targets(&action);
    if targets.is_empty() {
        findings.add(Rule::OpenCluster, &action, "its cluster cannot be foreseen");
    }
    for name in targets {
        let Some(cluster) = model.cluster(name) else {
            findings.add(Rule::OpenCluster, &action, format!("there is no cluster {name:?}"));
            continue;
        };
        if model.named.reviews.iter().any(|review| review == name) {
            findings.add(Rule::ReviewRouted, &action, format!("it leads to {name:?}"));
        } else if model.named.access.iter().any(|access| access == name) {
            findings.add(Rule::AccessRouted, &action, format!("it leads to {name:?}"));
            continue;
        } else if model.has_credential(cluster) && decision != Some(IMPERSONATE) {
            let message = format!("{name:?} carries the credential");
            findings.add(Rule::RouteWithoutDecision, route, message);
        } else if decision.is_none() {
            findings.add(Rule::RouteWithoutDecision, route, "it asks for no decision");
        }
        check_reuse(route, cluster, findings);
    }
}

/// What needs no login goes by one path and method. It leads to no credential, as nothing without the decision for it does.
fn check_logout(route: &Node<'_>, findings: &mut Findings) {
    let Some(action) = route.get("route") else { return };
    let matched = route.get("match");
    let headers = matched.as_ref().map(|it| it.items("headers")).unwrap_or_default();
    let is_post = headers.iter().any(|header| {
        header.text("name") == Some(":method")
            && header.get("string_match").and_then(|it| it.text("exact")) == Some("POST")
    });
    let is_exact = matched.as_ref().is_some_and(|it| it.text("path").is_some());
    let message = "what needs no login is more than one path by POST";
    findings.demand(is_post && is_exact, Rule::RouteWithoutDecision, route, message);
    let ends = action.duration("timeout").is_some_and(|timeout| !timeout.is_zero());
    findings.demand(ends, Rule::RouteTimeout, &action, "a logout that never ends");
}

/// Clients may upgrade what goes to a cluster of HTTP/1.1; what HTTP/2 carries, nobody upgrades. A cluster that speaks either, as
/// the handshake has it, is for routes that take no upgrade.
fn check_reuse(route: &Node<'_>, cluster: &Cluster<'_>, findings: &mut Findings) {
    let options = cluster.http_options();
    let explicit = options.as_ref().and_then(|it| it.get("explicit_http_config"));
    if explicit.is_some_and(|it| it.get("http2_protocol_options").is_some()) {
        return;
    }
    if options.as_ref().is_some_and(|it| it.get("auto_config").is_some()) && !may_upgrade(route) {
        return;
    }
    let most = options
        .as_ref()
        .and_then(|it| it.get("common_http_protocol_options"))
        .and_then(|it| it.number("max_requests_per_connection"));
    if most != Some(1) {
        let message = "its connections carry another request after an upgrade that was refused";
        findings.add(Rule::OneRequest, &cluster.node, message);
    }
}

/// Whether a route takes requests with an `Upgrade`. Those of HTTP/2 (RFC 8441) have one too when routes are chosen.
fn may_upgrade(route: &Node<'_>) -> bool {
    let headers = route.get("match").map(|it| it.items("headers")).unwrap_or_default();
    !headers.iter().any(|header| {
        header.text("name").is_some_and(|name| name.eq_ignore_ascii_case("upgrade"))
            && header.flag("present_match")
            && header.flag("invert_match")
    })
}

/// Whether requests get the id of Envoy's for the audit trail, and no other.
fn writes_audit_id(holder: &Node<'_>) -> bool {
    holder.items("request_headers_to_add").iter().any(|added| {
        let header = added.get("header");
        let text = |field| header.as_ref().and_then(|it| it.text(field));
        text("key").is_some_and(|key| key.eq_ignore_ascii_case("audit-id"))
            && text("value").is_some_and(|value| value.eq_ignore_ascii_case("%req(x-request-id)%"))
            && added.text("append_action") == Some("OVERWRITE_IF_EXISTS_OR_ADD")
    })
}

/// The decision of the filter that a route matches.
fn decision<'a>(route: &Node<'a>) -> Option<&'a str> {
    let states = route.get("match")?.items("filter_state");
    states.iter().find_map(|state| {
        let exact = state.get("string_match")?.text("exact").filter(|it| !it.is_empty())?;
        (state.text("key") == Some("wasm.mode") && !state.flag("invert_match")).then_some(exact)
    })
}

pub fn targets<'a>(action: &Node<'a>) -> Vec<&'a str> {
    let weighted = action.get("weighted_clusters").map(|it| it.items("clusters"));
    let weighted = weighted.unwrap_or_default();
    action
        .text("cluster")
        .into_iter()
        .chain(weighted.iter().filter_map(|it| it.text("name")))
        .collect()
}

fn mirrors(holder: &Node<'_>, findings: &mut Findings) {
    for mirror in holder.items("request_mirror_policies") {
        findings.add(Rule::OpenCluster, &mirror, "requests are copied to another cluster");
    }
}

/// The names of the filters that are doors: of the listener, and of the clusters that carry the credential. A route has settings for both.
fn doors<'a>(manager: &Manager<'a>, model: &'a Model<'_>) -> Vec<&'a str> {
    let chain = super::chain::find(manager);
    let of_listener = chain.into_iter().flat_map(|chain| {
        [chain.strip, Some(chain.gateway), chain.gate].into_iter().flatten().map(|door| door.name)
    });
    let of_clusters = model.with_credential().flat_map(|cluster| &cluster.filters);
    of_listener.chain(of_clusters.map(|door| door.name)).collect()
}

/// What every level of a route configuration may say: headers, and settings of filters.
fn check_holder(holder: &Node<'_>, doors: &[&str], findings: &mut Findings) {
    for added in holder.items("request_headers_to_add") {
        let name = added.get("header").and_then(|it| it.text("key"));
        if name.is_some_and(says_who) {
            findings.add(Rule::RouteHeaders, &added, "it adds a header that says who somebody is");
        }
    }
    for (name, setting) in holder.fields("typed_per_filter_config") {
        if doors.contains(&name) {
            findings.add(Rule::Switchable, &setting, "a setting for this route alone");
        }
    }
    let weighted = holder.at(&["route", "weighted_clusters"]).map(|it| it.items("clusters"));
    for cluster in weighted.unwrap_or_default() {
        check_holder(&cluster, doors, findings);
    }
}

/// What lasts by its nature must have no end, on its own route or on one `before`.
fn check_times(route: &Node<'_>, before: &[Node<'_>], findings: &mut Findings) {
    let Some(action) = &route.get("route") else { return };
    let taken = |name: &str| {
        before.iter().filter(|it| decision(it) == decision(route)).any(|it| {
            let parameters = it.get("match").map(|it| it.items("query_parameters"));
            parameters.unwrap_or_default().iter().any(|it| it.text("name") == Some(name))
        })
    };
    let zero = |node: &Node<'_>, field: &str| node.duration(field) == Some(Duration::ZERO);
    let lasts = zero(action, "timeout") || taken("watch") && taken("follow");
    findings.demand(lasts, Rule::RouteTimeout, action, "timeout is not 0s");
    let idle = action.duration("idle_timeout").unwrap_or_default();
    if idle < Duration::from_secs(600) {
        let message = format!("idle_timeout is {idle:?}, and silent watches end by it");
        findings.add(Rule::RouteTimeout, action, message);
    }
    let duration = action.get("max_stream_duration");
    let by_filter = duration
        .is_some_and(|it| zero(&it, "max_stream_duration") && zero(&it, "grpc_timeout_header_max"));
    findings.demand(
        by_filter,
        Rule::ClientTimeout,
        action,
        "streams do not end when the filter says so",
    );
}
