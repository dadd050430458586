//! An audit trail from its files: a policy, a log, a webhook.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use gateway_client::{KubeconfigError, Remote};
use jiff::Timestamp;

use crate::{
    pipeline::Pipeline,
    policy::{Policy, PolicyError},
    sink::{Counts, EventSink, File, FileOptions, Webhook, WebhookOptions, webhook},
};

/// Where events go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    /// A file, or standard output.
    pub file: Option<FileOptions>,
    /// A webhook: the kubeconfig that says how it is reached, and how events are sent.
    pub webhook: Option<(PathBuf, WebhookOptions)>,
}

/// An audit trail that runs.
pub struct Trail {
    /// Takes Envoy's raw lines.
    pub pipeline: Pipeline,
    /// What of the policy is allowed and does less than it says.
    pub warnings: Vec<String>,
    /// What becomes of events, by output (`file`, `webhook`).
    pub counts: Vec<(&'static str, Arc<Counts>)>,
}

/// Why there is no audit trail. Each text names the file.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The policy cannot be read.
    #[error("audit policy {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The policy is refused.
    #[error("audit policy {path:?}: {source}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PolicyError,
    },
    /// The log cannot be written.
    #[error("audit log {path:?}: {source}")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The webhook's kubeconfig is refused.
    #[error("audit webhook {path:?}: {source}")]
    Webhook {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KubeconfigError,
    },
}

impl Trail {
    /// Reads the policy and opens the outputs.
    ///
    /// # Errors
    /// If one of the files is not right.
    pub fn start(policy: &Path, outputs: Outputs) -> Result<Self, TrailError> {
        let path = policy.to_owned();
        let text = match fs::read_to_string(policy) {
            Ok(text) => text,
            Err(source) => return Err(TrailError::Read { path, source }),
        };
        let policy = Policy::parse(&text).map_err(|source| TrailError::Policy { path, source })?;
        let warnings = policy.warnings().to_vec();
        let mut sinks: Vec<Box<dyn EventSink>> = Vec::new();
        let mut counts = Vec::new();
        if let Some(options) = outputs.file {
            let path = options.path.clone();
            let file = File::open(options, Box::new(Timestamp::now))
                .map_err(|source| TrailError::Log { path, source })?;
            counts.push(("file", file.counts()));
            sinks.push(Box::new(file));
        }
        if let Some((kubeconfig, options)) = outputs.webhook {
            let target = Remote::read(&kubeconfig, webhook::TIMEOUT)
                .map_err(|source| TrailError::Webhook { path: kubeconfig, source })?;
            let webhook = Webhook::start(target, options);
            counts.push(("webhook", webhook.counts()));
            sinks.push(Box::new(webhook));
        }
        Ok(Self { pipeline: Pipeline::new(policy, sinks), warnings, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rawlog::{RawLine, Sink},
        sink::Format,
    };

    fn options(path: PathBuf) -> FileOptions {
        FileOptions {
            path,
            format: Format::Json,
            max_age_days: 366,
            max_backups: 100,
            max_size_mb: 100,
            compress: false,
            max_event_bytes: None,
        }
    }

    #[test]
    fn raw_lines_become_lines_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let (policy, log) = (folder.path().join("policy"), folder.path().join("audit.log"));
        let rules = "rules: [{level: None, nonResourceURLs: ['/healthz']}, {level: Request}]";
        fs::write(&policy, format!("{{apiVersion: audit.k8s.io/v1, kind: Policy, {rules}}}"))
            .unwrap();
        let outputs = Outputs { file: Some(options(log.clone())), webhook: None };
        let mut trail = Trail::start(&policy, outputs).unwrap();
        assert_eq!(trail.warnings.len(), 1);
        for uri in ["/version", "/healthz"] {
            let line = format!(
                r#"{{"time":"2026-01-01T00:00:00Z","auditID":"a","method":"GET","uri":"{uri}","code":200}}"#
            );
            trail.pipeline.take(RawLine::new(line.as_bytes()));
        }
        trail.pipeline.take(RawLine::new(b"[info] not a line of the access log"));
        trail.pipeline.flush();
        let written = fs::read_to_string(&log).unwrap();
        assert_eq!(written.lines().count(), 2, "{written}");
        assert!(written.lines().all(|line| line.contains("/version")), "{written}");
        let (name, counts) = &trail.counts[0];
        assert_eq!((*name, counts.written(), counts.dropped()), ("file", 2, 0));
        assert_eq!(trail.pipeline.unread().load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_not_right_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let policy = |text: &str| fs::write(at("policy"), text).unwrap();
        let start = |outputs| match Trail::start(&at("policy"), outputs) {
            Ok(_) => panic!("it starts"),
            Err(error) => error.to_string(),
        };
        assert!(start(Outputs::default()).contains("policy\": No such file"));
        policy("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: []}");
        assert!(start(Outputs::default()).contains("policy\": loaded illegal policy with 0 rules"));
        policy("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}");
        let file = Some(options(at("policy/log")));
        assert!(start(Outputs { file, webhook: None }).starts_with("audit log "));
        let webhook = Some((at("none"), WebhookOptions::default()));
        assert!(start(Outputs { file: None, webhook }).contains("none\": cannot read"));
    }
}
