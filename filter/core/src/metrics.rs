//! What the filter counts: one table for the filter, the documentation and the tests, of a form that the program's has too.
//!
//! Counts are gathered in the worker and handed to Envoy once a tick, so that a request costs no host call for them.
//! Label values are closed sets, but for issuers, whose number the configuration bounds.

use std::collections::HashMap;

/// Values of a distribution that are kept until they are handed to Envoy: a sample, where more come.
const MOST_VALUES: usize = 256;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows only.
    Counter,
    /// The sum over all workers.
    SumGauge,
    /// The same in all workers.
    Gauge,
    /// A distribution of values.
    Histogram,
}

impl Kind {
    /// What Prometheus calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::SumGauge | Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Makes an enumeration of metrics of a table, a row a metric: variant, kind, name in Prometheus, labels (each value of them comes
/// from a closed set), what it says.
#[macro_export]
macro_rules! metric_table {
    ($(#[$attribute:meta])* $metric:ident
        $($variant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $metric {
            $(#[doc = $help] $variant,)+
        }

        impl $metric {
            /// All of them.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Its name in Prometheus.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it says.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => $help,)+
                }
            }

            /// Its labels.
            #[must_use]
            pub fn labels(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($label),*],)+
                }
            }

            /// How it behaves.
            #[must_use]
            pub fn kind(self) -> $crate::metrics::Kind {
                match self {
                    $(Self::$variant => $crate::metrics::Kind::$kind,)+
                }
            }
        }
    };
}

metric_table! {
    /// A metric of the filter.
    Metric
        Requests: Counter "gateway_requests_total" ["decision", "reason"]
            "Requests decided on: forwarded (reason: impersonate, own-token) answered (reason: preflight, metadata, logout) or refused (reason: why).";
        TokenCacheLookups: Counter "gateway_token_cache_lookups_total" ["result"]
            "Lookups in the cache of verified tokens.";
        TokenCacheEvictions: Counter "gateway_token_cache_evictions_total" []
            "Verified tokens that left the cache to make room.";
        TokenCacheEntries: SumGauge "gateway_token_cache_entries" []
            "Verified tokens in the caches of all workers.";
        TokenCacheBytes: SumGauge "gateway_token_cache_bytes" []
            "Bytes that they hold, roughly.";
        SignatureChecks: Counter "gateway_signature_checks_total" ["by", "algorithm"]
            "Signatures checked, by Envoy's own cryptography (host) or in Wasm (software).";
        IssuerFetches: Counter "gateway_issuer_fetches_total" ["result", "issuer"]
            "Fetches of an issuer's keys that ended: with keys (ok), without, so that the last ones go on serving (failed), or so that these ended too (lost).";
        IssuerKeys: Gauge "gateway_issuer_keys" ["issuer"]
            "Usable keys of an issuer; 0 before its first answer, and once its last ones have ended.";
        IssuerKeysFetched: Gauge "gateway_issuer_keys_fetched_timestamp_seconds" ["issuer"]
            "When an issuer's keys were last fetched.";
        IssuerFailing: Gauge "gateway_issuer_failing" ["reason", "issuer"]
            "Whether the last fetch of an issuer's keys failed for this reason (1) or not (0).";
        CalloutFailures: Counter "gateway_callout_failures_total" ["kind", "reason"]
            "Callouts without a usable answer: for an issuer's keys (keys), SubjectAccessReviews (access), TokenReviews (token), distributed groups (groups), group sources (source), questions about opaque tokens (introspection) and access documents (documents).";
        Reviews: Counter "gateway_reviews_total" ["kind", "result"]
            "SubjectAccessReviews (access) and TokenReviews (token) that the API server answered, or did not; the same of what issuers were asked about tokens (introspection).";
        GroupSourceAnswers: Counter "gateway_group_source_answers_total" ["result", "source"]
            "Answers of group sources: a page with more to come (page), the last one (ok), or none that can be used (failed).";
        GroupSourceUsers: Counter "gateway_group_source_users_total" ["result", "source"]
            "Tokens whose users' groups come from a source: known (cached), waited for (fetched), older than their lifetime because the source cannot be asked (last), or not to be had (refused).";
        GroupSourceAge: Histogram "gateway_group_source_age_milliseconds" []
            "How old the groups of a source were when a token's user got them; at most 256 of a worker and second are recorded.";
        WaitingRequests: SumGauge "gateway_waiting_requests" []
            "Requests that wait for keys or reviews.";
        AuthenticationTime: Histogram "gateway_authentication_microseconds" []
            "From a request's headers to its decision, waiting included, where the token was not in the cache; at most 256 requests of a worker and second are recorded.";
        AccessDocuments: Gauge "gateway_access_documents_timestamp_seconds" []
            "When the documents that say whose access has ended were last known to be the newest.";
        StreamsRevoked: Counter "gateway_streams_revoked_total" ["by"]
            "Running requests that were ended because access was revoked, by what the entry names (user, group, subject, jti, sid), or because what was lent was ended (grant).";
        ConditionRefusals: Counter "gateway_condition_refusals_total" ["result", "condition"]
            "Requests that a condition refused: its expression is false, ended in an error, or the login was another than it asks for (login).";
        GrantsRefused: Counter "gateway_grants_refused_total" ["reason"]
            "Approved grants that have no effect because they are beyond what elevation.rules allows: each once for a document that a worker took in, or for a request (user).";
        LentRequests: Counter "gateway_lent_requests_total" []
            "Requests whose user had a lent group.";
        Configurations: Counter "gateway_configurations_total" []
            "Configurations that workers took.";
        Panics: Counter "gateway_panics_total" []
            "Panics that the native filter met and caught: each is an error in it, and ended one request with 500.";
        ConnectionsClosed: Counter "gateway_connections_closed_total" ["reason"]
            "Connections closed because their address had too many without a user (limit), or because nobody signed in on them in time (undecided).";
}

/// The label that every series of a gateway has which is not called [`ONLY_GATEWAY`]: the name of its filter in Envoy's configuration.
pub const GATEWAY_LABEL: &str = "gateway";
/// The name of a proxy's only gateway. Its series need no label.
pub const ONLY_GATEWAY: &str = "gateway";

/// One time series: a metric with the values of its labels; an issuer, a condition or a group source stands last, by its place among the names of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Series {
    metric: Metric,
    values: [&'static str; 2],
    issuer: Option<usize>,
}

impl Series {
    /// The name for Envoy: `NAME.LABEL.VALUE...`, from which its tag rules make labels.
    fn stat_name(&self, issuers: &[String], gateway: &str) -> String {
        let issuer = self.issuer.and_then(|index| issuers.get(index)).map(|url| stat_value(url));
        let values = self.values.iter().copied().filter(|value| !value.is_empty());
        let labels = self.metric.labels().iter().copied().zip(values.chain(issuer.as_deref()));
        let gateway = (!gateway.is_empty()).then(|| stat_value(gateway));
        let mut name = self.metric.name().to_owned();
        for (label, value) in labels.chain(gateway.as_deref().map(|name| (GATEWAY_LABEL, name))) {
            name.push('.');
            name.push_str(label);
            name.push('.');
            name.push_str(value);
        }
        name
    }
}

/// An issuer's URL as a label value: a dot would end it.
#[must_use]
pub fn stat_value(url: &str) -> String {
    let url = url.strip_prefix("https://").unwrap_or(url);
    url.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// A change of one of Envoy's stats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name for Envoy.
    pub stat: String,
    /// How the metric behaves: a [`Kind::Gauge`] is set to the value, a [`Kind::Histogram`] takes it in, all else is changed
    /// by it.
    pub kind: Kind,
    /// The new value, or by how much it changed.
    pub value: i64,
}

/// What has been counted and not yet been handed to Envoy.
#[derive(Debug, Default)]
pub struct Metrics {
    /// In the order of their first count: what every request counts is found at once, and that without a hash.
    counts: Vec<(Series, i64)>,
    gauges: HashMap<Series, i64>,
    values: Vec<(Series, i64)>,
}

impl Metrics {
    /// Counts one.
    pub fn count(&mut self, metric: Metric, values: [&'static str; 2]) {
        self.add(Series { metric, values, issuer: None }, 1);
    }

    /// Counts one for an issuer.
    pub fn count_issuer(&mut self, metric: Metric, value: &'static str, issuer: usize) {
        self.add(Series { metric, values: [value, ""], issuer: Some(issuer) }, 1);
    }

    /// Counts one for what has this place among the names that [`Self::take`] is given.
    pub fn count_named(&mut self, metric: Metric, value: &'static str, place: usize) {
        self.add(Series { metric, values: [value, ""], issuer: Some(place) }, 1);
    }

    /// Sets a gauge.
    pub fn set(&mut self, metric: Metric, value: i64) {
        self.gauges.insert(Series { metric, values: ["", ""], issuer: None }, value);
    }

    /// Sets a gauge of an issuer.
    pub fn set_issuer(&mut self, metric: Metric, issuer: usize, value: i64) {
        self.gauges.insert(Series { metric, values: ["", ""], issuer: Some(issuer) }, value);
    }

    /// Sets a gauge of an issuer that has one more label.
    pub fn set_issuer_value(
        &mut self,
        metric: Metric,
        value: &'static str,
        issuer: usize,
        number: i64,
    ) {
        let series = Series { metric, values: [value, ""], issuer: Some(issuer) };
        self.gauges.insert(series, number);
    }

    /// Takes a value into a distribution.
    pub fn observe(&mut self, metric: Metric, value: i64) {
        if self.values.len() < MOST_VALUES {
            self.values.push((Series { metric, values: ["", ""], issuer: None }, value));
        }
    }

    /// Sets this worker's part of a gauge that is summed over the workers.
    pub fn set_part(&mut self, metric: Metric, value: usize, last: &mut usize) {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let change = signed(value).saturating_sub(signed(*last));
        if change != 0 {
            self.add(Series { metric, values: ["", ""], issuer: None }, change);
        }
        *last = value;
    }

    /// Moves what has been counted into the counts of somebody with the same configuration, so that each place is the same issuer's or
    /// condition's there. Gauges are not moved: they are said by one worker for all.
    pub fn move_into(&mut self, other: &mut Self) {
        for (series, change) in self.counts.drain(..) {
            other.add(series, change);
        }
        let room = MOST_VALUES.saturating_sub(other.values.len());
        other.values.extend(self.values.drain(..).take(room));
    }

    /// Whether there is nothing to take out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.gauges.is_empty() && self.values.is_empty()
    }

    /// Takes out what changed. `issuers` are the URLs behind the issuers' indices, and after them the names of conditions and group sources; `gateway` is empty
    /// where there is only one.
    pub fn take(&mut self, issuers: &[String], gateway: &str) -> Vec<Change> {
        let change = |(series, value): (Series, i64)| Change {
            stat: series.stat_name(issuers, gateway),
            kind: series.metric.kind(),
            value,
        };
        let (counts, values) = (self.counts.drain(..), self.values.drain(..));
        counts.chain(self.gauges.drain()).chain(values).map(change).collect()
    }

    fn add(&mut self, series: Series, change: i64) {
        match self.counts.iter_mut().find(|(known, _)| *known == series) {
            Some((_, sum)) => *sum = sum.saturating_add(change),
            None => self.counts.push((series, change)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_their_labels() {
        let issuers = vec!["https://issuer.example/realms/a".to_owned()];
        let mut metrics = Metrics::default();
        metrics.count(Metric::Requests, ["refused", "no_keys"]);
        metrics.count(Metric::Requests, ["refused", "no_keys"]);
        metrics.count(Metric::TokenCacheLookups, ["hit", ""]);
        metrics.count_issuer(Metric::IssuerFetches, "failed", 0);
        metrics.count(Metric::Configurations, ["", ""]);
        let mut names: Vec<_> = metrics
            .take(&issuers, "")
            .into_iter()
            .map(|change| (change.stat, change.value))
            .collect();
        names.sort();
        let want = [
            ("gateway_configurations_total", 1),
            ("gateway_issuer_fetches_total.result.failed.issuer.issuer_example_realms_a", 1),
            ("gateway_requests_total.decision.refused.reason.no_keys", 2),
            ("gateway_token_cache_lookups_total.result.hit", 1),
        ];
        assert_eq!(names, want.map(|(name, change)| (name.to_owned(), change)));
        assert!(metrics.take(&issuers, "").is_empty());
    }

    #[test]
    fn what_workers_counted_is_handed_on_together() {
        let (mut one, mut other, mut sink) =
            (Metrics::default(), Metrics::default(), Metrics::default());
        one.count(Metric::TokenCacheLookups, ["hit", ""]);
        other.count(Metric::TokenCacheLookups, ["hit", ""]);
        for value in 0..200 {
            one.observe(Metric::AuthenticationTime, value);
            other.observe(Metric::AuthenticationTime, value);
        }
        for metrics in [&mut one, &mut other] {
            metrics.count_named(Metric::ConditionRefusals, "false", 1);
        }
        for metrics in [&mut one, &mut other] {
            metrics.move_into(&mut sink);
            assert!(metrics.is_empty());
        }
        let names = ["https://issuer.example", "office"].map(str::to_owned);
        let taken = sink.take(&names, "");
        assert_eq!(taken[0].value, 2);
        let want = "gateway_condition_refusals_total.result.false.condition.office";
        assert_eq!((taken[1].stat.as_str(), taken[1].value), (want, 2));
        assert_eq!(taken.len(), 2 + MOST_VALUES);
        assert!(sink.is_empty());
    }

    #[test]
    fn gateways_of_one_proxy_are_told_apart() {
        let mut metrics = Metrics::default();
        metrics.count(Metric::TokenCacheLookups, ["hit", ""]);
        let taken = metrics.take(&[], "dev.cluster");
        let want = "gateway_token_cache_lookups_total.result.hit.gateway.dev_cluster";
        assert_eq!(taken.first().map(|change| change.stat.as_str()), Some(want));
    }

    #[test]
    fn a_distribution_is_bounded_until_it_is_taken() {
        let mut metrics = Metrics::default();
        for value in 0..1000 {
            metrics.observe(Metric::AuthenticationTime, value);
        }
        let taken = metrics.take(&[], "");
        assert_eq!(taken.len(), MOST_VALUES);
        assert_eq!(taken[3].kind, Kind::Histogram);
        assert_eq!(
            (taken[3].stat.as_str(), taken[3].value),
            ("gateway_authentication_microseconds", 3)
        );
        assert!(metrics.take(&[], "").is_empty());
    }

    #[test]
    fn parts_of_a_sum_are_handed_on_as_changes() {
        let (mut metrics, mut last) = (Metrics::default(), 0);
        for (value, want) in [(5, Some(5)), (3, Some(-2)), (3, None)] {
            metrics.set_part(Metric::WaitingRequests, value, &mut last);
            let changes = metrics.take(&[], "");
            assert_eq!(changes.first().map(|change| change.value), want);
        }
    }

    #[test]
    fn names_say_their_unit_and_helps_are_sentences() {
        for metric in Metric::ALL {
            let counter = metric.kind() == Kind::Counter;
            assert_eq!(metric.name().ends_with("_total"), counter, "{}", metric.name());
            assert!(metric.help().ends_with('.'), "{}", metric.name());
        }
    }
}
