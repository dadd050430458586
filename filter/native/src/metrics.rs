//! Hands what was counted to Envoy.

use std::collections::HashMap;

use gateway_core::metrics::{Change, GATEWAY_LABEL, Kind, Metric};

use crate::host::{self, ConfigHandle, HttpFilter};

/// Envoy's numbers of the metrics of one configuration, by name, with what is theirs to take back.
#[derive(Default)]
pub struct Metrics {
    numbers: HashMap<&'static str, usize>,
    /// This configuration's part of the gauges that are summed, by series.
    parts: HashMap<String, i64>,
}

impl Metrics {
    /// Defines all metrics of the gateway of this label, which Envoy allows while a configuration is loaded.
    #[must_use]
    pub fn define(handle: &ConfigHandle<HttpFilter>, gateway: &str) -> Self {
        let mut numbers = HashMap::new();
        for metric in Metric::ALL {
            let mut labels = metric.labels().to_vec();
            if !gateway.is_empty() {
                labels.push(GATEWAY_LABEL);
            }
            match handle.define(metric.kind(), metric.name(), &labels) {
                Some(number) => drop(numbers.insert(metric.name(), number)),
                None => host::warn(&format!("Envoy takes no metric {:?}", metric.name())),
            }
        }
        Self { numbers, parts: HashMap::new() }
    }

    /// Applies the changes to Envoy's stats.
    pub fn report(&mut self, handle: &ConfigHandle<HttpFilter>, changes: Vec<Change>) {
        for Change { stat, kind, value } in changes {
            self.change(handle, &stat, kind, value);
            if kind == Kind::SumGauge {
                let part = self.parts.entry(stat).or_default();
                *part = part.saturating_add(value);
            }
        }
    }

    /// Takes back what is this configuration's of the gauges that are summed.
    pub fn retire(&mut self, handle: &ConfigHandle<HttpFilter>) {
        for (stat, part) in std::mem::take(&mut self.parts) {
            self.change(handle, &stat, Kind::SumGauge, part.saturating_neg());
        }
    }

    /// A name for Envoy's tag rules is `NAME.LABEL.VALUE...`, and no value has a dot ([`Change::stat`]).
    fn change(&self, handle: &ConfigHandle<HttpFilter>, stat: &str, kind: Kind, value: i64) {
        let mut words = stat.split('.');
        let number = words.next().and_then(|name| self.numbers.get(name));
        let labels: Vec<_> = words.skip(1).step_by(2).collect();
        if let Some(number) = number {
            handle.change(kind, *number, &labels, value);
        }
    }
}
