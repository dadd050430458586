//! What was promised, beside what was measured: the last table of docs/performance.md.

use std::fmt::Write;

use crate::{
    attack::{ALONE, ATTACKED},
    lasting::WATCH_MEMORY,
    load::Sample,
    report::{BASE, CPU, GATES, P99, Report},
    sources, starts,
    strangers::{FORGED, KNOWN},
};

/// A promise and what was found.
#[derive(Debug, PartialEq)]
pub struct Goal {
    what: String,
    most: f64,
    found: f64,
}

impl Goal {
    /// Whether it was kept, and else by how much it was missed.
    fn verdict(&self) -> String {
        // What the table shows is what counts: 1.204 is 1.20.
        let round = |figure: f64| (figure * 100.0).round();
        if round(self.found) <= round(self.most) {
            return "met".to_owned();
        }
        let over = self.found - self.most;
        format!("missed by {over:.2} ({:.0} %)", over / self.most * 100.0)
    }
}

/// The ratios of two chains under one load.
struct Ratio {
    load: &'static str,
    of: (&'static str, fn(&Sample) -> f64),
    chain: &'static str,
    base: &'static str,
    most: f64,
}

const fn cpu(load: &'static str, chain: &'static str, base: &'static str, most: f64) -> Ratio {
    Ratio { load, of: ("CPU", CPU), chain, base, most }
}

const fn p99(chain: &'static str, most: f64) -> Ratio {
    Ratio { load: H2, of: ("p99", P99), chain, base: BASE, most }
}

const H2: &str = "get_h2";
const APISERVER: &str = "get_h2_apiserver";

const RATIOS: [Ratio; 28] = [
    cpu(H2, "gateway_warm", GATES, 1.20),
    cpu(H2, "native_warm", GATES, 1.08),
    cpu(H2, "gateway_warm", BASE, 1.42),
    cpu(H2, "native_warm", BASE, 1.30),
    cpu(H2, "gateway_2000_tokens", "envoy_gates_2000_tokens", 1.20),
    cpu(H2, "native_2000_tokens", "envoy_gates_2000_tokens", 1.08),
    // Where the groups came from makes no difference to a warm request, but the machine's own.
    cpu(H2, "gateway_groups_warm", "gateway_warm", 1.03),
    cpu(H2, "native_groups_warm", "native_warm", 1.03),
    cpu(APISERVER, "gateway_warm", GATES, 1.12),
    cpu(APISERVER, "native_warm", GATES, 1.05),
    cpu(H2, "gateway_cold_rs256", "jwt_authn_gates", 1.08),
    cpu(H2, "native_cold_rs256", "jwt_authn_gates", 0.98),
    cpu(H2, "gateway_cold_es256", "jwt_authn_gates_es256", 1.08),
    cpu(H2, "native_cold_es256", "jwt_authn_gates_es256", 0.98),
    cpu(H2, "native_cold_ps256", "native_cold_rs256", 1.60),
    cpu(H2, "native_cold_es384", "native_cold_rs256", 1.60),
    p99("gateway_warm", 1.30),
    p99("native_warm", 1.10),
    cpu(H2, "gateway_warm", PROXY, 0.22),
    cpu(H2, "native_warm", PROXY, 0.19),
    cpu(ONE_WORKER, "gateway_warm", GATES, 1.20),
    cpu(ONE_WORKER, "native_warm", GATES, 1.08),
    cpu(EIGHT_WORKERS, "gateway_warm", GATES, 1.20),
    cpu(EIGHT_WORKERS, "native_warm", GATES, 1.08),
    cpu(LIST, "gateway_warm", BASE, 1.10),
    cpu(LIST, "native_warm", BASE, 1.06),
    cpu(WATCHES, "gateway_warm", BASE, 1.10),
    cpu(WATCHES, "native_warm", BASE, 1.06),
];

const PROXY: &str = "kube_oidc_proxy";
const ONE_WORKER: &str = "get_h2_one_worker";
const EIGHT_WORKERS: &str = "get_h2_eight_workers";
const LIST: &str = "list_100mb";
const WATCHES: &str = "watches_5000";

/// Those of which everything was measured.
pub fn goals(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut goal = |what: String, most: f64, found: Option<f64>| {
        goals.extend(found.map(|found| Goal { what, most, found }));
    };
    for Ratio { load, of: (figure, of), chain, base, most } in RATIOS {
        let found = report.ratio((load, chain), (load, base), of);
        goal(format!("{load}: {figure} of {chain} / {base}"), most, found);
    }
    let twenty = report.difference((H2, "gateway_conditions"), (H2, "gateway_warm"), CPU);
    goal(format!("{H2}: CPU of gateway_conditions - gateway_warm, µs"), 15.0, twenty);
    for chain in ["gateway_groups_warm", "native_groups_warm"] {
        goal(format!("{chain}: {}", sources::BEYOND), 2.0, report.figure(chain, sources::BEYOND));
    }
    let (ours, alone) = ((ATTACKED, "gateway_warm"), (ALONE, "gateway_warm"));
    goal(format!("p99 of gateway_warm: {ATTACKED} / {ALONE}"), 1.5, report.ratio(ours, alone, P99));
    for load in FORGED {
        let known = (KNOWN, "gateway_warm");
        let found = report.ratio((load, "gateway_warm"), known, CPU);
        goal(format!("CPU of gateway_warm: {load} / {KNOWN}"), 3.0, found);
    }
    for (chain, most) in [("gateway_warm", 1.10), ("native_warm", 1.06)] {
        let (ours, base) = (report.figure(chain, WATCH_MEMORY), report.figure(BASE, WATCH_MEMORY));
        let found = ours.zip(base).map(|(ours, base)| ours / base);
        goal(format!("memory of a watch: {chain} / {BASE}"), most, found);
    }
    for (chain, seconds, mib) in [("gateway_warm", 1.0, 120.0), ("native_warm", 0.3, 85.0)] {
        for (what, most) in [(starts::READY, seconds), (starts::MEMORY, mib)] {
            goal(format!("{chain}: {what}"), most, report.figure(chain, what));
        }
    }
    goals
}

/// The table, in Markdown; empty if nothing that was promised was measured.
pub fn table(goals: &[Goal]) -> String {
    if goals.is_empty() {
        return String::new();
    }
    let mut text =
        "\n### Goals\n\n| goal | at most | measured | |\n|---|---:|---:|---|\n".to_owned();
    for goal in goals {
        let Goal { what, most, found } = goal;
        let _ = writeln!(text, "| {what} | {most:.2} | {found:.2} | {} |", goal.verdict());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chains::CHAINS;

    fn sample(cpu_us_per_request: f64) -> Sample {
        Sample {
            cpu_us_per_request,
            requests_per_second: 1000.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            rss_mb: 100.0,
        }
    }

    fn report(figures: &[(&str, [f64; 3])]) -> Report {
        let mut report = Report::new(3);
        for (chain, figures) in figures {
            for figure in figures {
                report.add(chain, H2, sample(*figure));
            }
        }
        report
    }

    #[test]
    fn goals_are_medians_of_the_rounds_ratios_under_one_load() {
        let mut report =
            report(&[("envoy", [50.0, 40.0, 80.0]), ("gateway_warm", [60.0, 50.0, 120.0])]);
        report.add(GATES, "get_h1", sample(1.0));
        let goals = goals(&report);
        assert_eq!(goals.len(), 2, "{goals:?}");
        assert!(table(&goals).contains("| 1.42 | 1.25 | met |"), "{}", table(&goals));
    }

    #[test]
    fn a_goal_that_is_missed_says_by_how_much() {
        let report = report(&[
            (GATES, [100.0, 100.0, 100.0]),
            ("gateway_warm", [125.0, 126.0, 127.0]),
            ("gateway_conditions", [136.0, 137.0, 140.0]),
        ]);
        let table = table(&goals(&report));
        assert!(table.contains("| 1.20 | 1.26 | missed by 0.06 (5 %) |"), "{table}");
        assert!(table.contains("µs | 15.00 | 11.00 | met |"), "{table}");
    }

    #[test]
    fn goals_are_of_chains_that_there_are() {
        for Ratio { chain, base, .. } in RATIOS {
            for name in [chain, base] {
                assert!(CHAINS.iter().any(|chain| chain.name == name), "{name}");
            }
        }
    }
}
