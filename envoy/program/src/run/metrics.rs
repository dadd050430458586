//! What the program itself counts: one table for the program, the documentation and the tests. The filter's metrics have
//! their own (`gateway_core::metrics`).

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use gateway_core::{metric_table, metrics::Kind};

metric_table! {
    /// A metric of the program.
    Metric
        BuildInfo: Gauge "gateway_build_info" ["version"]
            "The version that runs; always 1.";
        Ready: Gauge "gateway_ready" ["check"]
            "Whether a check of readiness holds (1) or not (0).";
        Reloads: Counter "gateway_reloads_total" ["input", "result"]
            "Changes of an input that were taken (ok) or refused (refused).";
        ReloadPending: Gauge "gateway_reload_refused" ["input"]
            "Whether an input is refused (1), so that an older one is still used, or not (0).";
        CertificateExpiry: Gauge "gateway_certificate_expiry_timestamp_seconds" ["input"]
            "When the first certificate of an input ends.";
        TokenExpiry: Gauge "gateway_token_expiry_timestamp_seconds" []
            "When the gateway's own token ends.";
        CalloutTokenExpiry: Gauge "gateway_callout_token_expiry_timestamp_seconds" ["asker"]
            "When the token ends that the program got by an assertion for a server; 0 if there was none yet.";
        CalloutTokens: Counter "gateway_callout_tokens_total" ["result"]
            "Tokens that the program asked for by an assertion, and got (ok) or not (failed).";
        EnvoyStarts: Counter "gateway_envoy_starts_total" []
            "How often Envoy was started.";
        EnvoyUp: Gauge "gateway_envoy_up" []
            "Whether Envoy runs (1) or not (0).";
        Logouts: Counter "gateway_logouts_total" ["result"]
            "Logout tokens of issuers that ended a login (ok), were not good (refused), were too many (too_many) or could not be written down (failed).";
        MissingRights: Gauge "gateway_missing_rights" []
            "Rights that the configuration needs and RBAC does not grant.";
        AccessLogLinesDropped: Counter "gateway_access_log_lines_dropped_total" []
            "Lines of the access log that standard output did not take, or that could not be read.";
        AccessLogLinesTruncated: Counter "gateway_access_log_lines_truncated_total" []
            "Lines of the access log of which something was cut, because a client had made it too long.";
        AuditEvents: Counter "gateway_audit_events_total" ["output", "result"]
            "Audit events that an output (file, webhook) has written, or dropped because it could not.";
        AuditEventsTruncated: Counter "gateway_audit_events_truncated_total" []
            "Audit events of which something was cut, because a client had made it too long.";
        AuditLinesUnread: Counter "gateway_audit_lines_unread_total" []
            "Lines of Envoy's access log of which no audit event could be made.";
        AuthenticationSeconds: Histogram "gateway_authentication_seconds" []
            "The same as the filter's gateway_authentication_microseconds, in seconds.";
        ApiserverSeconds: Histogram "gateway_apiserver_request_seconds" ["kind"]
            "How long kube-apiserver took to answer, whole: watches and followed logs (watches), exec and the like (upgrades) and all that ends by itself (other).";
        AuditGaps: Counter "gateway_audit_gaps_total" ["cause"]
            "Times at which lines were lost that nobody can count: Envoy died before it had written them (envoy), or its pipe could not be read (pipe).";
}

type Series = (Metric, [&'static str; 2]);

/// The numbers.
#[derive(Default)]
pub struct Metrics {
    own: Mutex<BTreeMap<Series, i64>>,
    asked: Vec<(Series, Ask)>,
}

/// Says what somebody else counts.
type Ask = Box<dyn Fn() -> u64 + Send + Sync>;

impl Metrics {
    /// Adds to a counter.
    pub fn add(&self, metric: Metric, values: [&'static str; 2], more: i64) {
        *self.numbers().entry((metric, values)).or_default() += more;
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, values: [&'static str; 2], value: i64) {
        self.numbers().insert((metric, values), value);
    }

    /// Shows a series no longer.
    pub fn forget(&self, metric: Metric, values: [&'static str; 2]) {
        self.numbers().remove(&(metric, values));
    }

    /// Has a number that somebody else counts asked for when it is shown.
    pub fn ask(
        &mut self,
        metric: Metric,
        values: [&'static str; 2],
        ask: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.asked.push(((metric, values), Box::new(ask)));
    }

    /// In Prometheus' text format (version 0.0.4).
    #[must_use]
    pub fn text(&self) -> String {
        let mut numbers = self.numbers().clone();
        let number = |ask: &Ask| i64::try_from(ask()).unwrap_or(i64::MAX);
        numbers.extend(self.asked.iter().map(|(series, ask)| (*series, number(ask))));
        let mut text = String::new();
        // What Envoy measures stands among its own.
        let own = |metric: &Metric| metric.kind() != Kind::Histogram;
        for metric in Metric::ALL.into_iter().filter(own) {
            let name = metric.name();
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {}", metric.help());
            let _ = writeln!(text, "# TYPE {name} {}", metric.kind().word());
            for ((_, values), value) in numbers.iter().filter(|((m, _), _)| *m == metric) {
                let pairs = metric.labels().iter().zip(values);
                let labels: Vec<_> =
                    pairs.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
                let _ = if labels.is_empty() {
                    writeln!(text, "{name} {value}")
                } else {
                    writeln!(text, "{name}{{{}}} {value}", labels.join(","))
                };
            }
        }
        text
    }

    fn numbers(&self) -> std::sync::MutexGuard<'_, BTreeMap<Series, i64>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A distribution that Envoy measures in a unit of its own, and how it is shown: in seconds, as Prometheus wants it.
struct Translated {
    envoy: &'static str,
    shown: Metric,
    /// How many of Envoy's units a second has.
    a_second: f64,
}

const TRANSLATED: [Translated; 2] = [
    Translated {
        envoy: "gateway_authentication_microseconds",
        shown: Metric::AuthenticationSeconds,
        a_second: 1e6,
    },
    Translated {
        envoy: "envoy_vhost_vcluster_upstream_rq_time",
        shown: Metric::ApiserverSeconds,
        a_second: 1e3,
    },
];

/// Envoy's metrics with the help texts of the filter's, which Envoy does not know, and durations in seconds.
#[must_use]
pub fn with_help(envoy: &str) -> String {
    let mut text = String::with_capacity(envoy.len() + 2048);
    for line in envoy.lines() {
        if let Some((translated, rest)) = translated(line) {
            text.push_str(&translated.line(rest));
            continue;
        }
        let name = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next());
        let metric = gateway_core::metrics::Metric::ALL
            .into_iter()
            .find(|metric| Some(metric.name()) == name);
        if let Some(metric) = metric {
            let _ = writeln!(text, "# HELP {} {}", metric.name(), metric.help());
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Of a line about a distribution that is translated, what follows its name.
fn translated(line: &str) -> Option<(&'static Translated, &str)> {
    let line = line.strip_prefix("# TYPE ").unwrap_or(line);
    TRANSLATED.iter().find_map(|it| {
        let rest = line.strip_prefix(it.envoy)?;
        rest.starts_with(['_', '{', ' ']).then_some((it, rest))
    })
}

impl Translated {
    /// The lines for one of Envoy's, by what follows its name there.
    fn line(&self, rest: &str) -> String {
        let name = self.shown.name();
        if rest.starts_with(' ') {
            let help = self.shown.help();
            return format!("# HELP {name} {help}\n# TYPE {name}{rest}\n");
        }
        let seconds = |number: &str| {
            number
                .parse::<f64>()
                .map_or_else(|_| number.to_owned(), |it| (it / self.a_second).to_string())
        };
        let (labels, value) = rest.rsplit_once(' ').unwrap_or((rest, ""));
        let mut labels = labels
            .replace("envoy_virtual_host=\"apiserver\",", "")
            .replace(",envoy_virtual_host=\"apiserver\"", "")
            .replace("envoy_virtual_cluster=", "kind=");
        if let Some((before, bound)) = labels.split_once("le=\"") {
            let (bound, behind) = bound.split_once('"').unwrap_or((bound, ""));
            labels = format!(
                "{before}le=\"{}\"{behind}",
                if bound == "+Inf" { bound.to_owned() } else { seconds(bound) }
            );
        }
        let value = if labels.starts_with("_sum") { seconds(value) } else { value.to_owned() };
        format!("{name}{labels} {value}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus() {
        let mut metrics = Metrics::default();
        metrics.ask(Metric::AuditEvents, ["file", "dropped"], || 3);
        metrics.add(Metric::Reloads, ["serving", "ok"], 1);
        metrics.add(Metric::Reloads, ["serving", "ok"], 1);
        metrics.set(Metric::TokenExpiry, ["", ""], 17);
        let text = metrics.text();
        for line in [
            "# TYPE gateway_reloads_total counter",
            "gateway_reloads_total{input=\"serving\",result=\"ok\"} 2",
            "# TYPE gateway_token_expiry_timestamp_seconds gauge",
            "gateway_token_expiry_timestamp_seconds 17",
            "gateway_audit_events_total{output=\"file\",result=\"dropped\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn no_two_metrics_share_a_name_and_helps_are_sentences() {
        let filter = gateway_core::metrics::Metric::ALL.map(gateway_core::metrics::Metric::name);
        let mut names: Vec<_> = Metric::ALL.map(Metric::name).into_iter().chain(filter).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(Metric::ALL.iter().all(|metric| metric.help().ends_with('.')));
    }

    #[test]
    fn the_filter_s_metrics_get_their_help() {
        let envoy = "# TYPE gateway_requests_total counter\ngateway_requests_total{} 1\n# TYPE envoy_x gauge\n";
        let text = with_help(envoy);
        assert!(text.starts_with("# HELP gateway_requests_total Requests decided on"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn durations_are_shown_in_seconds() {
        let envoy = r#"# TYPE gateway_authentication_microseconds histogram
gateway_authentication_microseconds_bucket{le="250"} 3
gateway_authentication_microseconds_bucket{gateway="a",le="+Inf"} 4
gateway_authentication_microseconds_sum{} 1500000
gateway_authentication_microseconds_count{} 4
# TYPE envoy_vhost_vcluster_upstream_rq_time histogram
envoy_vhost_vcluster_upstream_rq_time_bucket{envoy_virtual_host="apiserver",envoy_virtual_cluster="other",le="2.5"} 7
envoy_vhost_vcluster_upstream_rq_time_sum{envoy_virtual_cluster="other",envoy_virtual_host="apiserver"} 250
envoy_vhost_vcluster_upstream_rq_total{envoy_virtual_host="apiserver"} 7
"#;
        let text = with_help(envoy);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        let want = [
            "# TYPE gateway_authentication_seconds histogram",
            r#"gateway_authentication_seconds_bucket{le="0.00025"} 3"#,
            r#"gateway_authentication_seconds_bucket{gateway="a",le="+Inf"} 4"#,
            "gateway_authentication_seconds_sum{} 1.5",
            "gateway_authentication_seconds_count{} 4",
            "# TYPE gateway_apiserver_request_seconds histogram",
            r#"gateway_apiserver_request_seconds_bucket{kind="other",le="0.0025"} 7"#,
            r#"gateway_apiserver_request_seconds_sum{kind="other"} 0.25"#,
            r#"envoy_vhost_vcluster_upstream_rq_total{envoy_virtual_host="apiserver"} 7"#,
        ];
        assert_eq!(lines, want);
        assert_eq!(text.lines().filter(|line| line.starts_with("# HELP")).count(), 2);
    }
}
