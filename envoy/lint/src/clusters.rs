//! The third door: which clusters carry the credential, and what stands before it there.

use crate::{
    chain,
    finding::{Findings, Rule},
    gate, headers,
    model::{Cluster, Filter, Model},
    node::Node,
};

/// The name makes RBAC an upstream filter.
const UPSTREAM_RBAC: &str = "envoy.filters.http.upstream_rbac";
/// The filters that such a cluster may have.
const OF_CLUSTERS: [&str; 4] = ["RBAC", "CredentialInjector", "HeaderMutation", "UpstreamCodec"];
/// Of Envoy, for requests, pending requests and connections alike.
const ENOUGH: u64 = 10_000;
/// kube-apiserver's own, for each connection.
const MOST_STREAMS: u64 = 100;

pub fn check(model: &Model<'_>, findings: &mut Findings) {
    for cluster in model.with_credential() {
        cluster.filters.iter().for_each(|filter| check_filter(filter, findings));
        check_credential(cluster, findings);
        if !model.named.reviews.iter().any(|name| name == cluster.name) {
            check_door(cluster, findings);
        }
        check_trust(&cluster.node, findings);
        check_room(cluster, findings);
    }
}

/// What the gateway puts before the credential, and nothing that says who somebody is behind all doors.
fn check_filter(filter: &Filter<'_>, findings: &mut Findings) {
    chain::check_stays(filter, findings);
    if !OF_CLUSTERS.contains(&filter.config.type_name()) {
        let message = format!("{:?} stands where no gate is behind it", filter.name);
        findings.add(Rule::BetweenDoors, &filter.entry, message);
    }
    for added in headers::added(&filter.config) {
        findings.add(Rule::RouteHeaders, &added, "it adds a header that says who somebody is");
    }
}

/// No request goes out with another credential beside it, or in its place.
fn check_credential(cluster: &Cluster<'_>, findings: &mut Findings) {
    let stripped = cluster.filters.iter().any(|filter| {
        filter.is("HeaderMutation") && headers::strips(&filter.config, "authorization")
    });
    findings.demand(
        cluster.injects() || stripped,
        Rule::LenientInjector,
        &cluster.node,
        "the client's token travels beside the gateway's certificate",
    );
    for filter in cluster.filters.iter().filter(|it| it.is("CredentialInjector")) {
        let config = &filter.config;
        check_strict(config, findings);
        // Absent, it is this one.
        let header = config.at(&["credential", "typed_config"]).and_then(|it| it.text("header"));
        findings.demand(
            stripped || header.is_none_or(|it| it.eq_ignore_ascii_case("authorization")),
            Rule::LenientInjector,
            config,
            "the client's token travels beside the gateway's credential",
        );
    }
}

/// No request goes out without what is injected, or with another credential in its place.
pub fn check_strict(injector: &Node<'_>, findings: &mut Findings) {
    let strict = injector.flag("overwrite") && !injector.flag("allow_request_without_credential");
    findings.demand(
        strict,
        Rule::LenientInjector,
        injector,
        "requests may go out with another credential than the gateway's",
    );
}

fn check_door(cluster: &Cluster<'_>, findings: &mut Findings) {
    let before = cluster.filters.iter().take_while(|it| !it.injects());
    let is_door = |it: &&Filter<'_>| it.is("RBAC") && it.name == UPSTREAM_RBAC;
    let Some(door) = before.filter(is_door).last() else {
        let message = "the credential goes out on every request";
        findings.add(Rule::NoDoor, &cluster.node, message);
        return;
    };
    let Some(policies) = gate::allowing(&door.config) else {
        findings.add(Rule::OpenDoor, &door.config, "its rules are absent, or not of action ALLOW");
        return;
    };
    for (_, policy) in policies {
        let permissions = policy.items("permissions");
        let with_user = !permissions.is_empty() && permissions.iter().all(demands_user);
        let holds = with_user && gate::demands(&policy, "wasm.mode", Some("impersonate"));
        let message = "it lets pass more than impersonating requests";
        findings.demand(holds, Rule::OpenDoor, &policy, message);
    }
}

fn demands_user(permission: &Node<'_>) -> bool {
    if let Some(all) = permission.get("and_rules") {
        return all.items("rules").iter().any(demands_user);
    }
    let Some(header) = permission.get("header") else { return false };
    let matcher = header.get("string_match");
    header.text("name").is_some_and(|name| name.eq_ignore_ascii_case("impersonate-user"))
        && !header.flag("invert_match")
        && matcher.is_some_and(|it| gate::is_not_empty(&it))
}

/// By every socket that it may choose.
pub fn check_trust(cluster: &Node<'_>, findings: &mut Findings) {
    check_socket(cluster, findings);
    for choice in cluster.items("transport_socket_matches") {
        check_socket(&choice, findings);
    }
}

fn check_socket(holder: &Node<'_>, findings: &mut Findings) {
    let tls = holder.at(&["transport_socket", "typed_config"]);
    let Some(tls) = tls.filter(|it| it.type_name() == "UpstreamTlsContext") else {
        findings.add(Rule::UpstreamTrust, holder, "it is reached without TLS");
        return;
    };
    let common = tls.get("common_tls_context");
    let combined = common.as_ref().and_then(|it| it.get("combined_validation_context"));
    let plain = common.as_ref().and_then(|it| it.get("validation_context"));
    let static_part =
        combined.as_ref().and_then(|it| it.get("default_validation_context")).or(plain);
    let by_secret =
        combined.is_some_and(|it| it.get("validation_context_sds_secret_config").is_some());
    // Istio writes the one without types, which fits names of all types.
    let names = static_part.as_ref().is_some_and(|it| {
        ["match_typed_subject_alt_names", "match_subject_alt_names"]
            .iter()
            .any(|field| !it.items(field).is_empty())
    });
    let authority =
        by_secret || static_part.as_ref().is_some_and(|it| it.get("trusted_ca").is_some());
    let unverified = static_part.as_ref().is_some_and(|it| {
        it.text("trust_chain_verification") == Some("ACCEPT_UNTRUSTED")
            || it.flag("allow_expired_certificate")
    });
    findings.demand(
        names && authority && !unverified,
        Rule::UpstreamTrust,
        &tls,
        "its certificate is not checked against a CA and a name",
    );
}

fn check_room(cluster: &Cluster<'_>, findings: &mut Findings) {
    let thresholds = cluster.node.get("circuit_breakers").map(|it| it.items("thresholds"));
    let thresholds = thresholds.unwrap_or_default();
    let default =
        thresholds.iter().find(|it| matches!(it.text("priority"), None | Some("DEFAULT")));
    let roomy = default.is_some_and(|it| {
        ["max_connections", "max_pending_requests", "max_requests"]
            .iter()
            .all(|field| it.number(field).is_some_and(|number| number >= ENOUGH))
    });
    findings.demand(roomy, Rule::Breakers, &cluster.node, "its circuit breakers end watches");
    let options = cluster.http_options();
    let of = |how| options.as_ref().and_then(|it| it.at(&[how, "http2_protocol_options"]));
    for http2 in ["explicit_http_config", "auto_config"].into_iter().filter_map(of) {
        let fits = http2.number("max_concurrent_streams").is_some_and(|it| it <= MOST_STREAMS);
        findings.demand(fits, Rule::Streams, &http2, "it puts too many streams on a connection");
    }
}
