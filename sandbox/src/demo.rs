//! `sandbox demo`: the story of the compose project kubernetes-sandbox, told by the gateway.

mod story;
mod teller;

use std::time::Instant;

use oidc_provider::{Config, Preset, Provider};
use sandbox::{
    Cluster, Error, Result, Steps,
    assets::{Assets, Kubernetes, Progress},
    realm,
};

/// Starts everything, tells the story, ends everything.
pub fn run(kubernetes: Kubernetes) -> Result<()> {
    Assets::ensure(kubernetes, &Progress::new())?;
    let start = Instant::now();
    teller::heading(&format!(
        "A cluster of Kubernetes {kubernetes}, an OpenID provider and the gateway are started"
    ));
    let cluster = Cluster::builder().kubernetes(kubernetes).steps(Steps::Told).start()?;
    let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer()))
        .map_err(|e| Error::Invalid(format!("the OpenID provider does not start: {e}")))?;
    let gateway = cluster
        .gateway(realm::authentication_of(&provider))
        .configuration(realm::configuration())
        .steps(Steps::Told)
        .start()?;
    let (ready, start) = (start.elapsed(), Instant::now());

    story::Story::new(&cluster, &provider, &gateway).tell()?;
    teller::heading(&format!(
        "Everything was as told: {:.1} s to start, {:.1} s for the story",
        ready.as_secs_f64(),
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}
