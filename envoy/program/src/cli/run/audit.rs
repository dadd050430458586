//! The flags of kube-apiserver's audit log, which kube-oidc-proxy has too.
#![expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "fields are flags and their comments what --help prints"
)]

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use clap::{Args, ValueEnum};
use gateway_audit::{
    AccessLog, Outputs, ProxyLines, Trail,
    rawlog::{LineCounts, Sink},
    sink::{FileOptions, Format, Throttle, WebhookOptions},
};
use gateway_config::duration;
use kube_oidc_gateway::run::metrics::{Metric, Metrics};
use tracing::warn;

use super::go;
use crate::cli::error::Error;

/// The only version of events.
const VERSION: &str = "audit.k8s.io/v1";

/// What is written of each request on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RequestLog {
    /// One line of JSON.
    Json,
    /// The line of kube-oidc-proxy: `AuSuccess` or `AuFail`.
    Proxy,
    /// Nothing.
    None,
}

/// Who did what. Without a policy nothing is written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Audit")]
pub struct Audit {
    /// What is written of each request on standard output: a line of JSON, kube-oidc-proxy's line, or nothing
    #[arg(long, value_name = "FORM", default_value = "json")]
    pub request_log: RequestLog,
    /// The audit policy (audit.k8s.io/v1)
    #[arg(long, value_name = "FILE")]
    pub audit_policy_file: Option<PathBuf>,
    /// The file for events; - is standard output
    #[arg(long, value_name = "FILE")]
    pub audit_log_path: Option<PathBuf>,
    /// json, or legacy: one line of text
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub audit_log_format: String,
    /// The version of events
    #[arg(long, value_name = "VERSION", default_value = "audit.k8s.io/v1")]
    pub audit_log_version: String,
    /// Days for which old files are kept
    #[arg(long, value_name = "DAYS", default_value_t = 366)]
    pub audit_log_maxage: u32,
    /// Old files that are kept
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub audit_log_maxbackup: u32,
    /// Megabytes after which a new file begins
    #[arg(long, value_name = "MB", default_value_t = 100)]
    pub audit_log_maxsize: u32,
    /// Compress old files
    #[arg(long)]
    pub audit_log_compress: bool,
    /// batch, blocking or blocking-strict
    #[arg(long, value_name = "MODE", default_value = "blocking")]
    pub audit_log_mode: String,
    /// Events that wait to be written
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub audit_log_batch_buffer_size: usize,
    /// Events that are written together
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub audit_log_batch_max_size: usize,
    /// How long events wait for others
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub audit_log_batch_max_wait: std::time::Duration,
    /// Limit how often events are written
    #[arg(long)]
    pub audit_log_batch_throttle_enable: bool,
    /// How often in a second
    #[arg(long, value_name = "QPS", default_value_t = 0.0)]
    pub audit_log_batch_throttle_qps: f32,
    /// How often at once
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub audit_log_batch_throttle_burst: u32,
    /// Shorten events that are too large
    #[arg(long)]
    pub audit_log_truncate_enabled: bool,
    /// Bytes of a batch
    #[arg(long, value_name = "BYTES", default_value_t = 10_485_760)]
    pub audit_log_truncate_max_batch_size: usize,
    /// Bytes of an event
    #[arg(long, value_name = "BYTES", default_value_t = 102_400)]
    pub audit_log_truncate_max_event_size: usize,
    /// Where events are sent: a kubeconfig
    #[arg(long, value_name = "FILE")]
    pub audit_webhook_config_file: Option<PathBuf>,
    /// batch, blocking or blocking-strict
    #[arg(long, value_name = "MODE", default_value = "batch")]
    pub audit_webhook_mode: String,
    /// The first wait before events are sent again
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub audit_webhook_initial_backoff: std::time::Duration,
    /// The version of events
    #[arg(long, value_name = "VERSION", default_value = "audit.k8s.io/v1")]
    pub audit_webhook_version: String,
    /// Events that wait to be sent
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub audit_webhook_batch_buffer_size: usize,
    /// Events that are sent together
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub audit_webhook_batch_max_size: usize,
    /// How long events wait for others
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub audit_webhook_batch_max_wait: std::time::Duration,
    /// Limit how often events are sent
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = go::boolean, action = clap::ArgAction::Set)]
    pub audit_webhook_batch_throttle_enable: bool,
    /// How often in a second
    #[arg(long, value_name = "QPS", default_value_t = 10.0)]
    pub audit_webhook_batch_throttle_qps: f32,
    /// How often at once
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub audit_webhook_batch_throttle_burst: u32,
    /// Shorten events that are too large
    #[arg(long)]
    pub audit_webhook_truncate_enabled: bool,
    /// Bytes of a batch
    #[arg(long, value_name = "BYTES", default_value_t = 10_485_760)]
    pub audit_webhook_truncate_max_batch_size: usize,
    /// Bytes of an event
    #[arg(long, value_name = "BYTES", default_value_t = 102_400)]
    pub audit_webhook_truncate_max_event_size: usize,
}

impl Audit {
    /// Whether Envoy must write what the audit trail is made of.
    pub fn needs_lines(&self) -> bool {
        self.audit_policy_file.is_some() || self.request_log == RequestLog::Proxy
    }

    /// What takes Envoy's lines.
    pub fn sinks(&self, metrics: &mut Metrics) -> Result<Vec<Box<dyn Sink>>, Error> {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        match self.request_log {
            RequestLog::Json => {
                let log = AccessLog::new(io::stdout());
                count(metrics, &log.counts());
                sinks.push(Box::new(log));
            }
            RequestLog::Proxy => {
                let log = ProxyLines::new(io::stdout());
                count(metrics, &log.counts());
                sinks.push(Box::new(log));
            }
            RequestLog::None => {}
        }
        let Some(policy) = &self.audit_policy_file else { return Ok(sinks) };
        let outputs = Outputs { file: self.file()?, webhook: self.webhook()? };
        let trail =
            Trail::start(policy, outputs).map_err(|error| Error::Usage(error.to_string()))?;
        for warning in &trail.warnings {
            warn!("{}: {warning}", policy.display());
        }
        for (output, counts) in trail.counts {
            let written = Arc::clone(&counts);
            metrics.ask(Metric::AuditEvents, [output, "written"], move || written.written());
            metrics.ask(Metric::AuditEvents, [output, "dropped"], move || counts.dropped());
        }
        let unread = trail.pipeline.unread();
        metrics.ask(Metric::AuditLinesUnread, ["", ""], move || unread.load(Ordering::Relaxed));
        let truncated = trail.pipeline.truncated();
        metrics
            .ask(Metric::AuditEventsTruncated, ["", ""], move || truncated.load(Ordering::Relaxed));
        sinks.push(Box::new(trail.pipeline));
        Ok(sinks)
    }

    pub(super) fn file(&self) -> Result<Option<FileOptions>, Error> {
        let Some(path) = &self.audit_log_path else { return Ok(None) };
        let format = match self.audit_log_format.as_str() {
            "json" => Format::Json,
            "legacy" => Format::Legacy,
            other => {
                let text = format!("--audit-log-format: {other:?} must be json or legacy");
                return Err(Error::Usage(text));
            }
        };
        version("--audit-log-version", &self.audit_log_version)?;
        Ok(Some(FileOptions {
            path: path.clone(),
            format,
            max_age_days: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
            max_size_mb: self.audit_log_maxsize,
            compress: self.audit_log_compress,
            max_event_bytes: self
                .audit_log_truncate_enabled
                .then_some(self.audit_log_truncate_max_event_size),
        }))
    }

    pub(super) fn webhook(&self) -> Result<Option<(PathBuf, WebhookOptions)>, Error> {
        let Some(path) = &self.audit_webhook_config_file else { return Ok(None) };
        version("--audit-webhook-version", &self.audit_webhook_version)?;
        let truncate = self.audit_webhook_truncate_enabled;
        let options = WebhookOptions {
            buffer_size: self.audit_webhook_batch_buffer_size,
            max_batch_size: self.audit_webhook_batch_max_size,
            max_batch_wait: self.audit_webhook_batch_max_wait,
            initial_backoff: self.audit_webhook_initial_backoff,
            throttle: self.audit_webhook_batch_throttle_enable.then_some(Throttle {
                qps: self.audit_webhook_batch_throttle_qps.into(),
                burst: self.audit_webhook_batch_throttle_burst,
            }),
            max_event_bytes: truncate.then_some(self.audit_webhook_truncate_max_event_size),
            max_batch_bytes: truncate.then_some(self.audit_webhook_truncate_max_batch_size),
        };
        Ok(Some((path.clone(), options)))
    }

    /// What is given and has no effect.
    pub fn warnings(&self) -> Vec<String> {
        let asked = self.audit_log_path.is_some() || self.audit_webhook_config_file.is_some();
        let file = "events are written to the file as they come";
        [
            (
                "log-path and --audit-webhook-config-file have",
                asked && self.audit_policy_file.is_none(),
                "without --audit-policy-file no event is recorded",
            ),
            ("log-mode has", self.audit_log_mode != "blocking", file),
            (
                "log-batch-* have",
                self.audit_log_batch_buffer_size != 10_000
                    || self.audit_log_batch_max_size != 1
                    || !self.audit_log_batch_max_wait.is_zero()
                    || self.audit_log_batch_throttle_enable
                    || self.audit_log_batch_throttle_qps > 0.0
                    || self.audit_log_batch_throttle_burst > 0,
                file,
            ),
            (
                "log-truncate-max-batch-size has",
                self.audit_log_truncate_max_batch_size != 10_485_760,
                file,
            ),
            (
                "webhook-mode has",
                self.audit_webhook_mode != "batch",
                "no request waits for the webhook: events are sent in batches",
            ),
        ]
        .into_iter()
        .filter(|(_, given, _)| *given)
        .map(|(flag, _, why)| format!("--audit-{flag} no effect: {why}"))
        .collect()
    }
}

fn count(metrics: &mut Metrics, counts: &Arc<LineCounts>) {
    let (dropped, truncated) = (Arc::clone(counts), Arc::clone(counts));
    metrics.ask(Metric::AccessLogLinesDropped, ["", ""], move || dropped.dropped());
    metrics.ask(Metric::AccessLogLinesTruncated, ["", ""], move || truncated.truncations());
}

fn version(flag: &str, version: &str) -> Result<(), Error> {
    if version == VERSION {
        return Ok(());
    }
    Err(Error::Usage(format!("{flag}: {version:?} is not served, {VERSION} is")))
}
