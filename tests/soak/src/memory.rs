//! Resident memory, looked at every few seconds.

use std::time::{Duration, Instant};

/// How often it is looked at.
pub const EVERY: Duration = Duration::from_secs(5);
/// A run that is shorter says nothing about growth: caches fill, and V8 gives memory back late.
pub const JUDGED: Duration = Duration::from_mins(10);
/// What a process may have grown in the second half of a run: a tenth of what it has at half time, and this many MiB.
const SLACK_MIB: f64 = 16.0;

/// The memory of a process over time, MiB.
#[derive(Clone, Debug)]
pub struct Curve {
    start: Instant,
    samples: Vec<(f64, f64)>,
}

/// What a curve comes to, MiB: medians around its start, its middle and its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Of the first twentieth.
    pub start: f64,
    /// Of a tenth around half time.
    pub half: f64,
    /// Of the last tenth.
    pub end: f64,
}

impl Curve {
    /// An empty one.
    pub fn new(start: Instant) -> Self {
        Self { start, samples: Vec::new() }
    }

    /// One look.
    pub fn add(&mut self, at: Instant, mib: f64) {
        self.samples.push((at.saturating_duration_since(self.start).as_secs_f64(), mib));
    }

    /// The last look.
    pub fn last(&self) -> f64 {
        self.samples.last().map_or(0.0, |(_, mib)| *mib)
    }

    /// What it comes to.
    pub fn growth(&self) -> Growth {
        let length = self.samples.last().map_or(0.0, |(second, _)| *second);
        let median = |from: f64, to: f64| {
            let inside = |second: f64| second >= from * length && second <= to * length;
            let mut part: Vec<f64> = self
                .samples
                .iter()
                .filter(|(second, _)| inside(*second))
                .map(|(_, mib)| *mib)
                .collect();
            part.sort_by(f64::total_cmp);
            part.get(part.len() / 2).copied().unwrap_or(self.last())
        };
        Growth { start: median(0.0, 0.05), half: median(0.45, 0.55), end: median(0.9, 1.0) }
    }
}

impl Growth {
    /// What it may be at the end.
    pub fn bound(&self) -> f64 {
        self.half * 1.1 + SLACK_MIB
    }

    /// Whether it is more.
    pub fn too_much(&self) -> bool {
        self.end > self.bound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(mib: impl Fn(u32) -> f64) -> Growth {
        let start = Instant::now();
        let mut curve = Curve::new(start);
        for number in 0..=720 {
            curve.add(start + EVERY * number, mib(number));
        }
        curve.growth()
    }

    #[test]
    fn a_leak_is_found_and_a_warm_up_or_a_peak_is_none() {
        let warm_up = growth(|number| if number < 100 { f64::from(number) } else { 150.0 });
        assert_eq!((warm_up.half, warm_up.end, warm_up.too_much()), (150.0, 150.0, false));
        assert!(!growth(|number| if number == 700 { 900.0 } else { 150.0 }).too_much());
        assert!(growth(|number| 100.0 + f64::from(number) / 6.0).too_much());
    }
}
