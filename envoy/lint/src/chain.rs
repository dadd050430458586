//! The order of the filters: strip, the gateway's filter, gate, router, and nothing in between.

use crate::{
    finding::{Findings, Rule},
    model::{Filter, Manager},
    plugin,
};

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
        if filter.is("CredentialInjector") {
            let message = "the credential is injected in the listener";
            findings.add(Rule::DownstreamCredential, &filter.entry, message);
        }
    }
    let doors = [chain.strip.as_ref(), Some(&chain.gateway), chain.gate.as_ref()];
    for door in doors.into_iter().flatten() {
        for switch in ["disabled", "is_optional"] {
            if door.entry.flag(switch) {
                findings.add(Rule::Switchable, &door.entry, format!("{switch} is true"));
            }
        }
    }
    let behind = manager.filters.iter().skip_while(|it| !plugin::is_gateway(it)).skip(1);
    for filter in behind {
        let is_gate = chain.gate.as_ref().is_some_and(|gate| gate.name == filter.name);
        // An injector has a finding of its own.
        if !is_gate && !filter.is("Router") && !filter.is("CredentialInjector") {
            let message = format!("{:?} stands behind the gateway's filter", filter.name);
            findings.add(Rule::BetweenDoors, &filter.entry, message);
        }
    }
}
