//! Questions by the way that requests will take, before Envoy serves with a changed input.

use std::{
    thread,
    time::{Duration, Instant},
};

use gateway_config::{CANDIDATE_CLUSTER, Candidates, Inputs, Issuer, render};
use gateway_control::{ProbeError, write};
use tracing::warn;

use super::{
    super::{
        apiserver::{ApiServer, AskError, Way},
        issuer,
    },
    Live, RELOAD,
};

impl Live {
    /// Asks issuers that Envoy has clusters for. `system` is the bundle for those without one of their own.
    pub(super) fn issuers_answer(&self, issuers: &[Issuer], system: &[u8]) -> Result<(), String> {
        thread::scope(|scope| {
            let ask = |issuer| scope.spawn(move || self.issuer_answers(issuer, system));
            let asked: Vec<_> = issuers.iter().map(ask).collect();
            let answer = |it: thread::ScopedJoinHandle<'_, _>| {
                it.join().unwrap_or_else(|_| Err("nobody could be asked".to_owned()))
            };
            asked.into_iter().try_for_each(answer)
        })
    }

    fn issuer_answers(&self, issuer: &Issuer, system: &[u8]) -> Result<(), String> {
        let url = &issuer.discovery_url;
        let failed = |error: &dyn std::fmt::Display| Err(format!("issuer: GET {url}: {error}"));
        match patiently(|| issuer::answers_envoy(issuer, &self.probe)) {
            Ok(()) => Ok(()),
            Err(error @ (ProbeError::NoEnvoy | ProbeError::NoCluster)) => {
                warn!("{url} is asked by the program itself, whose TLS is not Envoy's: {error}");
                let own = issuer.certificate_authority.as_deref().map(str::as_bytes);
                let identity = self.issuer_certificate.as_ref();
                let proxies = &self.settings.proxies;
                issuer::answers_program(issuer, own.unwrap_or(system), identity, proxies)
                    .or_else(|error| failed(&format!("by the program itself: {error}")))
            }
            Err(error) => failed(&error),
        }
    }

    /// Asks by clusters that nothing but the program's questions goes by, and takes them away again.
    pub(super) fn with_candidates<T>(
        &self,
        candidates: Candidates,
        ask: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let asked = self.offer(candidates).and_then(|()| ask());
        self.withdraw()?;
        asked
    }

    /// Gives Envoy such clusters.
    pub(super) fn offer(&self, candidates: Candidates) -> Result<(), String> {
        put_files(&Inputs { candidates, ..self.inputs.clone() })
    }

    /// Gives Envoy the files of what it serves with.
    pub(super) fn withdraw(&self) -> Result<(), String> {
        put_files(&self.inputs)
    }

    /// Asks by the candidate.
    pub(super) fn apiserver_answers(&self, client: &ApiServer) -> Result<(), String> {
        let asked = patiently(|| client.answers(&self.probe, CANDIDATE_CLUSTER));
        let asked = match asked {
            Err(AskError::NoEnvoy(error)) => {
                warn!(
                    "the API server is asked by the program itself, whose TLS is not Envoy's: {error}"
                );
                client.takes_credential(Way::Own)
            }
            asked => asked,
        };
        match asked {
            Err(AskError::Silent(reason)) => {
                Err(format!("the API server does not answer under it: {reason}"))
            }
            _ => Ok(()),
        }
    }
}

/// Writes the files of an Envoy.
fn put_files(inputs: &Inputs) -> Result<(), String> {
    let rendered = render(inputs).map_err(|error| error.to_string())?;
    write(&rendered, &inputs.directory).map(drop).map_err(|error| error.to_string())
}

/// A question by a cluster that Envoy has been told of, which it may not have taken yet.
trait Pending {
    fn is_pending(&self) -> bool;
}

impl Pending for ProbeError {
    fn is_pending(&self) -> bool {
        *self == Self::NoCluster
    }
}

impl Pending for AskError {
    fn is_pending(&self) -> bool {
        matches!(self, Self::NoEnvoy(ProbeError::NoCluster))
    }
}

/// Asks until Envoy has the cluster by which it is asked.
fn patiently<T, E: Pending>(ask: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    loop {
        match ask() {
            Err(error) if error.is_pending() && start.elapsed() < RELOAD => {
                thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}
