//! Loads that last: a list of 100 MB, five thousand watches, a client that stops reading, and a storm on a cold start.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use oidc_provider::{Algorithm, Endpoint, Misbehaviour, SignWith};
use serde_json::{Value, json};
use tokio::task::spawn_local;

use crate::{
    chains::{self, Running, Starter, Upstream, configuration},
    client::{self, GO, Server, Version, within},
    load::{self, Sample},
    plan::{self, BESIDE_STALLED, Settings},
    process,
    report::Report,
    world::{self, CLIENT, USER, World},
};

/// The name of the figure for a watch's memory.
pub const WATCH_MEMORY: &str = "memory of a watch, KiB";

const LIST: &str = "list_100mb";
const WATCHES: &str = "watches_5000";
const STORM: &str = "cold_storm_500";

const LIST_PATH: &str = "/api/v1/namespaces/large/configmaps";
const WATCHED: &str = "/api/v1/namespaces/watched/configmaps";
/// Watches, on connections of 100 streams, as many as Go puts on one.
const WATCHERS: usize = 5_000;
const STREAMS: usize = 100;
/// Objects that are created while they watch.
const EVENTS: usize = 20;
/// Clients that come at once to a gateway that has just been started.
const CLIENTS: usize = 500;
/// No answer takes longer on any machine that is good for measuring.
const LIMIT: Duration = Duration::from_secs(120);
/// Until buffers are as full as they get.
const SETTLED: Duration = Duration::from_secs(3);

/// Measures the loads of this kind that are wanted.
pub async fn run(world: &World, settings: &Settings, report: &mut Report) -> Result<()> {
    if settings.wants(LIST) || settings.wants(BESIDE_STALLED.name) {
        fill(world)?;
    }
    if settings.wants(BESIDE_STALLED.name) {
        // Of processes that have not sent a list yet: memory that was once taken is not given back.
        let (_starter, chains) = start(world, settings, &["envoy", "gateway_warm"]).await?;
        for chain in &chains {
            stalled(chain, settings, report).await?;
        }
    }
    if settings.wants(LIST) {
        let (_starter, chains) =
            start(world, settings, &["envoy", "envoy_gates", "gateway_warm", "native_warm"])
                .await?;
        for round in 0..settings.rounds {
            for chain in plan::in_turn(&chains, round) {
                report.add(chain.name, LIST, list(chain).await?);
            }
            eprintln!("{LIST:>20} {round}");
        }
    }
    if settings.wants(WATCHES) {
        create(world, "watched")?;
        for round in 0..settings.rounds_of(WATCHES) {
            // New processes each time, for the same reason.
            let names = ["envoy", "envoy_gates", "gateway_warm", "native_warm"];
            let (_starter, chains) = start(world, settings, &names).await?;
            for chain in plan::in_turn(&chains, round) {
                watches(world, chain, round, report).await?;
            }
        }
    }
    if settings.wants(STORM) {
        for _ in 0..settings.rounds_of(STORM) {
            storm(world, report).await?;
        }
    }
    Ok(())
}

/// Chains in front of the API server, in processes of their own.
async fn start<'a>(
    world: &'a World,
    settings: &Settings,
    names: &[&str],
) -> Result<(Starter<'a>, Vec<Running>)> {
    let mut starter = Starter::new(world, Upstream::ApiServer, 2, settings.others.clone());
    let chains = plan::start(&mut starter, settings, names).await?;
    Ok((starter, chains))
}

fn create(world: &World, namespace: &str) -> Result<()> {
    let manifest = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
    Ok(world.cluster.apply(&manifest)?)
}

fn config_map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"data": data}})
}

/// Objects of 100 MB together; one may have a mebibyte at most.
fn fill(world: &World) -> Result<()> {
    eprintln!("{LIST:>20} creating objects");
    create(world, "large")?;
    let data = "0123456789abcdef".repeat(60_000);
    for number in 0..105 {
        let object = config_map(&format!("large-{number}"), &data);
        world.cluster.admin_client().post_json(LIST_PATH, &object)?;
    }
    Ok(())
}

async fn read(answer: Response<Incoming>) -> Result<usize> {
    let (mut body, mut bytes) = (answer.into_body(), 0);
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
    }
    Ok(bytes)
}

async fn list(chain: &Running) -> Result<Sample> {
    let process = chain.proxy.process();
    let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
    let (start, used) = (Instant::now(), process::processor_seconds(process)?);
    let bytes = within(LIMIT, async {
        read(connection.must(LIST_PATH, chain.tokens[0].clone()).await?).await
    });
    let bytes = bytes.await.with_context(|| format!("chain {}, load {LIST}", chain.name))?;
    ensure!(bytes > 100_000_000, "the list has only {bytes} bytes");
    let seconds = start.elapsed().as_secs_f64();
    Ok(Sample {
        cpu_us_per_request: (process::processor_seconds(process)? - used) * 1e6,
        requests_per_second: 1.0 / seconds,
        p50_ms: seconds * 1e3,
        p99_ms: seconds * 1e3,
        rss_mb: process::resident_mib(process)?,
    })
}

/// A client asks for 100 MB and reads nothing of it; others go on.
async fn stalled(chain: &Running, settings: &Settings, report: &mut Report) -> Result<()> {
    let process = chain.proxy.process();
    // What small requests have made it take is not what is measured.
    let alone = load::turn(chain, &BESIDE_STALLED, settings.seconds).await?;
    let before = process::resident_mib(process)?;
    let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
    let unread = within(LIMIT, connection.must(LIST_PATH, chain.tokens[0].clone())).await?;
    tokio::time::sleep(SETTLED).await;
    let growth = process::resident_mib(process)? - before;
    for _ in 0..settings.rounds_of(BESIDE_STALLED.name) {
        let sample = load::turn(chain, &BESIDE_STALLED, settings.seconds).await?;
        report.add(chain.name, BESIDE_STALLED.name, sample);
    }
    drop(unread);
    report.note(format!(
        "{}: a client that stopped reading 100 MB cost {growth:.1} MiB; p99 of the others without it {:.2} ms",
        chain.name, alone.p99_ms
    ));
    Ok(())
}

/// Resident memory, MiB, once a process gives nothing back any more of what its start took.
pub async fn resident_at_rest(process: u32) -> Result<f64> {
    let mut resident = process::resident_mib(process)?;
    within(LIMIT, async {
        loop {
            tokio::time::sleep(SETTLED).await;
            let later = process::resident_mib(process)?;
            if resident - later < 0.1 {
                return Ok(later);
            }
            resident = later;
        }
    })
    .await
}

/// What the watchers share.
struct Watching {
    created: Cell<Instant>,
    opened: Cell<usize>,
    seen: Cell<usize>,
    latencies: RefCell<Histogram<u64>>,
}

async fn watches(world: &World, chain: &Running, round: u32, report: &mut Report) -> Result<()> {
    let process = chain.proxy.process();
    let server = &chain.proxy.server;
    // The first request's own memory (its cluster's connection, its caches) is not a watch's.
    let mut first = server.connect(Version::H2, GO).await?;
    read(first.must("/version", chain.tokens[0].clone()).await?).await?;
    let before = resident_at_rest(process).await?;
    // What earlier rounds created must not stand at the beginning of every watch.
    let list = world.cluster.admin_client().get_json(WATCHED)?;
    let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let path: Rc<str> =
        format!("{WATCHED}?watch=1&resourceVersion={}", version.unwrap_or_default()).into();
    let watching = Rc::new(Watching {
        created: Cell::new(Instant::now()),
        opened: Cell::new(0),
        seen: Cell::new(0),
        latencies: RefCell::new(Histogram::new_with_bounds(1, 120_000_000, 3)?),
    });
    let mut tasks = Vec::new();
    let start = Instant::now();
    for _ in 0..WATCHERS / STREAMS {
        let mut connection = Some(server.connect(Version::H2, GO).await?);
        for _ in 0..STREAMS {
            let Some(mut stream) = connection.take() else { break };
            connection = stream.again();
            let (watching, token) = (Rc::clone(&watching), chain.tokens[0].clone());
            let path = Rc::clone(&path);
            tasks.push(spawn_local(async move {
                let answer = stream.must(&path, token).await?;
                watching.opened.set(watching.opened.get() + 1);
                watching.events(answer).await
            }));
        }
    }
    let all = |count: &dyn Fn() -> usize, want: usize| {
        let reached = count() >= want;
        let dead = tasks.iter().any(tokio::task::JoinHandle::is_finished);
        (reached, dead)
    };
    let wait = async |count: &dyn Fn() -> usize, want: usize| -> Result<()> {
        loop {
            let (reached, dead) = all(count, want);
            ensure!(!dead, "a watch ended: {} of {WATCHERS} were open", watching.opened.get());
            if reached {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(LIMIT, wait(&|| watching.opened.get(), WATCHERS)).await?;
    let opening = start.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLED).await;
    let each_kib = (process::resident_mib(process)? - before) * 1024.0 / WATCHERS as f64;
    let (start, used) = (Instant::now(), process::processor_seconds(process)?);
    for number in 0..EVENTS {
        let object = config_map(&format!("{}-{round}-{number}", chain.name.replace('_', "-")), "x");
        let client = world.cluster.admin_client().clone();
        watching.created.set(Instant::now());
        // Blocks this thread, and with it the watchers, for the few milliseconds of a creation.
        client.post_json(WATCHED, &object)?;
        within(LIMIT, wait(&|| watching.seen.get(), (number + 1) * WATCHERS)).await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let used = process::processor_seconds(process)? - used;
    for task in tasks {
        task.abort();
    }
    let events = (EVENTS * WATCHERS) as f64;
    let millis = |quantile| watching.latencies.borrow().value_at_quantile(quantile) as f64 / 1e3;
    eprintln!(
        "{WATCHES:>20} {round} {:<26} opened in {opening:.1} s, {each_kib:.1} KiB each, {:.1} µs an event",
        chain.name,
        used * 1e6 / events
    );
    report.measure(chain.name, WATCH_MEMORY, each_kib);
    report.add(
        chain.name,
        WATCHES,
        Sample {
            cpu_us_per_request: used * 1e6 / events,
            requests_per_second: events / seconds,
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
            rss_mb: process::resident_mib(process)?,
        },
    );
    Ok(())
}

impl Watching {
    /// Counts events, each a line, until the watch ends.
    async fn events(&self, answer: Response<Incoming>) -> Result<()> {
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let lines =
                frame.data_ref().map_or(0, |data| data.split(|&byte| byte == b'\n').count() - 1);
            self.seen.set(self.seen.get() + lines);
            let micros =
                u64::try_from(self.created.get().elapsed().as_micros()).unwrap_or(u64::MAX);
            for _ in 0..lines {
                self.latencies.borrow_mut().saturating_record(micros);
            }
        }
        Ok(())
    }
}

/// Clients that all come before the issuer has answered for the first time.
async fn storm(world: &World, report: &mut Report) -> Result<()> {
    let provider = world::provider()?;
    let issuer = provider.issuer();
    // Long enough that every client is there.
    issuer.misbehave(Endpoint::Discovery, Misbehaviour::delay(Duration::from_secs(4)))?;
    let tokens: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let token = issuer.token(USER, CLIENT).claim("jti", format!("storm-{number}"));
            let token = token.sign(SignWith::Algorithm(Algorithm::Rs256)).mint();
            hyper::header::HeaderValue::try_from(format!("Bearer {token}"))
        })
        .collect::<Result<_, _>>()?;
    let (port, ca) = (world.stub.port(), world.stub.ca());
    let gateway = world
        .cluster
        .gateway(world::authentication(&provider))
        .configuration(configuration(json!({})))
        .inputs(|inputs| {
            inputs.apiserver.port = port;
            chains::trust(inputs, ca);
        })
        .start()?;
    let server = Server::new(([127, 0, 0, 1], gateway.port()).into(), gateway.ca())?;
    let process = gateway.envoy_id();
    let (start, used) = (Instant::now(), process::processor_seconds(process)?);
    let mut tasks = Vec::new();
    for token in tokens {
        let server = server.clone();
        tasks.push(spawn_local(client::within(LIMIT, async move {
            let start = Instant::now();
            let mut connection = server.connect(Version::H2, GO).await?;
            read(connection.must("/api/v1/namespaces/default", token).await?).await?;
            Ok(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
        })));
    }
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3)?;
    for task in tasks {
        latencies.saturating_record(task.await?.context("a client of the storm")?);
    }
    let seconds = start.elapsed().as_secs_f64();
    let fetches = (issuer.requests(Endpoint::Discovery), issuer.requests(Endpoint::Jwks));
    eprintln!("{STORM:>20} {seconds:.1} s, fetches {fetches:?}");
    report.measure("gateway_cold_rs256", "discovery fetches of a storm", fetches.0 as f64);
    report.measure("gateway_cold_rs256", "key fetches of a storm", fetches.1 as f64);
    report.add(
        "gateway_cold_rs256",
        STORM,
        Sample {
            cpu_us_per_request: (process::processor_seconds(process)? - used) * 1e6
                / CLIENTS as f64,
            requests_per_second: CLIENTS as f64 / seconds,
            p50_ms: latencies.value_at_quantile(0.5) as f64 / 1e3,
            p99_ms: latencies.value_at_quantile(0.99) as f64 / 1e3,
            rss_mb: process::resident_mib(process)?,
        },
    );
    Ok(())
}
