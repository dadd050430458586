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

Prometheus' text format. `run` shows all of them at `/metrics` of its health port; of an Envoy of your own they are at
`/stats/prometheus` of its admin interface. Label values are closed sets, but for `issuer`, whose number the configuration
bounds: the URL with `_` for what a label of Envoy's cannot hold.

Envoy measures in its own units. What `run` shows is in seconds: `gateway_authentication_seconds` in place of
`gateway_authentication_microseconds`, and `gateway_apiserver_request_seconds` in place of `envoy_vhost_vcluster_upstream_rq_time`,
which is in milliseconds. Both have buckets where the answers are. Envoy's own `envoy_http_downstream_rq_time` counts watches when
they end, and is of little use here.

The chart's ServiceMonitor keeps less than 300 series a pod, all that dashboards and alerts use; Envoy itself has some 3,000.

Every series of a filter that is not called `gateway` (`config.name`) has its name as the label `gateway`, too: with
[several gateways in one Envoy](envoy.md#several-gateways-in-one-envoy), and where a control plane gives the name, as Istio does.

[deploy/monitoring](../deploy/monitoring) has Grafana dashboards and alert rules that use them, [alerts.md](alerts.md) what to do
about each alert, [traces.md](traces.md) how to see where the time of one request went.
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
