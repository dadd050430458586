//! What was measured: the table, `bench.json`, the chart, and the goals beside the figures.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    chart,
    load::Sample,
    publish::{machine, put, replace_section},
    spread::Spread,
};

/// The chain that small figures are compared with first.
pub const BASE: &str = "envoy";
/// The chain with the same native gates.
pub const GATES: &str = "envoy_gates";
/// What the names of chains end with whose user is in a thousand groups.
const CROWD: &str = "_1000_groups";
/// The processor time of a request.
pub const CPU: fn(&Sample) -> f64 = |sample| sample.cpu_us_per_request;
/// What 99 of 100 requests took at most.
pub const P99: fn(&Sample) -> f64 = |sample| sample.p99_ms;

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
    pub fn ratio(
        &self,
        ours: (&str, &str),
        base: (&str, &str),
        figure: fn(&Sample) -> f64,
    ) -> Option<f64> {
        self.compare(ours, base, figure, |ours, base| ours / base)
    }

    /// By how much a figure is more than another chain's: the median of the rounds' differences.
    pub fn difference(
        &self,
        ours: (&str, &str),
        base: (&str, &str),
        figure: fn(&Sample) -> f64,
    ) -> Option<f64> {
        self.compare(ours, base, figure, |ours, base| ours - base)
    }

    fn compare(
        &self,
        (load, chain): (&str, &str),
        (base_load, base): (&str, &str),
        figure: fn(&Sample) -> f64,
        with: fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let (ours, base) = (self.cell(load, chain)?, self.cell(base_load, base)?);
        let rounds = ours.samples.iter().zip(&base.samples);
        Some(Spread::of(rounds.map(|(ours, base)| with(figure(ours), figure(base)))).median)
    }

    /// The median of a figure of another kind ([`Self::measure`]).
    pub fn figure(&self, chain: &str, what: &str) -> Option<f64> {
        let key = (what.to_owned(), chain.to_owned());
        Some(Spread::of(self.measures.get(&key)?.iter().copied()).median)
    }

    /// The tables, in Markdown.
    pub fn table(&self) -> String {
        let mut text = format!(
            "Measured on {}. Figures are medians, with ranges in brackets: of {} rounds, or of fewer for some loads.\n",
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
            let _ = write!(text, "\n{what}, {chain}: {median:.2} ({least:.2} to {most:.2})\n");
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }

    fn row(&self, cell: &Cell) -> String {
        // Who is in a thousand groups is compared with the same.
        let crowd = if cell.chain.ends_with(CROWD) { CROWD } else { "" };
        let ratio = |base: &str| {
            let base = &format!("{base}{crowd}");
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

    /// Puts this text into `performance.md` and the chart beside it.
    pub fn publish(&self, folder: &Path, text: &str) -> Result<()> {
        replace_section(&folder.join("performance.md"), "results", text)?;
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
}
