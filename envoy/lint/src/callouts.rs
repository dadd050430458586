//! The clusters of servers beside issuers and kube-apiserver that the filter asks: each has a credential of its own, and no route leads
//! there.

use crate::{
    clusters,
    finding::{Findings, Rule},
    model::{Cluster, Model},
    node::Node,
    sources::Sources,
    traces,
};

pub fn check(model: &Model<'_>, sources: &Sources, findings: &mut Findings) {
    let gateway_s: Vec<_> =
        model.with_credential().flat_map(|cluster| traces::secrets(cluster, sources)).collect();
    for name in &model.named.callouts {
        let Some(cluster) = model.cluster(name) else { continue };
        let node = &cluster.node;
        if model.is_led_to(cluster) {
            let message = "a route, or another filter, leads to it";
            findings.add(Rule::CalloutRouted, node, message);
        }
        let is_shared = [&model.named.reviews, &model.named.issuers]
            .into_iter()
            .any(|others| others.contains(name));
        findings.demand(
            !is_shared,
            Rule::CalloutCredential,
            node,
            "the filter asks the API server or an issuer by it, too",
        );
        findings.demand(
            !model.named.shared_callouts.contains(name),
            Rule::CalloutCredential,
            node,
            "the filter asks for more than one thing by it, so that one server is shown another one's questions",
        );
        let shown = traces::secrets(cluster, sources);
        findings.demand(
            !shown.iter().any(|file| gateway_s.contains(file)),
            Rule::CalloutCredential,
            node,
            "the server is shown the gateway's own token",
        );
        check_fixed(node, findings);
        for injector in cluster.filters.iter().filter(|it| it.is("CredentialInjector")) {
            clusters::check_strict(&injector.config, findings);
            check_token(&injector.config, model, findings);
        }
        clusters::check_trust(node, findings);
    }
}

fn check_fixed(cluster: &Node<'_>, findings: &mut Findings) {
    let is_fixed = cluster.get("cluster_type").is_none()
        && !matches!(cluster.text("type"), Some("ORIGINAL_DST"));
    let message = "it leads where a request says, so that others might see the credential";
    findings.demand(is_fixed, Rule::CalloutCredential, cluster, message);
}

/// Where Envoy gets a token for it, and shows a client's secret.
fn check_token(injector: &Node<'_>, model: &Model<'_>, findings: &mut Findings) {
    let credential = injector.at(&["credential", "typed_config"]);
    let Some(endpoint) = credential.and_then(|it| it.get("token_endpoint")) else { return };
    let by_tls = endpoint.text("uri").is_some_and(|uri| uri.starts_with("https://"));
    findings.demand(by_tls, Rule::UpstreamTrust, &endpoint, "the token endpoint is no https URL");
    let cluster: Option<&Cluster<'_>> =
        endpoint.text("cluster").and_then(|name| model.cluster(name));
    match cluster {
        Some(cluster) => {
            check_fixed(&cluster.node, findings);
            clusters::check_trust(&cluster.node, findings);
        }
        None => findings.add(Rule::CalloutCluster, &endpoint, "there is no cluster for it"),
    }
}
