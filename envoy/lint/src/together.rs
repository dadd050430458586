//! What Envoy does not keep apart for several gateways: the names by which they count, and the VM in which they run.

use gateway_core::{
    config::{GatewayConfiguration, PluginConfiguration},
    metrics::ONLY_GATEWAY,
};
use gateway_portal::Settings;

use crate::{
    chain,
    finding::{Findings, Rule},
    model::{Filter, Model},
    node::Node,
    portal,
};

/// The portal's root, and its name if the filter has none.
const PORTAL: &str = "portal";

pub fn check(model: &Model<'_>, findings: &mut Findings) {
    check_names(model, findings);
    check_portals(model, findings);
    check_environments(model, findings);
}

/// Filters of one name and configuration are one gateway on several listeners. One that says whose a token is belongs to its
/// portal and serves no client.
fn check_names(model: &Model<'_>, findings: &mut Findings) {
    let managers = model.managers.iter().filter(|manager| !portal::identifies(manager));
    let gateways: Vec<_> = managers.filter_map(chain::find).map(|chain| chain.gateway).collect();
    for (index, gateway) in gateways.iter().enumerate() {
        let is_other = |other: &&Filter<'_>| {
            name(other) == name(gateway) && other.document_text() != gateway.document_text()
        };
        if let Some(other) = gateways.iter().take(index).find(is_other) {
            let (name, at) = (name(gateway), settings(other));
            let message = format!("it has the name of another gateway, {name:?} ({at})");
            findings.add(Rule::GatewayName, &settings(gateway), message);
        }
    }
}

/// The keys of all portals are in the same variable.
fn check_portals(model: &Model<'_>, findings: &mut Findings) {
    let portals = model.managers.iter().filter_map(portal::find);
    let configs: Vec<_> = portals.filter_map(|portal| portal.config.get("config")).collect();
    let audience = |config: &Node<'_>| {
        Settings::parse(text(config).as_bytes()).ok().map(|settings| settings.audience)
    };
    for (index, config) in configs.iter().enumerate() {
        let others: Vec<_> =
            configs.iter().take(index).filter(|it| text(it) != text(config)).collect();
        if let Some(other) = others.iter().find(|it| portal_name(it) == portal_name(config)) {
            let name = portal_name(config);
            let message = format!("it has the name of another portal, {name:?} ({other})");
            findings.add(Rule::GatewayName, config, message);
        }
        let own = audience(config);
        if let Some(other) = others.iter().find(|it| own.is_some() && audience(it) == own) {
            let message = format!("it takes the tokens of another portal ({other})");
            findings.add(Rule::PortalAudience, config, message);
        }
    }
}

/// The environment is no part of what Envoy tells VMs apart by.
fn check_environments(model: &Model<'_>, findings: &mut Findings) {
    let filters = model.managers.iter().flat_map(|manager| &manager.filters);
    let configs: Vec<_> = filters
        .filter(|filter: &&Filter<'_>| filter.is("Wasm"))
        .filter_map(|filter| filter.config.get("config"))
        .collect();
    for (index, config) in configs.iter().enumerate() {
        let in_its_vm = |other: &&Node<'_>| {
            ["vm_id", "runtime", "code", "configuration"].iter().all(|field| {
                let of = |it: &Node<'_>| it.at(&["vm_config", field]).map(|it| it.value().clone());
                of(other) == of(config)
            })
        };
        let others = configs.iter().take(index).filter(in_its_vm);
        let differs = |other: &&Node<'_>| {
            environment(other) != environment(config)
                && [*other, config].into_iter().any(reads_environment)
        };
        if let Some(other) = others.clone().find(differs) {
            let message = format!("its VM has the environment of another filter ({other})");
            findings.add(Rule::SharedVm, config, message);
        }
    }
}

/// By which the filter labels what it counts; without one it has the label of no gateway, as the only one has.
fn name<'a>(gateway: &Filter<'a>) -> &'a str {
    gateway.own_name().unwrap_or(ONLY_GATEWAY)
}

/// Where a filter's name stands.
fn settings<'a>(gateway: &Filter<'a>) -> Node<'a> {
    gateway.config.get("config").unwrap_or_else(|| gateway.config.clone())
}

/// By which the filter counts for a portal and keeps its users' rates.
fn portal_name<'a>(config: &Node<'a>) -> &'a str {
    config.text("name").filter(|name| !name.is_empty()).unwrap_or(PORTAL)
}

/// A portal has its keys from there.
fn reads_environment(config: &Node<'_>) -> bool {
    config.text("root_id") == Some(PORTAL) || takes_shared_secret(text(config))
}

/// Whether a gateway's filter needs the secrets of `sharedSecret`, by its configuration.
fn takes_shared_secret(configuration: &str) -> bool {
    serde_json::from_str::<PluginConfiguration>(configuration)
        .ok()
        .and_then(|configuration| configuration.gateway_configuration)
        .and_then(|gateway| GatewayConfiguration::from_value(gateway).ok())
        .is_some_and(|gateway| !gateway.shared_secret.audience.is_empty())
}

fn text<'a>(config: &Node<'a>) -> &'a str {
    config.get("configuration").and_then(|it| it.text("value")).unwrap_or_default()
}

/// The names of the variables in order, and the values that stand in the configuration.
fn environment(config: &Node<'_>) -> (Vec<String>, Option<String>) {
    let Some(variables) = config.at(&["vm_config", "environment_variables"]) else {
        return (Vec::new(), None);
    };
    let keys = variables.items("host_env_keys");
    let mut keys: Vec<_> =
        keys.iter().filter_map(|it| it.value().as_str()).map(str::to_owned).collect();
    keys.sort_unstable();
    (keys, variables.get("key_values").map(|it| it.value().to_string()))
}
