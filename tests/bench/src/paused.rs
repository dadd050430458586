//! What requests cost in memory that wait for an issuer's keys: 2,000 at once, on 20 connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::header::HeaderValue;
use oidc_provider::{Algorithm, Endpoint, Misbehaviour, Rotation, SignWith};
use tokio::{task::spawn_local, time::sleep};

use crate::{
    chains::{CHAINS, Chain, Kind, Others, Running, Starter, Tokens, Upstream},
    client::{Connection, GO, Version},
    native::Decides,
    process,
    world::{CLIENT, USER, World},
};

const CONNECTIONS: usize = 20;
const STREAMS: usize = 100;
/// How long the issuer takes to answer: less than the filter waits for it.
const SLOW: Duration = Duration::from_secs(3);
/// More than `keySets.minimumRefetchSeconds`: the next unknown key may cause a fetch.
const REFETCH: Duration = Duration::from_secs(11);
const LOOK: Duration = Duration::from_millis(20);
const PATH: &str = "/api/v1/namespaces/default";

/// Measures Envoy alone, whose requests wait in a filter of its own, and then the gateway.
pub async fn run(world: &World) -> Result<String> {
    let mut starter = Starter::new(world, Upstream::Stub, 2, Others::default());
    let decides = Decides::Late(u32::try_from(SLOW.as_secs())?);
    let kind = Kind::Envoy { decides, gates: true };
    let alone = Chain { name: "envoy_late", kind, tokens: Tokens::One };
    let alone = starter.start(alone)?.context("no such chain")?;
    let token = world.tokens(Algorithm::Rs256, 1)?.first().cloned().context("no token")?;
    let alone = hold(&alone, &connect(&alone, &token).await?, &token).await?;
    let gateway = gateway(world, &mut starter).await?;
    Ok(format!(
        "{count} requests on {CONNECTIONS} connections, two workers. Those that wait for a slow issuer's new keys cost {}. The answer 200 came \
         for {} of them. In Envoy alone, with the same doors and a filter of its own that delays requests, they cost {}.\n",
        gateway.text(),
        gateway.good,
        alone.text(),
        count = CONNECTIONS * STREAMS,
    ))
}

/// Lets the issuer change its keys and answer slowly, and asks with a token of the new key.
async fn gateway(world: &World, starter: &mut Starter<'_>) -> Result<Held> {
    let warm = CHAINS.into_iter().find(|chain| chain.name == "gateway_warm");
    let chain = starter.start(warm.context("no such chain")?)?.context("no such chain")?;
    let issuer = world.issuer();
    let authorization = || {
        let token = issuer.token(USER, CLIENT).sign(SignWith::Algorithm(Algorithm::Es256)).mint();
        HeaderValue::try_from(format!("Bearer {token}"))
    };
    let connections = connect(&chain, &authorization()?).await?;
    sleep(REFETCH).await;
    issuer.misbehave(Endpoint::Jwks, Misbehaviour::delay(SLOW))?;
    issuer.rotate(Rotation::Overlap);
    let held = hold(&chain, &connections, &authorization()?).await?;
    issuer.behave();
    Ok(held)
}

/// What waiting requests cost.
struct Held {
    before: f64,
    waiting: f64,
    peak: f64,
    good: usize,
}

impl Held {
    fn text(&self) -> String {
        let Self { before, waiting, peak, .. } = self;
        format!(
            "{:.1} MiB ({before:.1}, then {waiting:.1} MiB), and {:.1} MiB when all of them go on at once",
            waiting - before,
            peak - before
        )
    }
}

/// Connections that have been used.
async fn connect(chain: &Running, token: &HeaderValue) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
        connection.must(PATH, token.clone()).await?;
        connections.push(connection);
    }
    Ok(connections)
}

/// Asks on all of them at once, and looks at the proxy's memory until everything is answered.
async fn hold(chain: &Running, connections: &[Connection], token: &HeaderValue) -> Result<Held> {
    let before = process::resident_mib(chain.proxy.process())?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for connection in connections {
        for _ in 0..STREAMS {
            let mut stream = connection.again().context("HTTP/2 has streams")?;
            let token = token.clone();
            tasks.push(spawn_local(async move {
                Ok::<_, anyhow::Error>(stream.ask(PATH, token).await?.status().as_u16())
            }));
        }
    }
    let (mut waiting, mut peak) = (before, before);
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        ensure!(start.elapsed() < 5 * SLOW, "requests wait longer than they may");
        sleep(LOOK).await;
        let now = process::resident_mib(chain.proxy.process())?;
        peak = peak.max(now);
        if start.elapsed() < SLOW {
            waiting = waiting.max(now);
        }
    }
    let took = start.elapsed();
    let mut good = 0;
    for task in tasks {
        good += usize::from(task.await?? == 200);
    }
    ensure!(took >= SLOW / 2, "nothing waited: {took:?}");
    Ok(Held { before, waiting, peak, good })
}
