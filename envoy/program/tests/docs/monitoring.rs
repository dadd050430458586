//! The dashboards and the alert rules use only metrics that exist.

use std::{collections::BTreeSet, fs};

use regex_lite::Regex;
use serde_json::Value;

use super::{metrics, root};

const DASHBOARDS: [&str; 3] = [
    "deploy/monitoring/dashboards/overview.json",
    "deploy/monitoring/dashboards/security.json",
    "deploy/monitoring/dashboards/capacity.json",
];
const ALERTS: &str = "deploy/monitoring/alerts.yaml";

fn known() -> BTreeSet<String> {
    let rows = metrics::filter().into_iter().chain(metrics::program()).chain(metrics::envoy());
    // Prometheus' own: whether a target answers.
    rows.map(|row| row.name).chain(["up".to_owned()]).collect()
}

/// Every `PromQL` expression of a document: the texts of fields named `expr`.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text) if name == "expr" => found.push(text.to_owned()),
                    _ => expressions(field, found),
                }
            }
        }
        _ => {}
    }
}

/// The metrics of an expression: every name that is no function, no label and no word of `PromQL`.
fn names(expression: &str) -> BTreeSet<String> {
    const WORDS: [&str; 13] = [
        "by", "without", "and", "or", "unless", "on", "ignoring", "bool", "sum", "min", "max",
        "avg", "count",
    ];
    let mut names = BTreeSet::new();
    let (mut rest, mut depth) = (expression, 0_usize);
    let mut labels_follow = false;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').unwrap();
            rest = &rest[end + 2..];
        } else if first == '[' {
            // A range: 5m
            rest = &rest[rest.find(']').unwrap() + 1..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            let called = behind.trim_start().starts_with('(');
            if depth == 0 && !called && !WORDS.contains(&word) {
                names.insert(word.to_owned());
            }
            labels_follow = ["by", "without", "on", "ignoring"].contains(&word);
            rest = behind;
        } else {
            match first {
                '{' => depth += 1,
                '}' => depth -= 1,
                '(' if labels_follow => {
                    // A list of labels.
                    rest = &rest[rest.find(')').unwrap()..];
                    labels_follow = false;
                }
                _ => {}
            }
            // A number with its unit, as 1e3.
            let skip = if first.is_ascii_digit() {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            rest = &rest[skip..];
        }
    }
    names
}

#[test]
fn names_are_found_in_expressions() {
    for (expression, want) in [
        ("a", &["a"][..]),
        (r#"sum by (reason) (rate(a_total{decision="refused"}[5m])) / 2e3"#, &["a_total"]),
        ("sum(rate(a[1m])) by (le) > 0 and on (issuer) b == 0", &["a", "b"]),
        ("time() - max without (pod) (c) unless d", &["c", "d"]),
    ] {
        assert_eq!(names(expression).into_iter().collect::<Vec<_>>(), want, "{expression}");
    }
}

#[test]
fn every_expression_uses_metrics_that_exist() {
    let known = known();
    for path in DASHBOARDS.into_iter().chain([ALERTS]) {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let document: Value = serde_saphyr::from_str(&text).unwrap();
        let mut found = Vec::new();
        expressions(&document, &mut found);
        assert!(found.len() >= 12, "{path}: {} expressions", found.len());
        for expression in found {
            let names = names(&expression);
            assert!(!names.is_empty(), "{path}: {expression}");
            for name in names {
                let bare =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let exists = known.contains(&name) || bare.is_some_and(|it| known.contains(it));
                assert!(exists, "{path}: {name} in {expression}");
            }
        }
    }
}

/// What is shown and what wakes somebody is explained.
#[test]
fn alerts_say_what_to_do() {
    let text = fs::read_to_string(root().join(ALERTS)).unwrap();
    let document: Value = serde_saphyr::from_str(&text).unwrap();
    for rule in document["groups"][0]["rules"].as_array().unwrap() {
        for field in ["summary", "description"] {
            assert!(rule["annotations"][field].is_string(), "{rule}");
        }
        assert!(rule["labels"]["severity"].is_string() && rule["for"].is_string(), "{rule}");
    }
}

/// Each has a section of its own in docs/alerts.md, and its link leads there.
#[test]
fn alerts_link_to_sections_that_exist() {
    let rules: Value = serde_saphyr::from_str(&read(ALERTS)).unwrap();
    let page = read("docs/alerts.md");
    let mut sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        let link = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], link, "{name}");
        assert!(sections.contains(&name), "docs/alerts.md has no section {name}");
        sections.retain(|section| *section != name);
    }
    assert_eq!(sections, [""; 0], "sections without an alert");
}

/// Why an issuer or the API server does not answer is known to the gateway: whoever is woken is told, and by the word that
/// docs/troubleshooting.md has.
#[test]
fn alerts_and_panels_name_the_cause() {
    for metric in ["gateway_issuer_failing", "gateway_callout_failures_total"] {
        let rules: Value = serde_saphyr::from_str(&read(ALERTS)).unwrap();
        let uses = |rule: &&Value| rule["expr"].as_str().unwrap().contains(metric);
        let rule = rules["groups"][0]["rules"].as_array().unwrap().iter().find(uses);
        let rule = rule.unwrap_or_else(|| panic!("no alert is about {metric}"));
        let summary = rule["annotations"]["summary"].as_str().unwrap();
        assert!(summary.contains("{{ $labels.reason }}"), "{summary}");
        let description = rule["annotations"]["description"].as_str().unwrap();
        assert!(description.contains("docs/troubleshooting.md"), "{description}");
        let shown = DASHBOARDS.iter().flat_map(|path| panels(path)).any(|panel| {
            panel["targets"].as_array().into_iter().flatten().any(|target| {
                target["expr"].as_str().unwrap().contains(metric)
                    && target["legendFormat"].as_str().unwrap().contains("{{reason}}")
            })
        });
        assert!(shown, "no panel shows {metric} by its reason");
    }
}

/// Debian's bundle has roots that ended years ago: the first end of the system's CAs says nothing, and the alert always fired.
#[test]
fn no_alert_is_about_the_first_end_of_the_system_s_cas() {
    let rules: Value = serde_saphyr::from_str(&read(ALERTS)).unwrap();
    let mut found = Vec::new();
    expressions(&rules, &mut found);
    let about_ends = "gateway_certificate_expiry_timestamp_seconds";
    let without = format!(r#"{about_ends}{{input!="system_ca"}}"#);
    let count = |name: &str| found.iter().map(|it| it.matches(name).count()).sum::<usize>();
    assert!(count(about_ends) > 0);
    assert_eq!(count(about_ends), count(&without), "{found:?}");
}

/// What the chart's `ServiceMonitor` keeps by default is enough for the dashboard and the alerts.
#[test]
fn what_the_service_monitor_drops_is_not_used() {
    let values: Value =
        serde_saphyr::from_str(&read("deploy/helm/kube-oidc-gateway/values.yaml")).unwrap();
    let relabelings = &values["metrics"]["serviceMonitor"]["metricRelabelings"];
    assert_eq!(relabelings[0]["action"], "keep");
    let keep = relabelings[0]["regex"].as_str().unwrap();
    // Prometheus anchors them.
    let keep = Regex::new(&format!("^(?:{keep})$")).unwrap();
    for path in DASHBOARDS.into_iter().chain([ALERTS]) {
        let document: Value = serde_saphyr::from_str(&read(path)).unwrap();
        let mut found = Vec::new();
        expressions(&document, &mut found);
        for expression in found {
            for name in names(&expression) {
                // Prometheus makes it itself.
                assert!(name == "up" || keep.is_match(&name), "{path}: {name} in {expression}");
            }
        }
    }
    assert!(!keep.is_match("envoy_cluster_upstream_cx_total"));
}

/// Whoever has several clusters, installations or pods sees one of them, and what is bad without looking for it.
#[test]
fn dashboards_choose_by_variables_and_have_thresholds() {
    for path in DASHBOARDS {
        let document: Value = serde_saphyr::from_str(&read(path)).unwrap();
        let variables = document["templating"]["list"].as_array().unwrap();
        let names: Vec<_> = variables.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["datasource", "cluster", "namespace", "instance"], "{path}");
        // A label that is not there is chosen, too.
        assert!(variables[1..].iter().all(|it| it["allValue"] == ".*"), "{path}");
        let mut found = Vec::new();
        expressions(&document, &mut found);
        for expression in found {
            let chosen = r#"cluster=~"$cluster",namespace=~"$namespace",instance=~"$instance""#;
            for selector in selectors(&expression) {
                let rest = selector.strip_prefix(chosen);
                let rest = rest.unwrap_or_else(|| panic!("{path}: {selector} in {expression}"));
                assert!(rest.is_empty() || rest.starts_with(','), "{path}: {selector}");
            }
        }
        let panels = panels(path);
        let with = |panel: &&Value| panel["fieldConfig"]["defaults"]["thresholds"].is_object();
        assert!(panels.iter().filter(with).count() >= 4, "{path}");
        assert!(panels.iter().all(|it| it["gridPos"]["x"].as_u64().unwrap() < 24), "{path}");
    }
    let id = |path: &str| serde_saphyr::from_str::<Value>(&read(path)).unwrap()["uid"].to_string();
    assert_eq!(DASHBOARDS.map(id).into_iter().collect::<BTreeSet<_>>().len(), 3);
}

/// What stands in the braces of an expression's series.
fn selectors(expression: &str) -> Vec<&str> {
    let braces = expression.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let found: Vec<_> = braces.collect();
    assert!(found.len() >= names(expression).len(), "{expression}: a series without a choice");
    found
}

fn panels(path: &str) -> Vec<Value> {
    let document: Value = serde_saphyr::from_str(&read(path)).unwrap();
    document["panels"].as_array().unwrap().clone()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}
