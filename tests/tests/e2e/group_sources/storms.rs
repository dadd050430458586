//! A morning on which all come at once, and nobody is known.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use oidc_provider::{Answer as Good, Endpoint, Misbehaviour};
use sandbox::realm;
use serde_json::json;

use super::Rig;
use crate::wire::{Ask, send_all};

const USERS: usize = 5_000;
/// Questions in a second.
const RATE: u32 = 250;
/// Requests under way, over HTTP/2: as many on each connection as Envoy takes.
const AT_ONCE: usize = 2_500;
const CONNECTIONS: usize = 25;
const LIMIT: Duration = Duration::from_secs(60);

/// Resident memory in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// All get in in the end or are told when to come again; none of them ever without groups. The directory is asked about each once for all
/// workers, and not faster than it wants to be.
#[test]
fn five_thousand_users_at_a_cold_start() {
    let more = json!({"when": "ClaimAbsent", "requestsPerSecond": RATE});
    // So many places that hardly two users share one.
    let configuration = json!({
        "groupCache": {"maximumEntries": 1_000_000},
        // Envoy ends what a busy machine does not come to for 15 seconds.
        "limits": {"waitSeconds": 5},
    });
    let rig = Rig::start("entra", &more, &configuration);
    let group = json!({"@odata.type": "#microsoft.graph.group", "id": "1", "displayName": "system:viewers"});
    let good = Good::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        body: json!({"value": [group]}).to_string(),
    };
    rig.issuer().misbehave(Endpoint::Directory, Misbehaviour::answer(good)).unwrap();
    rig.passes(&rig.token("many"));
    let ask = |number: usize| {
        let user = format!("user-{number}");
        let token = rig.issuer().token("many", realm::CLIENT).without("groups");
        let token = token.claim("oid", &*user).claim("sub", &*user).expires_in(3600).mint();
        // Without the group the API server answers 403.
        Ask::new("GET", "/api/v1/namespaces/default/pods/none").bearer(&token)
    };
    let mut left: Vec<_> = (0..USERS).map(ask).collect();
    let (before, memory) = (rig.asked(), resident(rig.gateway.envoy_id()));
    let (start, done) = (Instant::now(), AtomicBool::new(false));
    let mut told = 0;
    let (samples, odd) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut samples = Vec::new();
            while !done.load(Ordering::Relaxed) {
                samples.push((start.elapsed().as_secs_f64(), rig.asked() - before));
                thread::sleep(Duration::from_millis(200));
            }
            samples
        });
        let mut odd = None;
        while !left.is_empty() && odd.is_none() && start.elapsed() < LIMIT {
            // Who was told to come again does so behind those who did not come yet.
            let now: Vec<_> = left.drain(..left.len().min(AT_ONCE)).collect();
            let answers = send_all(&rig.gateway, &now, CONNECTIONS);
            let answers = answers.inspect_err(|error| odd = Some(error.clone()));
            for (ask, answer) in now.into_iter().zip(answers.unwrap_or_default()) {
                let after = answer.header("retry-after").and_then(|it| it.parse().ok());
                match answer.status {
                    // There is no such pod, which only who may read pods is told.
                    404 => {}
                    // The API server's own: all of them are one user to it.
                    429 => left.push(ask),
                    503 if (1..=10).contains(&after.unwrap_or(0)) => {
                        told += 1;
                        left.push(ask);
                    }
                    _ => odd = Some(format!("{answer:?}")),
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        (watcher.join().unwrap(), odd)
    });
    assert_eq!(odd, None);
    let took = start.elapsed();
    assert!(left.is_empty(), "{} of {USERS} are not in after {took:?}", left.len());
    let asked = rig.asked() - before;
    let grown = resident(rig.gateway.envoy_id()).saturating_sub(memory) / 1024;
    println!(
        "{USERS} users in {took:?}, {told} told to come again, {asked} questions, {grown} MiB"
    );
    // Each once; those few are asked about twice whose places are shared.
    assert!((USERS..USERS + USERS / 50).contains(&usize::try_from(asked).unwrap()), "{asked}");
    // A second's worth at once, and then one after the other. What is late on a busy machine is not seen before its time.
    for (until, seen) in &samples {
        let most = f64::from(RATE) * (until + 1.1);
        assert!(f64::from(u32::try_from(*seen).unwrap()) <= most, "{seen} after {until:.1} s");
    }
    assert!(grown < 200, "{grown} MiB");
}
