//! How soon a gateway is ready after its Envoy was started, and the memory that it then holds, in both forms and with two workers.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{
    chains::{Running, Starter, Upstream},
    lasting::resident_at_rest,
    plan::{self, Settings},
    report::Report,
    world::World,
};

/// The name of this load.
const START: &str = "start";
/// What is measured: seconds from the start of the process until Envoy is ready, the filter has taken its configuration, and the listener
/// is there.
pub const READY: &str = "seconds until two workers are ready";
/// MiB, after a first request, once nothing is given back any more.
pub const MEMORY: &str = "memory with two workers at rest, MiB";

/// Starts each form in turn.
pub async fn run(world: &World, settings: &Settings, report: &mut Report) -> Result<()> {
    if !settings.wants(START) {
        return Ok(());
    }
    let mut starter = Starter::new(world, Upstream::Stub, 2, settings.others.clone());
    let chains = plan::start(&mut starter, settings, &["gateway_warm", "native_warm"]).await?;
    for round in 0..settings.rounds {
        for chain in plan::in_turn(&chains, round) {
            let seconds = start_again(chain)?;
            chain.ready().await?;
            eprintln!("{START:>20} {round} {:<26} {seconds:.2} s", chain.name);
            report.measure(chain.name, READY, seconds);
        }
    }
    for chain in &chains {
        let resident = resident_at_rest(chain.proxy.process()).await?;
        eprintln!("{START:>20} {:<28} {resident:.1} MiB at rest", chain.name);
        report.measure(chain.name, MEMORY, resident);
    }
    Ok(())
}

fn start_again(chain: &Running) -> Result<f64> {
    let gateway = chain.proxy.gateway().context("it is no gateway")?;
    gateway.kill_envoy()?;
    let start = Instant::now();
    gateway.start_envoy()?;
    Ok(start.elapsed().as_secs_f64())
}
