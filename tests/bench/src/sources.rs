//! What a first request costs whose user's groups are in a directory: how much longer it takes than to ask the directory for the page.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::header::HeaderValue;
use oidc_provider::{Answer, Endpoint, Misbehaviour};
use serde_json::json;

use crate::{
    chains::{PATH, Running, Starter, Upstream},
    client::{Connection, GO, Server, Version},
    plan::{self, Settings},
    report::Report,
    spread::Spread,
    world::{World, crowd},
};

/// The name of this load.
const COLD: &str = "groups_cold";
/// What is measured: the median of a round's requests.
pub const BEYOND: &str = "first request of a user of 999 groups, ms beyond the page itself";
/// What the directory's page took whom the load's client asked for it; its [`PAGE`], and what the machine adds.
const ITSELF: &str = "the page of 999 groups itself, ms";
/// What a request takes whose user's groups are known, after a pause as long as that before a first request: so much of a first request has
/// nothing to do with groups.
const KNOWN: &str = "request of a user who is known, after the same pause, ms";
/// How long the directory waits before it sends a page.
const PAGE: Duration = Duration::from_millis(20);
/// The largest page of Microsoft Graph.
const GROUPS: usize = 999;
/// Users of a round. Each is asked about once.
const USERS: usize = 50;

/// Asks as users whom nobody has asked about, one after the other, by each form in turn.
pub async fn run(world: &World, settings: &Settings, report: &mut Report) -> Result<()> {
    if !settings.wants(COLD) {
        return Ok(());
    }
    let mut starter = Starter::new(world, Upstream::Stub, 2, settings.others.clone());
    let names = ["gateway_groups_warm", "native_groups_warm"];
    let chains = plan::start(&mut starter, settings, &names).await?;
    world.issuer().misbehave(Endpoint::Directory, page())?;
    for round in 0..settings.rounds_of(COLD) {
        for chain in plan::in_turn(&chains, round) {
            let Times { itself, first, known } = times(world, chain, round).await?;
            let beyond = first - itself;
            eprintln!(
                "{COLD:>20} {round} {:<26} {beyond:.2} ms beyond {itself:.2}, known {known:.2}",
                chain.name
            );
            report.measure(chain.name, BEYOND, beyond);
            report.measure(chain.name, ITSELF, itself);
            report.measure(chain.name, KNOWN, known);
        }
    }
    world.issuer().behave_at(Endpoint::Directory);
    Ok(())
}

/// A page without another behind it, after a known time.
fn page() -> Misbehaviour {
    let group = |name: String| {
        let id = format!("00000000-0000-4000-8000-{:012x}", name.len());
        json!({"@odata.type": "#microsoft.graph.group", "id": id, "displayName": name})
    };
    let groups: Vec<_> = crowd().into_iter().take(GROUPS).map(group).collect();
    let body = json!({
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#directoryObjects",
        "value": groups,
    });
    let answer = Answer::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.to_string(),
    };
    Misbehaviour { answer: Some(answer), ..Misbehaviour::delay(PAGE) }
}

/// Medians of a round, in milliseconds.
struct Times {
    itself: f64,
    first: f64,
    known: f64,
}

/// Times of the page itself, of first requests, and of those of a user who is known. The page is asked for in turn with the requests, and in
/// the same way, over a connection that is open: what the machine is busy with is then in all of them.
async fn times(world: &World, chain: &Running, round: u32) -> Result<Times> {
    let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
    let directory = Server::new(world.provider.address(), world.provider.ca_pem())?;
    let mut directory = directory.connect(Version::H2, GO).await?;
    let url = world.issuer().endpoint(Endpoint::Directory);
    let path: hyper::Uri = url.parse().context("the directory's URL")?;
    let [mut pages, mut first, mut known] = [const { Vec::new() }; 3];
    let tokens = (0..USERS)
        .map(|number| world.token_of_a_stranger(&format!("{}-{round}-{number}", chain.name)));
    let tokens: Vec<_> = tokens.collect::<Result<_>>()?;
    for token in &tokens {
        pages.push(time(&mut directory, path.path(), token.clone()).await?);
        first.push(time(&mut connection, PATH, token.clone()).await?);
    }
    for token in &tokens {
        time(&mut directory, path.path(), token.clone()).await?;
        known.push(time(&mut connection, PATH, token.clone()).await?);
    }
    let median = |times| Spread::of(times).median;
    Ok(Times { itself: median(pages), first: median(first), known: median(known) })
}

/// How long a request takes, with its answer's whole body, in milliseconds.
async fn time(connection: &mut Connection, path: &str, token: HeaderValue) -> Result<f64> {
    let start = Instant::now();
    connection.must(path, token).await?.into_body().collect().await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
