//! What requests without a login cost: tokens with bad signatures, as fast as they are answered, beside a token that the gateway
//! knows. Each kind is measured when its client has used up the costly checks that it may cause.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use http_body_util::BodyExt;
use hyper::header::HeaderValue;
use oidc_provider::{Algorithm, Issuer};
use tokio::task::spawn_local;

use crate::{
    chains::{Running, Starter, Upstream},
    client::{GO, Version},
    load::Sample,
    plan::{self, Settings},
    process,
    report::Report,
    world::{CLIENT, USER, World},
};

/// A good token that is in the cache.
pub const KNOWN: &str = "known_token";
/// Bad signatures.
pub const FORGED: [&str; 5] = [
    "forged_rs256",
    "forged_ps256",
    "forged_es512",
    "forged_rs256_ten_keys_no_kid",
    "forged_ps256_ten_keys_no_kid",
];

const PATH: &str = "/api/v1/namespaces/default";
const CONNECTIONS: usize = 8;
const RSA_KEYS: usize = 10;
/// Before anything is measured: longer than a bucket lasts.
const WARM_UP: usize = 2_000;
const REQUESTS: usize = 12_000;

/// Measures all of them in turn.
pub async fn run(world: &World, settings: &Settings, report: &mut Report) -> Result<()> {
    if ![KNOWN].iter().chain(&FORGED).any(|load| settings.wants(load)) {
        return Ok(());
    }
    let issuer = world.issuer();
    let es512 = issuer.new_key(Algorithm::Es512);
    let es512_kid = es512.kid().to_owned();
    issuer.publish(es512);
    for _ in 1..RSA_KEYS {
        issuer.publish(issuer.new_key(Algorithm::Rs256));
    }
    let forged = |name| forged(&issuer, name, &es512_kid);
    let tokens = FORGED.map(|name| (name, forged(name)));
    let mut starter = Starter::new(world, Upstream::Stub, 2, settings.others.clone());
    for chain in &plan::start(&mut starter, settings, &["gateway_warm"]).await? {
        for round in 0..settings.rounds_of(KNOWN) {
            let mut loads = vec![(KNOWN, chain.tokens[0].clone())];
            for (name, token) in &tokens {
                loads.push((*name, HeaderValue::try_from(format!("Bearer {token}"))?));
            }
            if round % 2 == 1 {
                loads.reverse();
            }
            for (name, token) in loads {
                let statuses: &[u16] = if name == KNOWN { &[200] } else { &[401, 429] };
                send(chain, &token, statuses, WARM_UP).await.context(name)?;
                let sample = turn(chain, &token, statuses).await.context(name)?;
                eprintln!("{name:>30} {round} {:>7.1} µs", sample.cpu_us_per_request);
                report.add(chain.name, name, sample);
            }
        }
    }
    Ok(())
}

/// A token of the user's with a signature that nobody made, and that no verifier refuses by its looks.
fn forged(issuer: &Issuer, name: &str, es512_kid: &str) -> String {
    let token = issuer.token(USER, CLIENT).expires_in(3600);
    let token = match name {
        "forged_es512" => token.header("alg", "ES512").header("kid", es512_kid),
        name if name.contains("ps256") => token.header("alg", "PS256"),
        _ => token,
    };
    let token = if name.contains("no_kid") { token.without_header("kid") } else { token };
    // Both numbers of P-521 must be below the order of its group, which has 521 bits.
    let half = [&[0; 1][..], &[7; 65]].concat();
    let signature = if name == "forged_es512" { half.repeat(2) } else { vec![7; 256] };
    token.signature(signature).mint()
}

async fn turn(chain: &Running, token: &HeaderValue, statuses: &'static [u16]) -> Result<Sample> {
    let process = chain.proxy.process();
    let (start, used) = (Instant::now(), process::processor_seconds(process)?);
    let latencies = send(chain, token, statuses, REQUESTS).await?;
    let used = process::processor_seconds(process)? - used;
    let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Sample {
        cpu_us_per_request: used * 1e6 / REQUESTS as f64,
        requests_per_second: REQUESTS as f64 / start.elapsed().as_secs_f64(),
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        rss_mb: process::resident_mib(process)?,
    })
}

/// So many requests, each connection's one after the other.
async fn send(
    chain: &Running,
    token: &HeaderValue,
    statuses: &'static [u16],
    requests: usize,
) -> Result<Histogram<u64>> {
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
        let token = token.clone();
        tasks.push(spawn_local(async move {
            let mut times = Vec::new();
            for _ in 0..requests / CONNECTIONS {
                let start = Instant::now();
                let answer = connection.ask(PATH, token.clone()).await?;
                let status = answer.status().as_u16();
                ensure!(statuses.contains(&status), "{status} instead of {statuses:?}");
                answer.into_body().collect().await?;
                times.push(start.elapsed());
            }
            Ok::<_, anyhow::Error>(times)
        }));
    }
    let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    for task in tasks {
        for time in task.await?? {
            latencies.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }
    Ok(latencies)
}
