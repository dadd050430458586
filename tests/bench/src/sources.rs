//! What a first request costs whose user's groups are in a directory: how much longer it takes than the directory.

use std::time::{Duration, Instant};

use anyhow::Result;
use http_body_util::BodyExt;
use oidc_provider::{Answer, Endpoint, Misbehaviour};
use serde_json::json;

use crate::{
    chains::{PATH, Running, Starter, Upstream},
    client::{GO, Version},
    plan::{self, Settings},
    report::Report,
    spread::Spread,
    world::{World, crowd},
};

/// The name of this load.
const COLD: &str = "groups_cold";
/// What is measured: the median of a round's requests.
pub const BEYOND: &str = "first request of a user of 999 groups, ms beyond the directory's 20";
/// How long the directory takes for a page.
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
            let beyond = beyond(world, chain, round).await?;
            eprintln!("{COLD:>20} {round} {:<26} {beyond:.2} ms", chain.name);
            report.measure(chain.name, BEYOND, beyond);
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

async fn beyond(world: &World, chain: &Running, round: u32) -> Result<f64> {
    let mut connection = chain.proxy.server.connect(Version::H2, GO).await?;
    let mut times = Vec::with_capacity(USERS);
    for number in 0..USERS {
        let token = world.token_of_a_stranger(&format!("{}-{round}-{number}", chain.name))?;
        let start = Instant::now();
        let answer = connection.must(PATH, token).await?;
        answer.into_body().collect().await?;
        times.push(start.elapsed().saturating_sub(PAGE).as_secs_f64() * 1e3);
    }
    Ok(Spread::of(times).median)
}
