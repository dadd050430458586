//! Routes.

use gateway_lint::Rule;
use serde_json::json;

use super::{Case, HOST, ROUTES};

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::RouteWithoutDecision,
            "in-cluster",
            |files| files.remove(ROUTES, &format!("{HOST}/routes/2/match"), "filter_state"),
            "routes[2]",
        ),
        // A header would do, if the first route were not chosen from the client's own headers.
        (
            Rule::RouteWithoutDecision,
            "in-cluster",
            |files| {
                let route = format!("{HOST}/routes/2/match");
                files.remove(ROUTES, &route, "filter_state");
                let header =
                    json!({"name": "x-gateway-mode", "string_match": {"exact": "impersonate"}});
                files.list(ROUTES, &format!("{route}/headers")).push(header);
            },
            "routes[2]",
        ),
        (
            Rule::RouteWithoutDecision,
            "authorize-own-token",
            |files| {
                let state = format!("{HOST}/routes/5/match/filter_state/0/string_match");
                assert_eq!(files.at(ROUTES, &state)["exact"], "own-token");
                let route = format!("{HOST}/routes/5/route");
                files.set(ROUTES, &route, "cluster", json!("apiserver_impersonate_h2"));
            },
            "routes[5]",
        ),
        (
            Rule::LastRoute,
            "in-cluster",
            |files| {
                files.list(ROUTES, &format!("{HOST}/routes")).pop();
            },
            "routes[2]",
        ),
        (
            Rule::LastRoute,
            "in-cluster",
            |files| {
                let response = format!("{HOST}/routes/3/direct_response");
                files.set(ROUTES, &response, "status", json!(200));
            },
            "routes[3]",
        ),
        (
            Rule::OpenCluster,
            "in-cluster",
            |files| {
                let route = format!("{HOST}/routes/2/route");
                files.remove(ROUTES, &route, "cluster");
                files.set(ROUTES, &route, "cluster_header", json!("x-cluster"));
            },
            "routes[2].route",
        ),
        (
            Rule::OpenCluster,
            "in-cluster",
            |files| {
                let mirrors = json!([{"cluster": "apiserver_impersonate_h2"}]);
                let route = format!("{HOST}/routes/2/route");
                files.set(ROUTES, &route, "request_mirror_policies", mirrors);
            },
            "routes[2].route.request_mirror_policies[0]",
        ),
        (
            Rule::OpenCluster,
            "in-cluster",
            |files| files.set(ROUTES, &format!("{HOST}/routes/2/route"), "cluster", json!("typo")),
            "routes[2].route",
        ),
        (
            Rule::ReviewRouted,
            "authorize-own-token",
            |files| {
                let route = format!("{HOST}/routes/2/route");
                files.set(ROUTES, &route, "cluster", json!("apiserver_review"));
            },
            "routes[2].route",
        ),
        (
            Rule::AccessRouted,
            "access",
            |files| {
                let route = format!("{HOST}/routes/4/route");
                files.set(ROUTES, &route, "cluster", json!("access"));
            },
            "routes[4].route",
        ),
        // What needs no login is one path, by POST, and ends.
        (
            Rule::RouteWithoutDecision,
            "access",
            |files| {
                let route = format!("{HOST}/routes/0/match");
                files.remove(ROUTES, &route, "path");
                files.set(ROUTES, &route, "prefix", json!("/"));
            },
            "routes[0]",
        ),
        (
            Rule::RouteWithoutDecision,
            "access",
            |files| {
                files.list(ROUTES, &format!("{HOST}/routes/0/match/headers")).remove(0);
            },
            "routes[0]",
        ),
        (
            Rule::RouteTimeout,
            "access",
            |files| files.set(ROUTES, &format!("{HOST}/routes/0/route"), "timeout", json!("0s")),
            "routes[0].route",
        ),
        // Nor does it have the credential.
        (
            Rule::RouteWithoutDecision,
            "access",
            |files| {
                let route = format!("{HOST}/routes/0/route");
                files.set(ROUTES, &route, "cluster", json!("apiserver_impersonate_h1"));
            },
            "routes[0]",
        ),
        (
            Rule::RouteHeaders,
            "in-cluster",
            |files| {
                let add =
                    json!([{"header": {"key": "Impersonate-Group", "value": "system:masters"}}]);
                files.set(ROUTES, &format!("{HOST}/routes/2"), "request_headers_to_add", add);
            },
            "routes[2].request_headers_to_add[0]",
        ),
        (
            // Servers that fold `_` to `-` exist (CVE-2025-64484).
            Rule::RouteHeaders,
            "in-cluster",
            |files| {
                let add = json!([{"header": {"key": "X_Remote_Group", "value": "admins"}}]);
                files.set(ROUTES, &format!("{HOST}/routes/2"), "request_headers_to_add", add);
            },
            "routes[2].request_headers_to_add[0]",
        ),
        (
            Rule::AuditId,
            "in-cluster",
            |files| files.remove(ROUTES, HOST, "request_headers_to_add"),
            "routes[0]",
        ),
        // Whatever the client's is, if it came so far.
        (
            Rule::AuditId,
            "in-cluster",
            |files| {
                let added = format!("{HOST}/request_headers_to_add/0");
                files.set(ROUTES, &added, "append_action", json!("ADD_IF_ABSENT"));
            },
            "routes[0]",
        ),
        (
            Rule::RouteTimeout,
            "in-cluster",
            |files| files.remove(ROUTES, &format!("{HOST}/routes/2/route"), "timeout"),
            "routes[2].route",
        ),
        (
            Rule::RouteTimeout,
            "certificates",
            |files| {
                let routes = files.list(ROUTES, &format!("{HOST}/routes"));
                routes.retain(|it| it["match"]["query_parameters"][0]["name"] != "follow");
            },
            "routes[3].route",
        ),
        (
            Rule::ClientTimeout,
            "in-cluster",
            |files| files.remove(ROUTES, &format!("{HOST}/routes/2/route"), "max_stream_duration"),
            "routes[2].route",
        ),
    ]
}
