//! What the hold of early bytes costs an exec: an upgrade is decided by the filter and its body waits for the 101, so the time from
//! the request to the 101, and to the first byte of the command's output, is compared with Envoy alone behind the same doors.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use hyper::{Request, header::HeaderValue, upgrade};
use hyper_util::rt::TokioIo;
use oidc_provider::Algorithm;
use tokio::io::AsyncReadExt;

use crate::{
    chains::{CHAINS, Others, Running, Starter, Upstream},
    client::{GO, Version, within},
    plan::in_turn,
    world::World,
};

const NAMES: [&str; 3] = ["envoy_gates", "gateway_warm", "native_warm"];
const ROUNDS: u32 = 300;
const LIMIT: Duration = Duration::from_secs(10);
const POD: &str = "upgrades";
const PATH: &str =
    "/api/v1/namespaces/default/pods/upgrades/exec?command=echo&command=x&stdout=true";

/// Times of one chain, in microseconds.
struct Times {
    accepted: Histogram<u64>,
    output: Histogram<u64>,
}

/// Runs `echo` in a pod of the sandbox's node, one after the other, each on a connection of its own, the chains in turn.
pub async fn run(world: &World) -> Result<String> {
    let manifest = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {POD}}},
          spec: {{nodeName: {}, containers: [{{name: main, image: none}}]}}}}",
        sandbox::NODE
    );
    world.cluster.apply(&manifest)?;
    let ready = ["wait", "--for=condition=Ready", "--timeout=30s", "pod", POD];
    world.cluster.admin().must(ready, "")?;
    let token = world.tokens(Algorithm::Rs256, 1)?.first().cloned().context("no token")?;

    let mut starter = Starter::new(world, Upstream::ApiServer, 2, Others::default());
    let mut chains = Vec::new();
    for name in NAMES {
        let chain = CHAINS.into_iter().find(|chain| chain.name == name).context("no such chain")?;
        chains.push(starter.start(chain)?.context("no such chain")?);
    }
    let histogram = || Histogram::<u64>::new(3).context("a histogram");
    let mut times = Vec::new();
    for _ in &chains {
        times.push(Times { accepted: histogram()?, output: histogram()? });
    }
    for round in 0..=ROUNDS {
        for running in in_turn(&chains, round) {
            let at = chains.iter().position(|it| it.name == running.name).context("a chain")?;
            let (accepted, output) = within(LIMIT, exec(running, &token)).await?;
            // The first one opens connections and fills caches.
            if round > 0 {
                times[at].accepted.record(micros(accepted))?;
                times[at].output.record(micros(output))?;
            }
        }
    }
    let mut text = format!(
        "| exec by WebSocket, {ROUNDS} in turn, each on a new connection | p50 to the 101, ms | p99 | p50 to the output, ms | p99 |\n|---|---:|---:|---:|---:|\n"
    );
    for (chain, Times { accepted, output }) in chains.iter().zip(&times) {
        let at = |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} |",
            chain.name,
            at(accepted, 0.5),
            at(accepted, 0.99),
            at(output, 0.5),
            at(output, 0.99)
        )?;
    }
    Ok(text)
}

/// The times from sending an upgrade to its 101 and to the first byte behind it.
async fn exec(running: &Running, token: &HeaderValue) -> Result<(Duration, Duration)> {
    let mut connection = running.proxy.server.connect(Version::H1, GO).await?;
    let request = Request::get(PATH)
        .header("authorization", token)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
        .body(Bytes::new())?;
    let start = Instant::now();
    let answer = connection.send(request).await?;
    let accepted = start.elapsed();
    ensure!(answer.status() == 101, "{}: exec: {}", running.name, answer.status());
    let mut stream = TokioIo::new(upgrade::on(answer).await?);
    let read = stream.read(&mut [0; 64]).await?;
    ensure!(read > 0, "{}: exec: no output", running.name);
    Ok((accepted, start.elapsed()))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
