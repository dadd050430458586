//! The portal: who is believed, where its keys are, and that nothing stands between it and whoever asks but the login.

use gateway_core::config::PluginConfiguration;
use gateway_portal::Settings;

use crate::{
    chain, delegate,
    finding::{Findings, Rule},
    gate, listeners,
    model::{Filter, Manager, Model},
    node::Node,
    plugin::check_failure,
};

/// What a key document is made of.
const KEYS: [&str; 3] = ["\"secret\"", "\"scalar\"", "\"algorithm\""];

/// The header in which the portal is told.
const RECORD: &str = "x-gateway-identity";

/// The portal's filter, if the connection manager runs it.
pub fn find<'a, 'm>(manager: &'m Manager<'a>) -> Option<&'m Filter<'a>> {
    manager.filters.iter().find(|filter| {
        let config = filter.config.get("config");
        filter.is("Wasm") && config.is_some_and(|it| it.text("root_id") == Some("portal"))
    })
}

/// Whether a connection manager says whose a token is: it runs the gateway's filter and answers with what that knows.
pub fn identifies(manager: &Manager<'_>) -> bool {
    let answers = manager.routes.as_ref().is_some_and(|it| it.value().to_string().contains(RECORD));
    answers && chain::find(manager).is_some()
}

pub fn check_identify(manager: &Manager<'_>, findings: &mut Findings) {
    let pipe = manager.listener.at(&["address", "pipe"]);
    let private = pipe.is_some_and(|it| it.number("mode") == Some(0o600));
    let message = "others than Envoy can ask whose a token is";
    findings.demand(private, Rule::PortalIdentify, &manager.listener, message);
    if let Some(chain) = chain::find(manager) {
        check_failure(&chain.gateway, findings);
        delegate::check(&chain.gateway, findings);
    }
    let Some(routes) = &manager.routes else {
        findings.add(Rule::Unread, &manager.node, "its routes were not read");
        return;
    };
    for route in routes.items("virtual_hosts").iter().flat_map(|host| host.items("routes")) {
        let answers = route.get("direct_response").is_some();
        findings.demand(answers, Rule::PortalIdentify, &route, "it leads on");
    }
}

pub fn check(
    manager: &Manager<'_>,
    portal: &Filter<'_>,
    model: &Model<'_>,
    findings: &mut Findings,
) {
    check_failure(portal, findings);
    delegate::check_none(portal, findings);
    check_order(manager, findings);
    check_keys(portal, findings);
    check_host(manager, model, findings);
    if let Some(login) = manager.filters.iter().find(|filter| filter.is("OAuth2")) {
        let message = "a session's cookies travel without TLS";
        findings.demand(is_tls(manager), Rule::NoTls, &manager.filter_chain, message);
        check_login(login, findings);
    }
    let Some(settings) = settings(portal, findings) else { return };
    check_trust(manager, &settings, findings);
    if let Some(identify) = &settings.identify {
        let known = model.cluster(&identify.cluster).is_some();
        let message = "no cluster by which it asks whose a token is";
        findings.demand(known, Rule::CalloutCluster, &portal.config, message);
        check_origins(portal, &settings, model, findings);
    }
}

/// Whoever says whose a token is says with which login it was made, too, if it is told of the portal. One for each portal is enough.
fn check_origins(
    portal: &Filter<'_>,
    settings: &Settings,
    model: &Model<'_>,
    findings: &mut Findings,
) {
    let identifying = model.managers.iter().filter(|manager| identifies(manager));
    let told: Vec<_> = identifying
        .filter_map(chain::find)
        .filter_map(|chain| serde_json::from_str(chain.gateway.document_text()).ok())
        .map(|document: PluginConfiguration| document.portal_issuer)
        .collect();
    let own = settings.issuer.as_deref().unwrap_or_default();
    let is_told = told.is_empty() || told.iter().any(|issuer| issuer.as_deref() == Some(own));
    let message = "who says whose a token is does not know the portal (portalIssuer)";
    findings.demand(is_told, Rule::PortalIdentify, &portal.config, message);
}

fn settings(portal: &Filter<'_>, findings: &mut Findings) -> Option<Settings> {
    let document = portal.config.at(&["config", "configuration"]);
    let text = document.as_ref().filter(|it| it.type_name() == "StringValue");
    let text = text.and_then(|it| it.text("value")).unwrap_or_default();
    let place = document.as_ref().unwrap_or(&portal.config);
    match Settings::parse(text.as_bytes()) {
        Ok(settings) => Some(settings),
        Err(error) => {
            findings.add(Rule::PluginConfiguration, place, error.to_string().replace('\n', " "));
            None
        }
    }
}

/// The name, the login, the portal, and the router behind it that never sees a request.
fn check_order(manager: &Manager<'_>, findings: &mut Findings) {
    let mut last = 0;
    for filter in &manager.filters {
        let place = match filter.config.type_name() {
            "RBAC" => 1,
            "OAuth2" => 2,
            "Wasm" => 3,
            "Router" => 4,
            _ => {
                let message = format!("{:?} is none of the portal's filters", filter.name);
                findings.add(Rule::PortalOrder, &filter.entry, message);
                continue;
            }
        };
        if place <= last {
            let message = format!("{:?} stands in the wrong place", filter.name);
            findings.add(Rule::PortalOrder, &filter.entry, message);
        }
        last = place;
        chain::check_stays(filter, findings);
    }
    let routes = manager.routes.as_ref().map(|it| it.items("virtual_hosts")).unwrap_or_default();
    for host in &routes {
        for holder in [host.clone()].into_iter().chain(host.items("routes")) {
            for (_, setting) in holder.fields("typed_per_filter_config") {
                findings.add(Rule::Switchable, &setting, "a setting for this route alone");
            }
            if let Some(action) = holder.get("route") {
                findings.add(Rule::PortalOrder, &action, "requests go on from the portal");
            }
        }
    }
}

fn check_keys(portal: &Filter<'_>, findings: &mut Findings) {
    let Some(config) = portal.config.get("config") else { return };
    let variables = config.at(&["vm_config", "environment_variables"]);
    if let Some(values) = variables.as_ref().and_then(|it| it.get("key_values")) {
        findings.add(Rule::PortalKeys, &values, "values of variables stand in the configuration");
    }
    let named = variables.is_some_and(|it| !it.items("host_env_keys").is_empty());
    let message = "no variable of Envoy's environment is handed on";
    findings.demand(named, Rule::PortalKeys, &config, message);
    for place in ["configuration", "vm_config"] {
        let Some(document) = config.get(place) else { continue };
        let text = document.value().to_string().replace("\\\"", "\"");
        if KEYS.iter().any(|field| text.contains(field)) {
            findings.add(Rule::PortalKeys, &document, "a key stands in the configuration");
        }
    }
}

/// Beside the gateway the name decides, in the handshake and in the request alike.
fn check_host(manager: &Manager<'_>, model: &Model<'_>, findings: &mut Findings) {
    let place = manager.listener.to_string();
    let beside = model
        .managers
        .iter()
        .any(|other| other.listener.to_string() == place && find(other).is_none());
    if !beside {
        return;
    }
    let chain = &manager.filter_chain;
    let names = chain.get("filter_chain_match").map(|it| it.value()["server_names"].clone());
    let names: Vec<String> =
        names.and_then(|names| serde_json::from_value(names).ok()).unwrap_or_default();
    let exact = !names.is_empty() && names.iter().all(|name| !name.contains('*'));
    findings.demand(exact, Rule::PortalHost, chain, "it is not told from the gateway by its name");
    let first = manager.filters.first().filter(|filter| filter.is("RBAC"));
    let policies = first.and_then(|filter| gate::allowing(&filter.config)).unwrap_or_default();
    let demands = |permission: &Node<'_>| {
        permission.get("header").is_some_and(|header| {
            header.text("name") == Some(":authority")
                && header.get("string_match").is_some()
                && !header.flag("invert_match")
        })
    };
    let holds = !policies.is_empty()
        && policies.iter().all(|(_, policy)| {
            let permissions = policy.items("permissions");
            !permissions.is_empty() && permissions.iter().all(demands)
        });
    let message = "it answers for whatever name a request has";
    findings.demand(holds, Rule::PortalHost, &manager.node, message);
}

fn is_tls(manager: &Manager<'_>) -> bool {
    let tls = manager.filter_chain.at(&["transport_socket", "typed_config"]);
    tls.is_some_and(|it| it.type_name() == "DownstreamTlsContext")
}

fn check_trust(manager: &Manager<'_>, settings: &Settings, findings: &mut Findings) {
    let trust = &settings.trust;
    let named = is_tls(manager) || settings.hosts.is_some();
    let message = "without TLS it answers for whatever name a request has (--insecure-any-host)";
    findings.demand(named, Rule::PortalHost, &manager.node, message);
    if trust.anybody {
        let message = "everybody's header is believed (--insecure-trust-header)";
        findings.add(Rule::PortalTrust, &manager.node, message);
    }
    if trust.client_certificate {
        let tls = manager.filter_chain.at(&["transport_socket", "typed_config"]);
        let checked = tls.filter(|it| it.flag("require_client_certificate")).is_some_and(|tls| {
            let context = tls.at(&["common_tls_context", "validation_context"]);
            context.is_some_and(|it| {
                it.get("trusted_ca").is_some()
                    && it.text("trust_chain_verification") != Some("ACCEPT_UNTRUSTED")
            })
        });
        let message = "certificates vouch for headers, and none is asked for and checked";
        findings.demand(checked, Rule::PortalTrust, &manager.filter_chain, message);
    }
    if !trust.networks.is_empty() {
        let by_peer = manager.node.number("xff_num_trusted_hops").unwrap_or(0) == 0;
        let message = "addresses vouch for headers, and a client can say which is its own";
        findings.demand(by_peer, Rule::PortalTrust, &manager.node, message);
    }
    listeners::check_client(&manager.node, findings);
}

fn check_login(login: &Filter<'_>, findings: &mut Findings) {
    let Some(config) = login.config.get("config") else { return };
    let credentials = config.get("credentials");
    let secret = |name: &str| {
        let secret = credentials.as_ref().and_then(|it| it.get(name));
        secret.is_some_and(|it| it.get("sds_config").is_some())
    };
    let by_file = secret("token_secret") && secret("hmac_secret");
    findings.demand(by_file, Rule::PortalLogin, &config, "its secrets are not from SDS");
    let names = credentials.as_ref().map(|it| it.fields("cookie_names")).unwrap_or_default();
    let hosts = names.iter().filter_map(|(_, name)| name.value().as_str());
    let prefixed = hosts.filter(|name| name.starts_with("__Host-")).count();
    let message = "cookies that another host of the same domain could set";
    findings.demand(prefixed >= 7 && prefixed == names.len(), Rule::PortalLogin, &config, message);
    let cookies = config.fields("cookie_configs");
    let strict = |cookie: &Node<'_>| matches!(cookie.text("same_site"), Some("LAX" | "STRICT"));
    let same_site = cookies.len() >= 7 && cookies.iter().all(|(_, cookie)| strict(cookie));
    findings.demand(same_site, Rule::PortalLogin, &config, "cookies that other sites send along");
    for switch in ["disable_access_token_set_cookie", "disable_refresh_token_set_cookie"] {
        let message = format!("{switch} is not true");
        findings.demand(config.flag(switch), Rule::PortalLogin, &config, &message);
    }
    for switch in
        ["forward_bearer_token", "disable_id_token_set_cookie", "disable_token_encryption"]
    {
        let message = format!("{switch} is true");
        findings.demand(!config.flag(switch), Rule::PortalLogin, &config, &message);
    }
}
