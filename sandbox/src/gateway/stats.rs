//! Envoy's counters and gauges.

use std::collections::BTreeMap;

use crate::{
    error::{Error, Result},
    http::Client,
};

/// The file whose change the filter itself has to accept.
pub(super) const FILTER_FILE: &str = "filter-gateway.yaml";

/// What Envoy counts of taking that file.
const TAKEN: &str = "extension_config_discovery.http_filter.gateway.config_reload";
const REFUSED: [&str; 2] = [
    "extension_config_discovery.http_filter.gateway.config_fail",
    "extension_config_discovery.http_filter.gateway.update_rejected",
];

/// Counters and gauges by name, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats(BTreeMap<String, u64>);

impl Stats {
    pub(super) fn read(admin: &Client) -> Result<Self> {
        let answer = admin.get("/stats?histogram_buckets=none")?;
        Ok(Self::parse(&answer.body))
    }

    /// Lines `name: value`. Those of histograms and texts have no number.
    fn parse(text: &str) -> Self {
        let number = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter_map(number).collect())
    }

    /// The value of this name; Envoy names only what it has counted once, so one that is not there is 0.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The sum of all whose name ends so: for names that begin with a listener's or a cluster's.
    #[must_use]
    pub fn sum(&self, suffix: &str) -> u64 {
        self.iter().filter(|(name, _)| name.ends_with(suffix)).map(|(_, value)| value).sum()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

/// Whether the filter has taken or refused a configuration since `before`; an error while neither.
pub(super) fn filter_change(before: &Stats, now: &Stats) -> Result<Result<()>, String> {
    let more = |suffix: &str| now.sum(suffix) > before.sum(suffix);
    if REFUSED.into_iter().any(more) {
        let text = "Envoy or the filter refuses the configuration; see envoy.log".to_owned();
        return Ok(Err(Error::Invalid(text)));
    }
    if more(TAKEN) { Ok(Ok(())) } else { Err("nothing happened".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_and_summed_by_the_end_of_their_name() {
        let text = "a.x: 1\nb.x: 2\nversion: \"text\"\nh: P0(nan,1.0)\nlistener.[__1]_80.x: 4\n";
        let stats = Stats::parse(text);
        assert_eq!(stats.get("b.x"), 2);
        assert_eq!(stats.get("missing"), 0);
        assert_eq!(stats.sum(".x"), 7);
        assert_eq!(stats.iter().count(), 3);
    }
}
