//! The gateway's filter, in either form: its configuration, and what happens when it crashes.

use gateway_core::config::{Configuration, PluginConfiguration};

use crate::{
    finding::{Findings, Rule},
    form::Form,
    model::{Filter, Manager, Model},
    node::Node,
};

/// What of its configuration concerns the filters around it.
#[derive(Default)]
pub struct Plugin {
    /// It reads the client's `Impersonate-*` headers, so that nothing may strip them before.
    pub reads_impersonation: bool,
    /// It tells the filter that counts connections whose users are known; none if its configuration could not be read.
    pub marks_connections: Option<bool>,
    /// It judges requests by conditions.
    pub has_conditions: bool,
    /// One of them reads where a request comes from.
    pub reads_address: bool,
}

/// Whether a filter is ours: one whose configuration is, in either form.
pub fn is_gateway(filter: &Filter<'_>) -> bool {
    let ours = "authenticationConfiguration";
    filter.form().is_some() && filter.config.value().to_string().contains(ours)
}

/// What Envoy does when the filter's VM has crashed. A native filter has none.
pub fn check_failure(filter: &Filter<'_>, findings: &mut Findings) {
    if filter.form() != Some(Form::Wasm) {
        return;
    }
    let Some(config) = filter.config.get("config") else { return };
    let policy = config.text("failure_policy");
    if policy != Some("FAIL_RELOAD") || config.flag("fail_open") {
        let policy = policy.unwrap_or("not set");
        findings.add(Rule::FailurePolicy, &config, format!("failure_policy is {policy}"));
    }
}

pub fn check(filter: &Filter<'_>, model: &Model<'_>, findings: &mut Findings) -> Plugin {
    check_failure(filter, findings);
    let Some(document) = filter.document() else { return Plugin::default() };
    let text = document.text("value").filter(|_| document.type_name() == "StringValue");
    let Some(text) = text else {
        findings.add(Rule::PluginConfiguration, &document, "it is no StringValue");
        return Plugin::default();
    };
    let configuration = match Configuration::parse(text.as_bytes()) {
        Ok(configuration) => configuration,
        Err(error) => {
            let message = error.to_string().replace('\n', " ");
            findings.add(Rule::PluginConfiguration, &document, message);
            return Plugin::default();
        }
    };
    for name in &configuration.clusters {
        if model.cluster(name).is_none() {
            let message = format!("no cluster {name:?}, by which an issuer is reached");
            findings.add(Rule::CalloutCluster, &document, message);
        }
    }
    for (asker, name) in &configuration.callout_clusters {
        if model.cluster(name).is_none() {
            let message = format!("no cluster {name:?}, by which {asker} is reached");
            findings.add(Rule::CalloutCluster, &document, message);
        }
    }
    check_review(&configuration.review_cluster, &document, model, findings);
    Plugin {
        reads_impersonation: configuration.reads_impersonation(),
        marks_connections: Some(configuration.counts_connections),
        has_conditions: !configuration.conditions.is_empty(),
        reads_address: configuration.conditions.read_address(),
    }
}

/// The clusters that filters' configurations name.
#[derive(Default)]
pub struct Named {
    /// Through which they ask the API server.
    pub reviews: Vec<String>,
    /// Through which they ask whose access has ended.
    pub access: Vec<String>,
    /// Through which they ask issuers.
    pub issuers: Vec<String>,
    /// Through which they ask other servers.
    pub callouts: Vec<String>,
    /// Those of them by which one filter asks for more than one thing.
    pub shared_callouts: Vec<String>,
}

impl Named {
    pub fn read(managers: &[Manager<'_>]) -> Self {
        let filters = managers.iter().flat_map(|manager| &manager.filters);
        let mut named = Self::default();
        for filter in filters.filter(|filter| is_gateway(filter)) {
            let document = serde_json::from_str::<PluginConfiguration>(filter.document_text());
            let Ok(document) = document else { continue };
            named.reviews.extend(document.review_cluster);
            named.access.extend(document.access_cluster);
            named.issuers.extend(document.issuer_clusters.into_values());
            named.issuers.extend(document.default_issuer_cluster);
            let mut callouts: Vec<_> = document.callout_clusters.into_values().collect();
            callouts.sort_unstable();
            let twice = callouts.windows(2).filter(|pair| matches!(pair, [a, b] if a == b));
            named.shared_callouts.extend(twice.flatten().cloned());
            named.callouts.extend(callouts);
        }
        named
    }
}

fn check_review(name: &str, document: &Node<'_>, model: &Model<'_>, findings: &mut Findings) {
    if name.is_empty() {
        return;
    }
    match model.cluster(name) {
        None => {
            let message = format!("no cluster {name:?}, by which reviews are asked for");
            findings.add(Rule::CalloutCluster, document, message);
        }
        Some(cluster) if !model.has_credential(cluster) => {
            let message = format!("cluster {name:?} carries no credential for reviews");
            findings.add(Rule::CalloutCluster, document, message);
        }
        Some(_) => {}
    }
}
