//! What was measured: the table, `bench.json`, the chart, and the goals beside the figures.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    attack::{ALONE, ATTACKED},
    chart,
    load::Sample,
    publish::{machine, put, replace_section},
    spread::Spread,
    strangers::{FORGED, KNOWN},
};

/// The chain that small figures are compared with first.
const BASE: &str = "envoy";
/// The chain with the same native gates.
const GATES: &str = "envoy_gates";
/// The processor time of a request.
const CPU: fn(&Sample) -> f64 = |sample| sample.cpu_us_per_request;
/// What 99 of 100 requests took at most.
const P99: fn(&Sample) -> f64 = |sample| sample.p99_ms;

/// Samples by load and chain, in the order in which they first came.
pub struct Report {
    rounds: u32,
    cells: Vec<Cell>,
    measures: BTreeMap<(String, String), Vec<f64>>,
    notes: Vec<String>,
}

struct Cell {
    chain: String,
    load: String,
    samples: Vec<Sample>,
}

/// A line of `bench.json`: medians.
#[derive(Debug, Serialize)]
struct Line<'a> {
    chain: &'a str,
    load: &'a str,
    cpu_us_per_request: f64,
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    rss_mb: f64,
}

impl Cell {
    fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(figure))
    }
}

impl Report {
    /// An empty one.
    pub fn new(rounds: u32) -> Self {
        Self { rounds, cells: Vec::new(), measures: BTreeMap::new(), notes: Vec::new() }
    }

    /// Adds a turn of a chain under a load.
    pub fn add(&mut self, chain: &str, load: &str, sample: Sample) {
        let known = |cell: &&mut Cell| cell.chain == chain && cell.load == load;
        if let Some(cell) = self.cells.iter_mut().find(known) {
            cell.samples.push(sample);
        } else {
            let (chain, load) = (chain.to_owned(), load.to_owned());
            self.cells.push(Cell { chain, load, samples: vec![sample] });
        }
    }

    /// Adds a figure of another kind.
    pub fn measure(&mut self, chain: &str, what: &str, figure: f64) {
        self.measures.entry((what.to_owned(), chain.to_owned())).or_default().push(figure);
    }

    /// Adds a sentence.
    pub fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    fn cell(&self, load: &str, chain: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.load == load && cell.chain == chain)
    }

    fn loads(&self) -> Vec<&str> {
        let mut loads: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !loads.contains(&cell.load.as_str()) {
                loads.push(&cell.load);
            }
        }
        loads
    }

    /// How a figure compares with another chain's (or load's): the median of the rounds' ratios. Turns of one round are
    /// close in time, so that a machine that becomes slower between rounds does not count.
    fn ratio(
        &self,
        (load, chain): (&str, &str),
        (base_load, base): (&str, &str),
        figure: fn(&Sample) -> f64,
    ) -> Option<f64> {
        let (ours, base) = (self.cell(load, chain)?, self.cell(base_load, base)?);
        let rounds = ours.samples.iter().zip(&base.samples);
        Some(Spread::of(rounds.map(|(ours, base)| figure(ours) / figure(base))).median)
    }

    /// The tables and the goals, in Markdown.
    pub fn table(&self) -> String {
        let mut text = format!(
            "Measured on {}; medians of {} rounds, ranges in brackets.\n",
            machine(),
            self.rounds
        );
        for load in self.loads() {
            let _ = write!(
                text,
                "\n### {load}\n\n| chain | CPU µs a request | x {BASE} | x {GATES} | requests/s | p50 ms | p99 ms | RSS MiB |\n\
                 |---|---:|---:|---:|---:|---:|---:|---:|\n"
            );
            for cell in self.cells.iter().filter(|cell| cell.load == load) {
                let _ = writeln!(text, "{}", self.row(cell));
            }
        }
        for ((what, chain), figures) in &self.measures {
            let Spread { least, median, most } = Spread::of(figures.iter().copied());
            let _ = write!(text, "\n{what}, {chain}: {median:.1} ({least:.1} to {most:.1})\n");
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        let goals = self.goals();
        if !goals.is_empty() {
            let _ = write!(
                text,
                "\n### Goals\n\n| goal | at most | measured | |\n|---|---:|---:|---|\n"
            );
            for (what, most, found) in goals {
                let met = if found <= most { "met" } else { "missed" };
                let _ = writeln!(text, "| {what} | {most:.2} | {found:.2} | {met} |");
            }
        }
        text
    }

    fn row(&self, cell: &Cell) -> String {
        let ratio = |base: &str| {
            let ratio = self.ratio((&cell.load, &cell.chain), (&cell.load, base), CPU);
            ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        let range = |figure: fn(&Sample) -> f64, digits: usize| {
            let Spread { least, median, most } = cell.spread(figure);
            format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} |",
            cell.chain,
            range(CPU, 1),
            ratio(BASE),
            ratio(GATES),
            range(|sample| sample.requests_per_second, 0),
            range(|sample| sample.p50_ms, 2),
            range(P99, 2),
            cell.spread(|sample| sample.rss_mb).median
        )
    }

    /// What was promised, how much of it is allowed, and what was found.
    fn goals(&self) -> Vec<(String, f64, f64)> {
        let ratio = |figure: fn(&Sample) -> f64, load: &str, chain: &str, base: &str| {
            self.ratio((load, chain), (load, base), figure)
        };
        let mut goals = Vec::new();
        let mut goal = |what: String, most: f64, found: Option<f64>| {
            goals.extend(found.map(|found| (what, most, found)));
        };
        for load in ["get_h2", "get_h2_apiserver"] {
            for (chain, base, most) in [
                ("gateway_warm", GATES, 1.20),
                ("gateway_warm", BASE, 1.35),
                ("gateway_2000_tokens", "envoy_gates_2000_tokens", 1.20),
                ("gateway_cold_rs256", "jwt_authn_gates", 1.05),
                ("gateway_cold_es256", "jwt_authn_gates_es256", 1.05),
                ("native_warm", GATES, 1.08),
                ("native_warm", BASE, 1.30),
                ("native_cold_rs256", "jwt_authn_gates", 0.98),
                ("native_cold_es256", "jwt_authn_gates_es256", 0.98),
                ("native_cold_ps256", "native_cold_rs256", 1.60),
                ("native_cold_es384", "native_cold_rs256", 1.60),
            ] {
                let what = format!("{load}: CPU of {chain} / {base}");
                goal(what, most, ratio(CPU, load, chain, base));
            }
            let what = format!("{load}: p99 of gateway_warm / {BASE}");
            goal(what, 1.3, ratio(P99, load, "gateway_warm", BASE));
            let what = format!("{load}: p99 of native_warm / {BASE}");
            goal(what, 1.1, ratio(P99, load, "native_warm", BASE));
        }
        for load in ["list_100mb", "watches_5000"] {
            let what = format!("{load}: CPU of gateway_warm / {BASE}");
            goal(what, 1.10, ratio(CPU, load, "gateway_warm", BASE));
            let what = format!("{load}: CPU of native_warm / {BASE}");
            goal(what, 1.06, ratio(CPU, load, "native_warm", BASE));
        }
        let (ours, alone) = ((ATTACKED, "gateway_warm"), (ALONE, "gateway_warm"));
        goal(
            format!("p99 of gateway_warm: {ATTACKED} / {ALONE}"),
            1.5,
            self.ratio(ours, alone, P99),
        );
        for load in FORGED {
            let known = (KNOWN, "gateway_warm");
            let what = format!("CPU of gateway_warm: {load} / {KNOWN}");
            goal(what, 3.0, self.ratio((load, "gateway_warm"), known, CPU));
        }
        let of_watch = |chain: &str| {
            let key = ("memory of a watch, KiB".to_owned(), chain.to_owned());
            Some(Spread::of(self.measures.get(&key)?.iter().copied()).median)
        };
        let what = format!("memory of a watch: gateway_warm / {BASE}");
        goal(
            what,
            1.10,
            of_watch("gateway_warm").zip(of_watch(BASE)).map(|(ours, base)| ours / base),
        );
        let what = format!("memory of a watch: native_warm / {BASE}");
        let native = of_watch("native_warm").zip(of_watch(BASE)).map(|(ours, base)| ours / base);
        goal(what, 1.06, native);
        goals
    }

    /// Writes `bench.json` and `bench.svg`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lines: Vec<Line<'_>> = self
            .cells
            .iter()
            .map(|cell| {
                let median = |figure: fn(&Sample) -> f64, digits: i32| {
                    let scale = 10_f64.powi(digits);
                    (cell.spread(figure).median * scale).round() / scale
                };
                Line {
                    chain: &cell.chain,
                    load: &cell.load,
                    cpu_us_per_request: median(|s| s.cpu_us_per_request, 2),
                    requests_per_second: median(|s| s.requests_per_second, 1),
                    p50_ms: median(|s| s.p50_ms, 3),
                    p99_ms: median(|s| s.p99_ms, 3),
                    rss_mb: median(|s| s.rss_mb, 1),
                }
            })
            .collect();
        put(&folder.join("bench.json"), &format!("{}\n", serde_json::to_string_pretty(&lines)?))?;
        put(&folder.join("bench.svg"), &self.chart())
    }

    /// Puts the tables into `performance.md` and the chart beside it.
    pub fn publish(&self, folder: &Path) -> Result<()> {
        replace_section(&folder.join("performance.md"), "results", &self.table())?;
        put(&folder.join("performance.svg"), &self.chart())
    }

    fn chart(&self) -> String {
        let bars = |load: &str| -> Vec<(String, Spread)> {
            let of = self.cells.iter().filter(|cell| cell.load == load);
            of.map(|cell| (cell.chain.clone(), cell.spread(|s| s.cpu_us_per_request))).collect()
        };
        chart::draw(
            "CPU of the proxy for a small request over HTTP/2, µs",
            &machine(),
            &bars("get_h2"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        for (figures, want) in [
            (&[3.0, 1.0, 2.0][..], (1.0, 2.0, 3.0)),
            (&[4.0, 1.0, 2.0, 3.0], (1.0, 2.5, 4.0)),
            (&[7.0], (7.0, 7.0, 7.0)),
            (&[], (0.0, 0.0, 0.0)),
        ] {
            let Spread { least, median, most } = Spread::of(figures.iter().copied());
            assert_eq!((least, median, most), want, "{figures:?}");
        }
    }

    fn sample(cpu_us_per_request: f64) -> Sample {
        Sample {
            cpu_us_per_request,
            requests_per_second: 1000.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            rss_mb: 100.0,
        }
    }

    #[test]
    fn goals_are_medians_of_the_rounds_ratios_under_one_load() {
        let mut report = Report::new(3);
        for (chain, figures) in
            [("envoy", [50.0, 40.0, 80.0]), ("gateway_warm", [60.0, 50.0, 120.0])]
        {
            for figure in figures {
                report.add(chain, "get_h2", sample(figure));
            }
        }
        report.add("envoy_gates", "get_h1", sample(1.0));
        let goals = report.goals();
        assert_eq!(goals.len(), 2, "{goals:?}");
        assert_eq!((goals[0].1, goals[0].2), (1.35, 1.25));
        assert!(report.table().contains("| 1.35 | 1.25 | met |"), "{}", report.table());
    }
}
