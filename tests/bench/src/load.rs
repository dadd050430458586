//! A closed loop: so many requests under way at any time, each begun when another has been answered.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use http_body_util::BodyExt;
use hyper::header::HeaderValue;
use tokio::task::spawn_local;

use crate::{
    chains::Running,
    client::{Connection, GO, Version},
    process,
};

/// Before anything is measured: connections are opened, caches filled.
const WARM_UP: Duration = Duration::from_millis(700);

/// What is asked, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// Its name in the results.
    pub name: &'static str,
    /// The version of HTTP.
    pub version: Version,
    /// Connections.
    pub connections: usize,
    /// Streams of each.
    pub streams: usize,
    /// What is asked for.
    pub path: &'static str,
}

/// What one turn of a chain gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Processor time of the proxy for a request, in microseconds.
    pub cpu_us_per_request: f64,
    /// Requests answered in a second.
    pub requests_per_second: f64,
    /// Milliseconds within which half of them were answered.
    pub p50_ms: f64,
    /// Milliseconds within which 99 of 100 were answered.
    pub p99_ms: f64,
    /// The proxy's resident memory afterwards.
    pub rss_mb: f64,
}

/// The loop's shared state.
struct State {
    tokens: Rc<[HeaderValue]>,
    next: Cell<usize>,
    measuring: Cell<bool>,
    done: Cell<bool>,
    latencies: RefCell<Histogram<u64>>,
    failure: RefCell<Option<anyhow::Error>>,
}

impl State {
    fn token(&self) -> HeaderValue {
        let next = self.next.get();
        self.next.set((next + 1) % self.tokens.len());
        self.tokens[next].clone()
    }

    async fn stream(self: Rc<Self>, mut connection: Connection, path: &'static str) {
        while !self.done.get() {
            if let Err(error) = self.ask(&mut connection, path).await {
                self.failure.borrow_mut().get_or_insert(error);
                self.done.set(true);
            }
        }
    }

    async fn ask(&self, connection: &mut Connection, path: &str) -> Result<()> {
        let start = Instant::now();
        let mut body = connection.must(path, self.token()).await?.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        if self.measuring.get() {
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.latencies.borrow_mut().saturating_record(micros);
        }
        Ok(())
    }
}

/// One turn: `seconds` of the load on a chain.
pub async fn turn(chain: &Running, load: &Load, seconds: f64) -> Result<Sample> {
    let state = Rc::new(State {
        tokens: Rc::clone(&chain.tokens),
        next: Cell::new(0),
        measuring: Cell::new(false),
        done: Cell::new(false),
        latencies: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3)?),
        failure: RefCell::new(None),
    });
    let mut tasks = Vec::new();
    for _ in 0..load.connections {
        let mut next = Some(chain.proxy.server.connect(load.version, GO).await?);
        for _ in 0..load.streams {
            let Some(connection) = next.take() else { break };
            next = connection.again();
            tasks.push(spawn_local(Rc::clone(&state).stream(connection, load.path)));
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let process = chain.proxy.process();
    let (start, used) = (Instant::now(), process::processor_seconds(process)?);
    state.measuring.set(true);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    state.measuring.set(false);
    let used = process::processor_seconds(process)? - used;
    let elapsed = start.elapsed().as_secs_f64();
    state.done.set(true);
    for task in tasks {
        task.await?;
    }
    if let Some(error) = state.failure.take() {
        return Err(error).with_context(|| format!("chain {}, load {}", chain.name, load.name));
    }
    let latencies = state.latencies.borrow();
    let (requests, millis) =
        (latencies.len() as f64, |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3);
    Ok(Sample {
        cpu_us_per_request: used * 1e6 / requests,
        requests_per_second: requests / elapsed,
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        rss_mb: process::resident_mib(process)?,
    })
}
