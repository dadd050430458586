//! What conditions rely on.

use gateway_lint::{Rule, Sources, warnings};
use serde_json::{Value, json};

use super::{Case, ENVOY, Files, HOST, MANAGER, ROUTES};

fn condition(expression: &str) -> Value {
    json!({
        "clientImpersonation": "strip",
        "conditions": [{"name": "a", "expression": expression}],
    })
}

pub fn broken() -> Vec<Case> {
    let rewrite: fn(&mut Files) = |files| {
        files.configure(&condition("request.resource != 'secrets'"));
        files.set(ROUTES, &format!("{HOST}/routes/2/route"), "prefix_rewrite", json!("/"));
    };
    let regex: fn(&mut Files) = |files| {
        files.configure(&condition("request.resource != 'secrets'"));
        let rewrite = json!({"pattern": {"regex": "^/c1"}, "substitution": ""});
        files.set(ROUTES, &format!("{HOST}/routes/0/route"), "regex_rewrite", rewrite);
    };
    vec![
        (Rule::PathRewrite, "in-cluster", rewrite, "routes[2].route.prefix_rewrite"),
        (Rule::PathRewrite, "in-cluster", regex, "routes[0].route.regex_rewrite"),
    ]
}

/// Without conditions a path may be rewritten.
#[test]
fn a_rewrite_is_found_only_where_conditions_judge_paths() {
    let mut files = Files::of("in-cluster");
    files.set(ROUTES, &format!("{HOST}/routes/2/route"), "prefix_rewrite", json!("/"));
    assert_eq!(files.lint(), []);
}

#[test]
fn an_address_that_nobody_is_trusted_to_say_is_warned_of() {
    let reads = "cidr('192.0.2.0/24').containsIP(request.address)";
    for (expression, hops, want) in [
        (reads, 0, 1),
        (reads, 1, 0),
        ("request.verb == 'get'", 0, 0),
        ("dyn(request).address != ''", 0, 1),
    ] {
        let mut files = Files::of("in-cluster");
        files.configure(&condition(expression));
        files.set(ENVOY, MANAGER, "xff_num_trusted_hops", json!(hops));
        let found = warnings(&Sources::from_values(files.0));
        assert_eq!(found.len(), want, "{expression} {hops}: {found:?}");
        assert!(found.iter().all(|text| text.contains("a condition reads request.address")));
    }
    let mut files = Files::of("proxies");
    files.configure(&condition(reads));
    assert_eq!(warnings(&Sources::from_values(files.0)), Vec::<String>::new());
}
