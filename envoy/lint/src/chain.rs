//! The order of the filters: strip, the gateway's filter, gate, router, and nothing in between.

use crate::{
    finding::{Findings, Rule},
    model::{Filter, Manager},
    plugin,
};

/// How the names of the marks begin.
const MARKS: &str = "wasm.";

/// The lists in which filters of Envoy's say what state they set.
const SET_BY: [&str; 3] =
    ["on_request_headers", "on_new_connection", "on_downstream_tls_handshake"];

/// The doors in a chain of filters.
pub struct Chain<'a> {
    pub strip: Option<Filter<'a>>,
    pub gateway: Filter<'a>,
    pub gate: Option<Filter<'a>>,
}

/// The doors around the filter, if the connection manager runs it. Strip and gate are its neighbours.
pub fn find<'a>(manager: &Manager<'a>) -> Option<Chain<'a>> {
    let filters = &manager.filters;
    let place = filters.iter().position(plugin::is_gateway)?;
    let neighbour = |index: Option<usize>, message| {
        index.and_then(|index| filters.get(index)).filter(|it| it.is(message)).cloned()
    };
    Some(Chain {
        gateway: filters.get(place)?.clone(),
        strip: neighbour(place.checked_sub(1), "HeaderMutation"),
        gate: neighbour(place.checked_add(1), "RBAC"),
    })
}

pub fn check(manager: &Manager<'_>, chain: &Chain<'_>, findings: &mut Findings) {
    let gateway = &chain.gateway.entry;
    findings.demand(chain.strip.is_some(), Rule::NoStrip, gateway, "no header_mutation before it");
    findings.demand(chain.gate.is_some(), Rule::NoGate, gateway, "no RBAC behind it");
    for filter in &manager.filters {
        if filter.injects() {
            let message = "the credential is injected in the listener";
            findings.add(Rule::DownstreamCredential, &filter.entry, message);
        }
    }
    let doors = [chain.strip.as_ref(), Some(&chain.gateway), chain.gate.as_ref()];
    doors.into_iter().flatten().for_each(|door| check_stays(door, findings));
    let configs = manager.filters.iter().map(|filter| &filter.config).chain(&manager.before);
    for set in configs.flat_map(|it| SET_BY.map(|list| it.items(list))).flatten() {
        if set.text("object_key").is_some_and(|key| key.starts_with(MARKS)) {
            findings.add(Rule::OpenGate, &set, "it sets what only the gateway's filter may");
        }
    }
    let behind = manager.filters.iter().skip_while(|it| !plugin::is_gateway(it)).skip(1);
    // By its place: Envoy lets another filter have the gate's name.
    for filter in behind.skip(chain.gate.iter().count()) {
        // An injector has a finding of its own.
        if !filter.is("Router") && !filter.injects() {
            let message = format!("{:?} stands behind the gateway's filter", filter.name);
            findings.add(Rule::BetweenDoors, &filter.entry, message);
        }
    }
}

/// A filter of the doors is there, always, and no other stands in for it.
pub fn check_stays(door: &Filter<'_>, findings: &mut Findings) {
    for switch in ["disabled", "is_optional"] {
        if door.entry.flag(switch) {
            findings.add(Rule::Switchable, &door.entry, format!("{switch} is true"));
        }
    }
    if door.entry.at(&["config_discovery", "default_config"]).is_some() {
        let message = "default_config stands in its place until it is delivered";
        findings.add(Rule::Switchable, &door.entry, message);
    }
}
