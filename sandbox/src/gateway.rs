//! The gateway: Envoy with the filter in front of a cluster's API server, by the rendered configuration users get.

mod beside;
mod builder;
mod filter;
mod log;
mod stats;
mod token;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use gateway_config::{Documents, Inputs, Rendered, render};
use gateway_control::write;
use serde_json::Value;

pub use self::builder::GatewayBuilder;
pub use self::filter::filter_form;
pub use self::stats::Stats;
use self::{beside::Beside, log::LogFrom, stats::Change, token::TokenFile};
use crate::{
    error::{Error, Result},
    folder::Folder,
    http::Client,
    kubeconfig::{Credential, Kubeconfig},
    kubectl::Kubectl,
    port::Port,
    process::{Process, Spec, lock},
    wait,
};

/// The file whose change the filter itself has to accept.
const FILTER_FILE: &str = "filter-gateway.yaml";

/// How long Envoy may take to notice a changed file.
const RELOAD: Duration = Duration::from_secs(30);

/// A running gateway. Dropping it ends it. Any number of gateways may stand in front of one [`Cluster`](crate::Cluster).
pub struct Gateway {
    // Ends before the folder it writes to is removed.
    process: Mutex<Process>,
    token: TokenFile,
    inputs: Mutex<Inputs>,
    beside: Option<Beside>,
    /// Envoy counts the changes of both gateways together.
    changes: Mutex<()>,
    spec: Spec,
    patience: Duration,
    admin: Client,
    ca: String,
    kubectl: PathBuf,
    port: Port,
    folder: Folder,
}

impl Gateway {
    /// The gateway's URL, `https://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The port of the second gateway in its Envoy, if it has one; its certificate is the same.
    #[must_use]
    pub fn port_beside(&self) -> Option<u16> {
        self.beside.as_ref().map(|beside| beside.port.number())
    }

    /// The bundle that signs its certificate, PEM. The certificate is for 127.0.0.1 and `localhost`.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The folder with its files: `envoy/`, `envoy.log` and `access.log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Envoy's log, in which the filter tells why it refused something.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// One JSON line for each request; Envoy writes it within half a second.
    #[must_use]
    pub fn access_log(&self) -> PathBuf {
        lock(&self.inputs).access_log.clone()
    }

    /// Its lines so far. Envoy writes what has gathered, and that may end within a line: such a one is left out.
    #[must_use]
    pub fn access_lines(&self) -> Vec<String> {
        let log = fs::read_to_string(self.access_log()).unwrap_or_default();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    /// The number of Envoy's process, for what the system counts of it.
    #[must_use]
    pub fn envoy_id(&self) -> u32 {
        lock(&self.process).id()
    }

    /// A kubeconfig for it.
    #[must_use]
    pub fn kubeconfig(&self, credential: Credential) -> Kubeconfig {
        Kubeconfig { server: self.url(), ca: self.ca.clone(), credential }
    }

    /// kubectl through it.
    pub fn kubectl(&self, credential: Credential) -> Result<Kubectl> {
        Kubectl::new(&self.kubectl, &self.kubeconfig(credential))
    }

    /// Envoy's administration: `/stats`, `/config_dump`, `/drain_listeners` and the like.
    #[must_use]
    pub fn envoy_admin(&self) -> &Client {
        &self.admin
    }

    /// Envoy's counters and gauges now.
    pub fn stats(&self) -> Result<Stats> {
        Stats::read(&self.admin)
    }

    /// The file with the gateway's ServiceAccount token.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        self.token.path()
    }

    /// Puts a text in place of the ServiceAccount token, by rename, and stops the renewal: a token that was revoked, ran
    /// out or is damaged. [`Self::renew_token`] makes it good again.
    pub fn replace_token(&self, text: &str) -> Result<()> {
        self.token.replace(text)
    }

    /// Has a new token made and put in place of the old one, by rename; the renewal goes on from there.
    pub fn renew_token(&self) -> Result<()> {
        self.token.renew()
    }

    /// Makes sure that Envoy runs.
    ///
    /// # Errors
    /// With the last line of its log if it ended.
    pub fn check(&self) -> Result<()> {
        lock(&self.process).check()
    }

    /// Kills Envoy, as a crash would, and leaves its port closed until [`Self::start_envoy`].
    pub fn kill_envoy(&self) -> Result<()> {
        lock(&self.process).kill().map(drop)
    }

    /// Starts Envoy again on the same port with the files as they are, after a kill or in place of the running one.
    pub fn start_envoy(&self) -> Result<()> {
        let mut process = lock(&self.process);
        process.kill()?;
        *process = start_envoy(&self.spec, &self.admin, self.patience)?;
        Ok(())
    }

    /// Changes the configuration while Envoy runs, and returns when the new one is live.
    ///
    /// # Errors
    /// If a document is not understood, or Envoy or the filter refuses it; then the old configuration goes on.
    pub fn configure(&self, authentication: &Value, gateway: Option<&Value>) -> Result<()> {
        let documents = documents(authentication, gateway)?;
        self.change(|inputs| inputs.documents = documents)
    }

    /// Changes any input of the rendering while Envoy runs, and returns when the filter's new configuration is live. What
    /// stands in `envoy.yaml` alone (the listener) stays until Envoy is started again.
    pub fn change(&self, change: impl FnOnce(&mut Inputs)) -> Result<()> {
        self.change_in(&self.inputs, change)
    }

    /// [`Self::configure`] for the second gateway in its Envoy.
    pub fn configure_beside(&self, authentication: &Value, gateway: &Value) -> Result<()> {
        let beside = self.beside.as_ref();
        let beside = beside.ok_or_else(|| Error::Invalid("no gateway beside it".to_owned()))?;
        let documents = documents(authentication, Some(gateway))?;
        self.change_in(&beside.inputs, |inputs| inputs.documents = documents)
    }

    fn change_in(&self, inputs: &Mutex<Inputs>, change: impl FnOnce(&mut Inputs)) -> Result<()> {
        let _alone = lock(&self.changes);
        let mut inputs = lock(inputs);
        let mut changed = inputs.clone();
        change(&mut changed);
        let before = self.stats()?;
        let log = LogFrom::now(&self.spec.log);
        let files = render_into(&changed)?.1;
        if files.iter().any(|name| name == FILTER_FILE) {
            let taken = wait::within(RELOAD, "Envoy to take the new configuration", || {
                let now = self.stats().map_err(|e| e.to_string())?;
                now.filter_change(&before).ok_or_else(|| "nothing happened".to_owned())
            })?;
            if taken == Change::Refused {
                // An Envoy that starts anew must find what this one goes on with.
                render_into(&inputs)?;
                return Err(log.refusal());
            }
        }
        *inputs = changed;
        Ok(())
    }
}

fn documents(authentication: &Value, gateway: Option<&Value>) -> Result<Documents> {
    Documents::from_values(authentication, gateway.cloned())
        .map_err(|e| Error::Invalid(e.to_string()))
}

/// Renders and writes the files that changed; the names of those.
fn render_into(inputs: &Inputs) -> Result<(Rendered, Vec<String>)> {
    let rendered = render(inputs).map_err(|e| Error::Invalid(e.to_string()))?;
    let written = write(&rendered, &inputs.directory).map_err(|e| Error::Invalid(e.to_string()))?;
    let written = written.into_iter().map(Into::into).collect();
    Ok((rendered, written))
}

fn start_envoy(spec: &Spec, admin: &Client, patience: Duration) -> Result<Process> {
    let log = LogFrom::now(&spec.log);
    let mut process = Process::start(spec)?;
    // Envoy calls itself ready with a filter that refused, too: then every request is answered with an error.
    let filter = process.wait_until(patience, || {
        let answer = admin.get("/ready").map_err(|e| e.to_string())?;
        let stats = Stats::read(admin).map_err(|e| e.to_string())?;
        match stats.filter_change(&Stats::default()) {
            Some(Change::Refused) => Ok(Change::Refused),
            Some(Change::Taken) if answer.status == 200 && stats.serves() => Ok(Change::Taken),
            _ => Err(answer.body),
        }
    })?;
    match filter {
        Change::Taken => Ok(process),
        Change::Refused => Err(log.refusal()),
    }
}
