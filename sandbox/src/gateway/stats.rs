//! Envoy's counters and gauges.

use std::collections::BTreeMap;

use crate::{error::Result, http::Client};

/// What Envoy counts of the filter's configuration, and of the serving certificate.
const TAKEN: &str = "extension_config_discovery.http_filter.gateway.config_reload";
const REFUSED: [&str; 2] = [
    "extension_config_discovery.http_filter.gateway.config_fail",
    "extension_config_discovery.http_filter.gateway.update_rejected",
];
const CERTIFICATE: &str = "server_ssl_socket_factory.ssl_context_update_by_sds";

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

/// What became of the filter's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Taken,
    Refused,
}

impl Stats {
    /// What became of the filter's configuration since `before`, if Envoy has come to it.
    pub(super) fn filter_change(&self, before: &Self) -> Option<Change> {
        let more = |suffix: &str| self.sum(suffix) > before.sum(suffix);
        if REFUSED.into_iter().any(more) {
            return Some(Change::Refused);
        }
        more(TAKEN).then_some(Change::Taken)
    }

    /// Whether the listener has a certificate to show.
    pub(super) fn serves(&self) -> bool {
        self.sum(CERTIFICATE) > 0
    }
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
