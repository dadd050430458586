//! Ten thousand tokens with key ids that nobody knows, beside honest requests: what the honest ones notice of it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use http_body_util::BodyExt;
use hyper::header::HeaderValue;
use oidc_provider::{Endpoint, Issuer};
use tokio::{
    task::spawn_local,
    time::{MissedTickBehavior, interval},
};

use crate::{
    chains::{Running, Starter, Upstream},
    client::GO,
    client::Version,
    load::Sample,
    plan::{self, Settings},
    process,
    report::Report,
    world::{CLIENT, USER, World},
};

/// Honest requests alone.
pub const ALONE: &str = "paced_h2";
/// The same beside the attack.
pub const ATTACKED: &str = "paced_h2_beside_random_key_ids";

const PATH: &str = "/api/v1/namespaces/default";
const CONNECTIONS: u32 = 8;
/// Honest requests in a second, and tokens of unknown keys in a second: together far from what two processors can do,
/// so that waiting for a processor is not what is measured.
const HONEST: u32 = 480;
const FORGED: u32 = 1_000;
/// Tokens of unknown keys in a turn.
const TOKENS: u32 = 10_000;

/// Who sends, at which pace, and what they must be told.
struct Side {
    tokens: Rc<[HeaderValue]>,
    status: u16,
    next: Cell<usize>,
    latencies: RefCell<Histogram<u64>>,
}

/// Measures the honest requests alone and beside the attack.
pub async fn run(world: &World, settings: &Settings, report: &mut Report) -> Result<()> {
    if !settings.wants(ALONE) && !settings.wants(ATTACKED) {
        return Ok(());
    }
    let mut starter = Starter::new(world, Upstream::Stub, 2, settings.others.clone());
    let issuer = world.issuer();
    for chain in &plan::start(&mut starter, settings, &["gateway_warm"]).await? {
        for round in 0..settings.rounds_of(ATTACKED) {
            let loads = [(ALONE, None), (ATTACKED, Some(forged(&issuer, round)?))];
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for (name, attack) in order.map(|index| &loads[index]) {
                let before = issuer.requests(Endpoint::Jwks);
                let sample = turn(chain, attack.clone()).await.with_context(|| *name)?;
                let fetches = issuer.requests(Endpoint::Jwks) - before;
                eprintln!("{name:>20} {round} p99 {:.2} ms, {fetches} key fetches", sample.p99_ms);
                report.add(chain.name, name, sample);
                if attack.is_some() {
                    let what = format!("key fetches because of {TOKENS} random key ids");
                    report.measure(chain.name, &what, fetches as f64);
                }
            }
        }
    }
    Ok(())
}

/// Tokens with the signature of a key that nobody has, each with a key id of its own.
fn forged(issuer: &Issuer, round: u32) -> Result<Rc<[HeaderValue]>> {
    let token = |number: u32| {
        let token = issuer.token(USER, CLIENT).header("kid", format!("random-{round}-{number}"));
        HeaderValue::try_from(format!("Bearer {}", token.signature(vec![7; 256]).mint()))
    };
    Ok((0..TOKENS).map(token).collect::<Result<_, _>>()?)
}

async fn turn(chain: &Running, attack: Option<Rc<[HeaderValue]>>) -> Result<Sample> {
    let length = Duration::from_secs((TOKENS / FORGED).into());
    let honest = Side::new(&chain.tokens, 200)?;
    let process = chain.proxy.process();
    // The first request of a connection also pays for its cluster's.
    Side::new(&chain.tokens, 200)?.send(chain, HONEST, Duration::from_secs(1)).await?;
    let (start, used) = (Instant::now(), process::processor_seconds(process)?);
    let beside = match &attack {
        None => None,
        Some(tokens) => Some(Side::new(tokens, 401)?),
    };
    let (served, refused) = tokio::join!(honest.send(chain, HONEST, length), async {
        match &beside {
            Some(side) => side.send(chain, FORGED, length).await,
            None => Ok(()),
        }
    });
    served.context("an honest request")?;
    refused.context("a token of an unknown key")?;
    let latencies = honest.latencies.borrow();
    let forged = beside.as_ref().map_or(0, |side| side.next.get());
    ensure!(attack.is_none_or(|tokens| forged >= tokens.len()), "only {forged} tokens were sent");
    let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    let requests = honest.next.get() as f64;
    Ok(Sample {
        cpu_us_per_request: (process::processor_seconds(process)? - used) * 1e6
            / (requests + forged as f64),
        requests_per_second: requests / start.elapsed().as_secs_f64(),
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        rss_mb: process::resident_mib(process)?,
    })
}

impl Side {
    fn new(tokens: &Rc<[HeaderValue]>, status: u16) -> Result<Rc<Self>> {
        Ok(Rc::new(Self {
            tokens: Rc::clone(tokens),
            status,
            next: Cell::new(0),
            latencies: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3)?),
        }))
    }

    /// So many requests in a second for so long, on several connections. What is late is sent at once, so that their
    /// number is always the same.
    async fn send(self: &Rc<Self>, chain: &Running, rate: u32, length: Duration) -> Result<()> {
        let each = length.as_secs() * u64::from(rate / CONNECTIONS);
        let pace = Duration::from_secs(1) * CONNECTIONS / rate;
        let mut tasks = Vec::new();
        for number in 0..CONNECTIONS {
            let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
            let side = Rc::clone(self);
            let offset = pace * number / CONNECTIONS;
            tasks.push(spawn_local(async move {
                tokio::time::sleep(offset).await;
                let mut ticks = interval(pace);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                for _ in 0..each {
                    ticks.tick().await;
                    let next = side.next.replace(side.next.get() + 1);
                    let token = side.tokens[next % side.tokens.len()].clone();
                    let start = Instant::now();
                    let answer = connection.ask(PATH, token).await?;
                    let status = answer.status().as_u16();
                    ensure!(status == side.status, "{status} instead of {}", side.status);
                    answer.into_body().collect().await?;
                    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                    side.latencies.borrow_mut().saturating_record(micros);
                }
                Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    }
}
