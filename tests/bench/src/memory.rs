//! Whether memory grows: a million warm requests, then 100,000 valid tokens, then as many that are not.

use std::{
    cell::Cell,
    fmt::Write,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use hyper::header::HeaderValue;
use oidc_provider::{Algorithm, Issuer, SignWith};
use tokio::task::spawn_local;

use crate::{
    chains::{CHAINS, Others, Proxy, Starter, Upstream},
    client::{Connection, GO, Version},
    process,
    world::{CLIENT, USER, World},
};

const CONNECTIONS: usize = 8;
const STREAMS: usize = 4;
/// Parts of each phase, after which the memory is looked at.
const PARTS: usize = 10;

/// A phase: what is sent, how often, and how it is answered.
struct Phase {
    name: &'static str,
    requests: usize,
    status: u16,
    token: fn(&Issuer, usize) -> String,
}

const PHASES: [Phase; 3] = [
    Phase { name: "warm", requests: 1_000_000, status: 200, token: |issuer, _| valid(issuer, 0) },
    Phase { name: "distinct valid", requests: 100_000, status: 200, token: valid },
    Phase { name: "distinct invalid", requests: 100_000, status: 401, token: invalid },
];

/// ES256, because minting has to keep up.
fn valid(issuer: &Issuer, number: usize) -> String {
    let token = issuer.token(USER, CLIENT).claim("jti", format!("memory-{number}"));
    token.expires_in(7200).sign(SignWith::Algorithm(Algorithm::Es256)).mint()
}

fn invalid(issuer: &Issuer, number: usize) -> String {
    let token = issuer.token(USER, CLIENT).claim("jti", format!("invalid-{number}"));
    token.sign(SignWith::Stranger(Algorithm::Es256)).mint()
}

/// Runs the phases; gives a table of the memory on the way.
pub async fn run(world: &World) -> Result<String> {
    let mut starter = Starter::new(world, Upstream::Stub, 2, Others::default());
    let warm = CHAINS.into_iter().find(|chain| chain.name == "gateway_warm");
    let chain = starter.start(warm.context("no such chain")?)?.context("no such chain")?;
    let issuer = world.issuer();
    let before = process::resident_mib(chain.proxy.process())?;
    let mut text = format!(
        "Resident memory of Envoy with two workers, MiB, after each tenth of a phase ({before:.0} before the first request):\n\n\
         | requests |{} growth of the second half |\n|---|{}---:|\n",
        (1..=PARTS).fold(String::new(), |cells, part| cells + &format!(" {part}/{PARTS} |")),
        "---:|".repeat(PARTS)
    );
    for phase in PHASES {
        let same = phase.name == "warm";
        let authorization =
            |number| HeaderValue::try_from(format!("Bearer {}", (phase.token)(&issuer, number)));
        let first = authorization(0)?;
        let mut figures = Vec::new();
        for part in 0..PARTS {
            let count = phase.requests / PARTS;
            let start = Instant::now();
            let tokens: Vec<HeaderValue> = if same {
                vec![first.clone()]
            } else {
                (0..count).map(|n| authorization(part * count + n)).collect::<Result<_, _>>()?
            };
            let minted = start.elapsed();
            send(&chain.proxy, tokens.into(), count, phase.status).await?;
            // The filter's counts reach Envoy with its next tick.
            tokio::time::sleep(Duration::from_secs(1)).await;
            figures.push(process::resident_mib(chain.proxy.process())?);
            eprintln!(
                "{:>18} {}/{PARTS}: {:.1} MiB, {:.1} s, of which {:.1} s minted tokens",
                phase.name,
                part + 1,
                figures.last().copied().unwrap_or_default(),
                start.elapsed().as_secs_f64(),
                minted.as_secs_f64()
            );
        }
        let growth = figures[PARTS - 1] - figures[PARTS / 2 - 1];
        let cells: String =
            figures.iter().fold(String::new(), |cells, mib| cells + &format!(" {mib:.1} |"));
        writeln!(text, "| {} {} |{cells} {growth:+.1} |", phase.requests, phase.name)?;
    }
    Ok(text)
}

async fn send(proxy: &Proxy, tokens: Rc<[HeaderValue]>, count: usize, status: u16) -> Result<()> {
    let next = Rc::new(Cell::new(0));
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Some(proxy.server.connect(Version::H2, GO).await?);
        for _ in 0..STREAMS {
            let Some(stream) = connection.take() else { break };
            connection = stream.again();
            tasks.push(spawn_local(stream_of(
                stream,
                Rc::clone(&next),
                Rc::clone(&tokens),
                count,
                status,
            )));
        }
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn stream_of(
    mut connection: Connection,
    next: Rc<Cell<usize>>,
    tokens: Rc<[HeaderValue]>,
    count: usize,
    status: u16,
) -> Result<()> {
    loop {
        let number = next.get();
        if number == count {
            return Ok(());
        }
        next.set(number + 1);
        let token = tokens[number % tokens.len()].clone();
        let answer = connection.ask("/api/v1/namespaces/default", token).await?;
        ensure!(answer.status() == status, "{} instead of {status}", answer.status());
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
    }
}
