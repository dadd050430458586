//! Changes kube-apiserver's own authentication while it runs: it watches the file of `--authentication-config`.

use std::{fmt::Write, fs, path::Path, time::Duration};

use sha2::{Digest, Sha256};

use super::Cluster;
use crate::{
    error::{Error, Result},
    files,
    http::Client,
    wait,
};

/// kube-apiserver gives new issuers a minute to answer.
const LIMIT: Duration = Duration::from_secs(90);

/// Its metrics of what it applied last, and of what it could not apply.
const APPLIED: &str = "apiserver_authentication_config_controller_last_config_info{";
const FAILURES: &str = "apiserver_authentication_config_controller_automatic_reloads_total{";

impl Cluster {
    /// Has kube-apiserver itself authenticate by another `AuthenticationConfiguration`, and returns when it does: ten
    /// seconds later or so, for that is how often it looks whether it has an issuer's keys.
    ///
    /// # Errors
    /// If it refuses the configuration, with its reasons, or was started without one.
    pub fn configure_authentication(&self, text: &str) -> Result<()> {
        let file = self.apiserver.authentication.as_deref().ok_or_else(|| {
            Error::Invalid("kube-apiserver was started without an authentication config".to_owned())
        })?;
        let client = &self.apiserver.client;
        let log = &self.apiserver.log;
        let before = failures(&metrics(client)?);
        let logged = fs::metadata(log).map_or(0, |data| data.len());
        files::write(file, text.as_bytes())?;
        let digest: [u8; 32] = Sha256::digest(text).into();
        let applied = wait::within(LIMIT, "kube-apiserver to take its authentication", || {
            let now = metrics(client).map_err(|e| e.to_string())?;
            if failures(&now) > before {
                return Ok(false);
            }
            is_applied(&now, &digest).then_some(true).ok_or_else(|| "it does nothing".to_owned())
        })?;
        if applied {
            return Ok(());
        }
        Err(Error::Refused {
            name: "kube-apiserver",
            reason: reason(log, logged),
            log: log.clone(),
        })
    }
}

fn metrics(client: &Client) -> Result<String> {
    Ok(client.get("/metrics")?.body)
}

fn failures(metrics: &str) -> f64 {
    let failed = |line: &&str| line.starts_with(FAILURES) && line.contains("status=\"failure\"");
    metrics
        .lines()
        .filter(failed)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn is_applied(metrics: &str, digest: &[u8]) -> bool {
    let hash = digest.iter().fold(String::from(",hash=\"sha256:"), |mut hash, byte| {
        // Writing to a string does not fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    });
    metrics.lines().any(|line| line.starts_with(APPLIED) && line.contains(&hash))
}

/// What it logged as its error since the log had that length.
fn reason(log: &Path, from: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let new = usize::try_from(from).ok().and_then(|from| bytes.get(from..)).unwrap_or_default();
    let text = String::from_utf8_lossy(new);
    let error = text.lines().find(|line| line.contains("authentication config"));
    let error = error.and_then(|line| Some(line.split_once("err=")?.1));
    error.unwrap_or("it does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_tell_what_is_applied_and_what_failed() {
        let text = "\
apiserver_authentication_config_controller_automatic_reloads_total{apiserver_id_hash=\"x\",status=\"failure\"} 2\n\
apiserver_authentication_config_controller_automatic_reloads_total{apiserver_id_hash=\"x\",status=\"success\"} 5\n\
apiserver_authentication_config_controller_last_config_info{apiserver_id_hash=\"x\",hash=\"sha256:01ff\"} 1\n";
        assert!((failures(text) - 2.0).abs() < f64::EPSILON);
        assert!((failures("") - 0.0).abs() < f64::EPSILON);
        assert!(is_applied(text, &[1, 255]));
        assert!(!is_applied(text, &[1, 254]));
    }
}
