//! Envoy's own metrics that the dashboard uses exist, under these names, in a gateway that has served.

use gateway_tests::built;

use crate::harness::{Rig, until};

/// Name, kind, labels and meaning; docs/metrics.md is made of it too.
const ENVOY: &str = include_str!("../../../deploy/monitoring/envoy-metrics.tsv");

#[test]
fn every_metric_of_the_dashboard_is_there() {
    let rig = Rig::shared();
    rig.kubectl(rig.token().mint()).must(["get", "--raw", "/version"], "").unwrap();
    for line in ENVOY.lines() {
        let mut columns = line.split('\t');
        let (name, kind) = (columns.next().unwrap(), columns.next().unwrap());
        let labels = columns.next().unwrap();
        // A native filter has no VM of which Envoy could tell.
        if built::is_native() && name.starts_with("envoy_wasm_") {
            continue;
        }
        // What counts the answer comes a moment after the answer.
        until(name, || {
            let text = rig.gateway.envoy_admin().get("/stats/prometheus").unwrap().body;
            let typed = text.contains(&format!("# TYPE {name} {kind}\n"));
            let names = [format!("{name}{{"), format!("{name}_bucket{{")];
            let mut samples =
                text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
            let labelled = |sample: &str| {
                let mut labels = labels.split(", ").filter(|label| !label.is_empty());
                labels.all(|label| sample.contains(&format!("{}=\"", label.trim_matches('`'))))
            };
            (typed && samples.any(labelled)).then_some(())
        });
    }
}
