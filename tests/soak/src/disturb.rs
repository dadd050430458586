//! The disturbances: each kind on a thread of its own, at times and in forms that the seed gives.
//!
//! Only those that share something wait for each other: one issuer is not rotated while it is down, and the gateway's
//! token is not changed while kube-apiserver, which makes it, is away.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use gateway_bench::client::Server;
use gateway_tests::built;
use oidc_provider::{Answer, Endpoint, Misbehaviour, Rotation};
use sandbox::Authority;
use serde_json::Value;

use crate::{
    ledger::{Fault, Ledger},
    load::{self, ledger},
    people::{self, DOUBT, Membership, People},
    windows::{Cause, Opened},
    world::World,
};

/// How long after a crash a worker may take to serve again.
const AFTER_CRASH: Duration = Duration::from_secs(5);
/// How long after kube-apiserver is ready until every role is read and every connection of Envoy's made anew.
const AFTER_RESTART: Duration = Duration::from_secs(10);
/// How long after a configuration is live until every worker goes by it.
const AFTER_MEMBERSHIP: Duration = Duration::from_secs(5);
/// How long the end of a run is left alone, so that every window closes.
const QUIET: Duration = Duration::from_secs(25);

/// When a run ends, and what its threads share.
pub struct Schedule {
    /// The real thing.
    pub world: Arc<World>,
    /// The checker.
    pub ledger: Arc<Mutex<Ledger>>,
    /// Ends it early.
    pub stop: Arc<AtomicBool>,
    seed: u64,
    end: Instant,
    /// 1 for a run of 20 minutes and more; shorter ones have shorter pauses, down to a fifth.
    pace: f64,
    /// Held by what needs kube-apiserver, or takes it away.
    apiserver: Mutex<()>,
}

impl Schedule {
    /// For a run of so many minutes from now on.
    pub fn new(
        world: Arc<World>,
        ledger: Arc<Mutex<Ledger>>,
        stop: Arc<AtomicBool>,
        seed: u64,
        length: Duration,
    ) -> Arc<Self> {
        let end = Instant::now() + length.saturating_sub(QUIET);
        let pace = (length.as_secs_f64() / 1200.0).clamp(0.2, 1.0);
        Arc::new(Self { world, ledger, stop, seed, end, pace, apiserver: Mutex::new(()) })
    }

    /// Begins all of it.
    pub fn start(self: &Arc<Self>) -> Vec<thread::JoinHandle<()>> {
        let mut tracks: Vec<(String, Track)> = vec![
            ("reload".to_owned(), Box::new(reloads)),
            ("token".to_owned(), Box::new(tokens)),
            ("restart".to_owned(), Box::new(restarts)),
        ];
        if !built::is_native() {
            tracks.push(("crash".to_owned(), Box::new(crashes)));
        }
        for issuer in People::residents() {
            let track: Track =
                Box::new(move |schedule, random| of_issuer(schedule, issuer, random));
            tracks.push((format!("issuer {issuer}"), track));
        }
        let start = |(number, (name, track)): (u64, (String, Track))| {
            let schedule = Arc::clone(self);
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(schedule.seed ^ (number + 1) << 32);
                if let Err(error) = track(&schedule, &mut random) {
                    let text = format!("the disturbances of kind {name} ended: {error:#}");
                    ledger(&schedule.ledger).fault(Fault::Disturbance, &text, Instant::now());
                }
            })
        };
        (0..).zip(tracks).map(start).collect()
    }

    /// Waits half as long to half as long again; whether the run goes on.
    fn pause(&self, seconds: f64, random: &mut fastrand::Rng) -> bool {
        let pause = Duration::from_secs_f64(seconds * self.pace * (0.5 + random.f64()));
        self.wait(pause)
    }

    fn wait(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.over() {
                return false;
            }
            thread::sleep(Duration::from_millis(50).min(until - Instant::now()));
        }
        !self.over()
    }

    fn over(&self) -> bool {
        Instant::now() >= self.end || self.stop.load(Ordering::Relaxed)
    }

    fn open(&self, cause: Cause, note: impl Into<String>) -> Opened {
        let mut ledger = ledger(&self.ledger);
        let opened = ledger.windows().open(cause, note, Instant::now());
        eprintln!("{}", ledger.windows().told(opened));
        opened
    }

    fn close(&self, opened: Opened, after: Duration) {
        ledger(&self.ledger).windows().close(opened, Instant::now() + after);
    }

    /// Does something within a window.
    fn during(
        &self,
        cause: Cause,
        note: impl Into<String>,
        after: Duration,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let opened = self.open(cause, note);
        let done = act();
        self.close(opened, after);
        done
    }
}

type Track = Box<dyn FnOnce(&Schedule, &mut fastrand::Rng) -> Result<()> + Send>;

/// New keys with and without overlap, and outages, of one issuer.
fn of_issuer(schedule: &Schedule, number: usize, random: &mut fastrand::Rng) -> Result<()> {
    let people = &schedule.world.people;
    while schedule.pause(40.0, random) {
        match random.u8(0..4) {
            0 | 1 => {
                let note = "new keys, the old ones are gone at once";
                let opened = schedule.open(Cause::Rotation(number), note);
                people.rotate(number, Rotation::Replace, Instant::now());
                schedule.close(opened, DOUBT);
                schedule.wait(DOUBT);
            }
            2 => {
                let opened = schedule.open(Cause::Rotation(number), "new keys beside the old ones");
                people.rotate(number, Rotation::Overlap, Instant::now());
                schedule.close(opened, DOUBT);
                schedule.wait(DOUBT + Duration::from_secs(random.u64(0..20)));
                let opened = schedule.open(Cause::Rotation(number), "the old keys leave");
                people.retire(number, Instant::now());
                schedule.close(opened, DOUBT);
                schedule.wait(DOUBT);
            }
            _ => outage(schedule, number, random)?,
        }
    }
    Ok(())
}

fn outage(schedule: &Schedule, number: usize, random: &mut fastrand::Rng) -> Result<()> {
    let answers =
        [Answer::Status(503), Answer::Close, Answer::Hang, Answer::Html, Answer::Truncated];
    let answer = random.choice(answers).context("no answer")?;
    let issuer = schedule.world.people.issuer(number);
    let note = format!("{answer:?}");
    // Its end is noticed with the next try.
    schedule.during(Cause::Outage(number), note, DOUBT, || {
        for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
            issuer.misbehave(endpoint, Misbehaviour::answer(answer.clone()))?;
        }
        schedule.wait(Duration::from_secs(random.u64(10..30)));
        issuer.behave();
        Ok(())
    })?;
    // Who would be rotated now might still have its keys fetched later.
    schedule.wait(DOUBT);
    Ok(())
}

/// Changed configurations, good ones and others.
fn reloads(schedule: &Schedule, random: &mut fastrand::Rng) -> Result<()> {
    let (world, people) = (&schedule.world, &schedule.world.people);
    let (mut guest, mut generation) = (true, 0);
    while schedule.pause(20.0, random) {
        let authentication = people.authentication(guest).to_string();
        let gateway = people::configuration(generation).to_string();
        let good: [(&str, &[u8]); 2] = [
            ("authentication.yaml", authentication.as_bytes()),
            ("gateway.yaml", gateway.as_bytes()),
        ];
        match random.u8(0..6) {
            0 | 1 => {
                generation += 1;
                let gateway = people::configuration(generation).to_string();
                let note = format!("settings {generation}");
                schedule.during(Cause::Reload, note, Duration::ZERO, || {
                    world.configure(&[("gateway.yaml", gateway.as_bytes())], "ok")
                })?;
            }
            2 | 3 => {
                guest = !guest;
                let authentication = people.authentication(guest).to_string();
                let note = if guest { "joins" } else { "leaves" };
                let opened = schedule.open(Cause::Membership(people::GUEST), note);
                people.set_guest(Membership::Changing);
                let done =
                    world.configure(&[("authentication.yaml", authentication.as_bytes())], "ok");
                schedule.wait(AFTER_MEMBERSHIP);
                people.set_guest(if guest { Membership::In } else { Membership::Out });
                schedule.close(opened, Duration::ZERO);
                done?;
            }
            number => {
                let (note, files) = invalid(people, guest, number + random.u8(0..3) * 2)?;
                schedule.during(Cause::Reload, note, Duration::ZERO, || {
                    let file = [(files.0, files.1.as_bytes())];
                    world.configure(&file, "refused")?;
                    schedule.wait(Duration::from_secs(2));
                    world.restore(&good)
                })?;
            }
        }
    }
    Ok(())
}

/// A configuration that is refused: what is wrong with it, and the file.
fn invalid(
    people: &People,
    guest: bool,
    number: u8,
) -> Result<(&'static str, (&'static str, String))> {
    let mut document = people.authentication(guest);
    let authentication = |document: Value| ("authentication.yaml", document.to_string());
    Ok(match number {
        4 => ("refused: no YAML", ("gateway.yaml", "{kind: [".to_owned())),
        5 => {
            let stranger = Authority::new("stranger")?;
            document = people.authentication_under(guest, stranger.pem());
            ("refused: another CA for the issuers", authentication(document))
        }
        6 => {
            document["jwt"][0]["issuer"]["audiences"] = Value::Array(Vec::new());
            ("refused: an issuer without audiences", authentication(document))
        }
        7 => {
            let mut gateway = people::configuration(0);
            gateway["unknownField"] = true.into();
            ("refused: an unknown field", ("gateway.yaml", gateway.to_string()))
        }
        8 => {
            document["jwt"][0]["claimMappings"]["username"] =
                serde_json::json!({"expression": "claims."});
            ("refused: an expression that is none", authentication(document))
        }
        _ => ("refused: an empty file", ("authentication.yaml", String::new())),
    })
}

/// Crashes of a worker's VM, each worker's as connections find it.
fn crashes(schedule: &Schedule, random: &mut fastrand::Rng) -> Result<()> {
    let world = &schedule.world;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    while schedule.pause(60.0, random) {
        let server = Server::new(world.address(), world.ca())?;
        schedule.during(Cause::Crash, "a request with too many headers", AFTER_CRASH, || {
            let crash = load::crash(&server, &world.people, &schedule.ledger, random);
            tokio::task::LocalSet::new().block_on(&runtime, crash)
        })?;
    }
    Ok(())
}

/// Other tokens for the gateway, some of them refused ones first.
fn tokens(schedule: &Schedule, random: &mut fastrand::Rng) -> Result<()> {
    while schedule.pause(50.0, random) {
        let apiserver = hold(&schedule.apiserver);
        if schedule.over() {
            return Ok(());
        }
        if random.u8(0..3) == 0 {
            schedule.during(Cause::Token, "one that nobody issued", Duration::ZERO, || {
                schedule.world.swap_token(Some("nobody.issued.this"))
            })?;
        }
        schedule.during(Cause::Token, "a new one", Duration::ZERO, || {
            schedule.world.swap_token(None)
        })?;
        drop(apiserver);
    }
    Ok(())
}

/// Restarts of kube-apiserver.
fn restarts(schedule: &Schedule, random: &mut fastrand::Rng) -> Result<()> {
    while schedule.pause(240.0, random) {
        let apiserver = hold(&schedule.apiserver);
        if schedule.over() {
            return Ok(());
        }
        let cluster = &schedule.world.cluster;
        schedule.during(Cause::Restart, "killed and started again", AFTER_RESTART, || {
            cluster.kill_apiserver()?;
            thread::sleep(Duration::from_millis(random.u64(0..4000)));
            Ok(cluster.start_apiserver()?)
        })?;
        drop(apiserver);
    }
    Ok(())
}

fn hold(mutex: &Mutex<()>) -> std::sync::MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
