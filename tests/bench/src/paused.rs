//! What requests cost in memory that wait for an issuer's keys: 2,000 at once, on 20 connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::header::HeaderValue;
use oidc_provider::{Algorithm, Endpoint, Misbehaviour, Rotation, SignWith};
use tokio::{task::spawn_local, time::sleep};

use crate::{
    chains::{CHAINS, Others, Starter, Upstream},
    client::{GO, Version},
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

/// Lets the issuer change its keys and answer slowly, and asks with a token of the new key.
pub async fn run(world: &World) -> Result<String> {
    let mut starter = Starter::new(world, Upstream::Stub, 2, Others::default());
    let warm = CHAINS.into_iter().find(|chain| chain.name == "gateway_warm");
    let chain = starter.start(warm.context("no such chain")?)?.context("no such chain")?;
    let issuer = world.issuer();
    let authorization = || {
        let token = issuer.token(USER, CLIENT).sign(SignWith::Algorithm(Algorithm::Es256)).mint();
        HeaderValue::try_from(format!("Bearer {token}"))
    };
    let known = authorization()?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
        connection.must(PATH, known.clone()).await?;
        connections.push(connection);
    }
    sleep(REFETCH).await;
    issuer.misbehave(Endpoint::Jwks, Misbehaviour::delay(SLOW))?;
    issuer.rotate(Rotation::Overlap);
    let unknown = authorization()?;
    let before = process::resident_mib(chain.proxy.process())?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for connection in &connections {
        for _ in 0..STREAMS {
            let mut stream = connection.again().context("HTTP/2 has streams")?;
            let token = unknown.clone();
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
    issuer.behave();
    let mut good = 0;
    for task in tasks {
        good += usize::from(task.await?? == 200);
    }
    let count = CONNECTIONS * STREAMS;
    ensure!(took >= SLOW / 2, "nothing waited: {took:?}");
    let text = format!(
        "{count} requests on {CONNECTIONS} connections that wait for a slow issuer's new keys: {:.1} MiB more in Envoy with two workers \
         ({before:.1}, then {waiting:.1} MiB), and {:.1} MiB more when all of them go on at once; {good} of them got 200.\n",
        waiting - before,
        peak - before
    );
    Ok(text)
}
