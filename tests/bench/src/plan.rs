//! Which chain has its turn under which load, and in which order.

use anyhow::Result;

use crate::{
    attack,
    chains::{CHAINS, Chain, Others, PATH, Running, Starter, Tokens, Upstream},
    client::Version,
    lasting,
    load::{self, Load},
    report::Report,
    starts, strangers,
    world::World,
};

/// How much is measured.
pub struct Settings {
    /// Turns of each chain under each load.
    pub rounds: u32,
    /// Seconds of a turn.
    pub seconds: f64,
    /// Only loads whose name contains this.
    pub load: Option<String>,
    /// Only chains whose name contains one of these; all if there is none.
    pub chains: Vec<String>,
    /// What is measured only if it is given.
    pub others: Others,
}

impl Settings {
    /// Whether a load of this name is wanted.
    pub fn wants(&self, load: &str) -> bool {
        self.load.as_ref().is_none_or(|part| load.contains(part))
    }

    /// How often each chain has its turn under the load of this name.
    pub fn rounds_of(&self, load: &str) -> u32 {
        // Who asks for one load wants it as exactly as can be.
        if self.load.is_some() || PROMISED.contains(&load) {
            self.rounds
        } else {
            self.rounds.min(FEWER_ROUNDS)
        }
    }

    fn wants_chain(&self, chain: &str) -> bool {
        self.chains.is_empty() || self.chains.iter().any(|part| chain.contains(part))
    }
}

/// Small requests: which, to what, and by which chains (all if none is named).
struct Plan {
    upstream: Upstream,
    workers: u32,
    load: Load,
    chains: &'static [&'static str],
}

/// How often a chain has its turn under a load that no promise of a hundredth depends on.
const FEWER_ROUNDS: u32 = 3;
/// The loads that have all rounds.
const PROMISED: [&str; 4] =
    ["get_h2", "get_h2_one_worker", "get_h2_eight_workers", "get_h2_apiserver"];

const H2: Load =
    Load { name: "get_h2", version: Version::H2, connections: 8, streams: 4, path: PATH };
const H1: Load =
    Load { name: "get_h1", version: Version::H1, connections: 32, streams: 1, path: PATH };
const MAIN: &[&str] = &["envoy", "envoy_gates", "jwt_authn_gates", "gateway_warm", "native_warm"];
const WITH_PROXY: &[&str] = &[
    "envoy",
    "envoy_gates",
    "jwt_authn_gates",
    "gateway_warm",
    "gateway_cold_rs256",
    "native_warm",
    "native_cold_rs256",
    "other_warm",
    "other_cold_rs256",
    "kube_oidc_proxy",
];

const CROWDED: &[&str] = &[
    "envoy_gates_1000_groups",
    "gateway_1000_groups",
    "native_1000_groups",
    "kube_oidc_proxy_1000_groups",
];

const PLANS: [Plan; 8] = [
    Plan { upstream: Upstream::Stub, workers: 2, load: H2, chains: &[] },
    Plan { upstream: Upstream::Stub, workers: 2, load: H1, chains: MAIN },
    Plan {
        upstream: Upstream::Stub,
        workers: 1,
        load: Load { name: "get_h2_one_worker", ..H2 },
        chains: WITH_PROXY,
    },
    Plan {
        upstream: Upstream::Stub,
        workers: 8,
        load: Load { name: "get_h2_eight_workers", connections: 32, ..H2 },
        chains: WITH_PROXY,
    },
    Plan {
        upstream: Upstream::Stub,
        workers: 2,
        load: Load { name: "get_h2_1000_groups", ..H2 },
        chains: CROWDED,
    },
    Plan {
        upstream: Upstream::ApiServer,
        workers: 2,
        load: Load { name: "get_h2_1000_groups_apiserver", ..H2 },
        chains: CROWDED,
    },
    Plan {
        upstream: Upstream::ApiServer,
        workers: 2,
        load: Load { name: "get_h2_apiserver", ..H2 },
        chains: WITH_PROXY,
    },
    Plan {
        upstream: Upstream::ApiServer,
        workers: 2,
        load: Load { name: "get_h1_apiserver", ..H1 },
        chains: MAIN,
    },
];

/// The load beside which a client has stopped reading.
pub const BESIDE_STALLED: Load = Load { name: "get_h2_beside_stalled_reader", ..H2 };

/// Measures everything that the settings want.
pub async fn run(world: &World, settings: &Settings, report: &mut Report) -> Result<()> {
    let places =
        [(Upstream::Stub, 2), (Upstream::Stub, 1), (Upstream::Stub, 8), (Upstream::ApiServer, 2)];
    for (upstream, workers) in places {
        let plans: Vec<_> = PLANS
            .iter()
            .filter(|plan| (plan.upstream, plan.workers) == (upstream, workers))
            .filter(|plan| settings.wants(plan.load.name))
            .collect();
        if plans.is_empty() {
            continue;
        }
        let mut starter = Starter::new(world, upstream, workers, settings.others.clone());
        for plan in plans {
            let chains = start(&mut starter, settings, plan.chains).await?;
            for round in 0..settings.rounds_of(plan.load.name) {
                for chain in in_turn(&chains, round) {
                    let sample = load::turn(chain, &plan.load, settings.seconds).await?;
                    report.add(chain.name, plan.load.name, sample);
                    eprintln!(
                        "{:>20} {round} {:<26} {:>7.1} µs {:>7.0}/s",
                        plan.load.name,
                        chain.name,
                        sample.cpu_us_per_request,
                        sample.requests_per_second
                    );
                }
            }
        }
    }
    attack::run(world, settings, report).await?;
    strangers::run(world, settings, report).await?;
    starts::run(world, settings, report).await?;
    lasting::run(world, settings, report).await
}

/// The chains of these names, in the order of [`CHAINS`], once each of them answers; if there is no name, all but those of a load of their
/// own.
pub async fn start(
    starter: &mut Starter<'_>,
    settings: &Settings,
    names: &[&str],
) -> Result<Vec<Running>> {
    let wanted = |chain: &&Chain| {
        let of_all = names.is_empty() && chain.tokens != Tokens::Crowd;
        (of_all || names.contains(&chain.name)) && settings.wants_chain(chain.name)
    };
    let started =
        CHAINS.iter().filter(wanted).filter_map(|&chain| starter.start(chain).transpose());
    let chains: Vec<_> = started.collect::<Result<_>>()?;
    for chain in &chains {
        chain.ready().await?;
    }
    Ok(chains)
}

/// The chains, forwards and backwards by turns, so that what drifts does not favour the same ones always.
pub fn in_turn(chains: &[Running], round: u32) -> Vec<&Running> {
    let mut order: Vec<_> = chains.iter().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
