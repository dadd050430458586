//! Hands what the worker counted to Envoy.

use std::{cell::RefCell, collections::HashMap};

use gateway_core::metrics::{Change, Kind};
use gateway_hostcalls::{self as hostcalls, MetricType};

thread_local! {
    /// Envoy's ids of the stats that this VM has defined.
    static IDS: RefCell<HashMap<String, u32>> = RefCell::default();
}

/// Applies the changes to Envoy's stats.
pub fn report(changes: Vec<Change>) {
    IDS.with_borrow_mut(|ids| {
        for Change { stat, kind, value } in changes {
            let id = if let Some(id) = ids.get(&stat) {
                *id
            } else {
                let metric = match kind {
                    Kind::Counter => MetricType::Counter,
                    Kind::SumGauge | Kind::Gauge => MetricType::Gauge,
                    Kind::Histogram => MetricType::Histogram,
                };
                let Ok(id) = hostcalls::define_metric(metric, &stat) else { continue };
                ids.insert(stat, id);
                id
            };
            let _ = match kind {
                Kind::Counter | Kind::SumGauge => hostcalls::increment_metric(id, value),
                Kind::Gauge | Kind::Histogram => {
                    hostcalls::record_metric(id, u64::try_from(value).unwrap_or(0))
                }
            };
        }
    });
}
