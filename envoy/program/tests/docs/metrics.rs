//! docs/metrics.md, of the tables of metrics.

use std::fmt::Write;

use gateway_core::metrics::Metric;
use kube_oidc_gateway::run::metrics::Metric as Program;

/// A metric as the documentation has it.
pub struct Row {
    pub name: String,
    kind: &'static str,
    labels: String,
    help: String,
}

/// Envoy's own, as far as the dashboards and the alerts use them. An end-to-end test finds each in a running gateway.
pub const ENVOY: &str = include_str!("../../../../deploy/monitoring/envoy-metrics.tsv");

const HEAD: &str = "# Metrics

<!-- Generated from the tables of metrics; UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->

All metrics are in Prometheus' text format. `run` shows them at `/metrics` of its health port. An Envoy of your own shows them at
`/stats/prometheus` of its admin interface.

The values of every label are from a fixed set, except those of `issuer`. That label has the issuer's URL, with `_` for characters
that a label of Envoy's cannot have. There are as many as the configuration has issuers.

Envoy measures in units of its own. `run` shows seconds:

- `gateway_authentication_seconds` instead of `gateway_authentication_microseconds`,
- `gateway_apiserver_request_seconds` instead of `envoy_vhost_vcluster_upstream_rq_time`, which is in milliseconds.

The buckets of both are finest where most answers are. Envoy's own `envoy_http_downstream_rq_time` counts watches when they end, and
is of little use here.

The chart's ServiceMonitor keeps less than 300 series a pod: all that dashboards and alerts use. Envoy itself has some 3,000.

If a filter is not called `gateway` (`config.name`), each of its series also has its name as the label `gateway`. This happens with
[several gateways in one Envoy](envoy.md#several-gateways-in-one-envoy), and if a control plane gives the name, as Istio does.

[deploy/monitoring](../deploy/monitoring) has Grafana dashboards and alert rules that use these metrics. [alerts.md](alerts.md) says
what to do about each alert. [traces.md](traces.md) shows where the time of one request went.
";

/// What the filter counts.
pub fn filter() -> Vec<Row> {
    let row = |metric: Metric| Row {
        name: metric.name().to_owned(),
        kind: metric.kind().word(),
        labels: labels(metric.labels()),
        help: metric.help().to_owned(),
    };
    Metric::ALL.into_iter().map(row).collect()
}

/// What the program counts.
pub fn program() -> Vec<Row> {
    let row = |metric: Program| Row {
        name: metric.name().to_owned(),
        kind: metric.kind().word(),
        labels: labels(metric.labels()),
        help: metric.help().to_owned(),
    };
    Program::ALL.into_iter().map(row).collect()
}

/// What Envoy counts.
pub fn envoy() -> Vec<Row> {
    let row = |line: &'static str| {
        let columns: Vec<_> = line.split('\t').collect();
        let [name, kind, labels, help] = columns[..] else { panic!("{line:?}") };
        Row { name: name.to_owned(), kind, labels: labels.to_owned(), help: help.to_owned() }
    };
    ENVOY.lines().map(row).collect()
}

#[test]
fn the_reference_is_what_the_tables_say() {
    let mut text = HEAD.to_owned();
    section(&mut text, "The filter", &filter());
    section(&mut text, "The program (`run`)", &program());
    section(&mut text, "Envoy, as far as the dashboards use it", &envoy());
    super::hold("docs/metrics.md", &text);
}

fn section(text: &mut String, title: &str, rows: &[Row]) {
    write!(text, "\n## {title}\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n")
        .unwrap();
    for Row { name, kind, labels, help } in rows {
        writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
}

fn labels(labels: &[&str]) -> String {
    labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
}
