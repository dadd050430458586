//! Races and outages as plain unit tests: several workers, one shared store, no network.

mod outages;
mod replaced;

use std::{cell::RefCell, sync::LazyLock};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use kube_authn::config::{LoadOptions, load};

use super::*;
use crate::testing::{Memory, configuration_json, key_set};

const ISSUER: &str = "https://issuer.example";

struct Rig {
    memory: Memory,
    policy: KeySetPolicy,
    now: Duration,
    callouts: RefCell<u64>,
}

impl Rig {
    fn new() -> Self {
        Self {
            memory: Memory::default(),
            policy: KeySetPolicy::default(),
            now: Duration::from_secs(1_000_000),
            callouts: RefCell::new(0),
        }
    }

    fn issuer(&self) -> IssuerKeys {
        let authentication =
            load(configuration_json(&[ISSUER]).to_string().as_bytes(), &LoadOptions::default())
                .unwrap();
        IssuerKeys::new(&authentication.jwt()[0], "cluster", &self.memory)
    }

    fn step(&self, worker: u64) -> FetchContext<'_> {
        *self.callouts.borrow_mut() += 1;
        FetchContext {
            now: self.now,
            jitter: 0.0,
            worker,
            callout: *self.callouts.borrow(),
            shared: &self.memory,
            policy: &self.policy,
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Lets a fetch run to its end.
    fn fetch(&self, issuer: &mut IssuerKeys, worker: u64, why: FetchReason, keys: &str) -> bool {
        let Some(Action::Call(_)) = issuer.fetch(why, &self.step(worker)) else { return false };
        let mut action = None;
        for _ in 0..2 {
            let body = if matches!(issuer.flight.as_ref().unwrap().stage, Stage::Discovery) {
                discovery_document()
            } else {
                keys.to_owned()
            };
            action = issuer.answered(Ok(ok(&body)), &self.step(worker));
            if !matches!(action, Some(Action::Call(_))) {
                break;
            }
        }
        matches!(action, Some(Action::Broadcast { error: None, .. }))
    }
}

fn discovery_document() -> String {
    format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys?v=1"}}"#)
}

fn ok(body: &str) -> Response<'_> {
    Response { status: 200, headers: &[], body: body.as_bytes() }
}

/// An answer of the issuer's, as Envoy marks it.
fn upstream(status: u16, body: &str) -> Response<'_> {
    static MARK: LazyLock<Vec<(String, Vec<u8>)>> =
        LazyLock::new(|| vec![("x-envoy-upstream-service-time".to_owned(), b"1".to_vec())]);
    Response { status, headers: &MARK, body: body.as_bytes() }
}

/// What a fetch that ended, and did not end the last keys, is told as.
fn fetched(error: Option<(Cause, &str)>) -> Action {
    let error = error.map(|(cause, why)| (cause, why.to_owned()));
    Action::Broadcast {
        issuer: ISSUER.to_owned(),
        error,
        lost: false,
        skipped: Vec::new(),
        alternates: false,
    }
}

fn kids(issuer: &IssuerKeys, now: Duration) -> Vec<String> {
    match issuer.state(now) {
        KeyState::Ready { keys, .. } => keys.key_ids().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn discovery_leads_to_the_key_set_and_serves_every_worker() {
    let rig = Rig::new();
    let (mut first, mut second) = (rig.issuer(), rig.issuer());
    assert!(matches!(first.state(rig.now), KeyState::Pending));
    let Some(Action::Call(callout)) = first.fetch(FetchReason::Due, &rig.step(1)) else { panic!() };
    assert_eq!(
        (callout.authority.as_str(), callout.path.as_str(), callout.cluster.as_str()),
        ("issuer.example", "/.well-known/openid-configuration", "cluster")
    );
    let answer = discovery_document();
    let Some(Action::Call(callout)) = first.answered(Ok(ok(&answer)), &rig.step(1)) else {
        panic!()
    };
    assert_eq!(callout.path, "/keys?v=1");
    let keys = key_set(&["a"]);
    assert_eq!(first.answered(Ok(ok(&keys)), &rig.step(1)), Some(fetched(None)));
    assert!(second.sync(rig.now, &rig.memory));
    assert_eq!(kids(&second, rig.now), ["a"]);
}

#[test]
fn one_worker_fetches_for_all() {
    let mut rig = Rig::new();
    let mut workers: Vec<_> = (0..8).map(|_| rig.issuer()).collect();
    let started: Vec<_> = (1..)
        .zip(&mut workers)
        .filter_map(|(id, worker)| worker.fetch(FetchReason::Due, &rig.step(id)))
        .collect();
    assert_eq!(started.len(), 1);
    // Its worker dies: the lease ends, and one of the others takes over.
    rig.pass(12);
    workers.remove(0);
    let started: Vec<_> = (2..)
        .zip(&mut workers)
        .filter_map(|(id, worker)| worker.fetch(FetchReason::Due, &rig.step(id)))
        .collect();
    assert_eq!(started.len(), 1);
}

#[test]
fn a_worker_that_lost_its_lease_does_not_overwrite_its_successor() {
    let mut rig = Rig::new();
    let (mut slow, mut quick) = (rig.issuer(), rig.issuer());
    assert!(slow.fetch(FetchReason::Due, &rig.step(1)).is_some());
    rig.pass(12);
    assert!(rig.fetch(&mut quick, 2, FetchReason::Due, &key_set(&["new"])));
    let answer = slow.answered(Err(Fault::lost()), &rig.step(1));
    assert!(matches!(answer, Some(Action::Broadcast { .. })));
    assert_eq!(kids(&slow, rig.now), ["new"]);
    assert!(quick.sync(rig.now, &rig.memory) || quick.record.error().is_none());
    assert_eq!(quick.record.error(), None);
}

#[test]
fn a_callout_whose_answer_never_comes_is_given_up() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(issuer.fetch(FetchReason::Due, &rig.step(1)).is_some());
    assert_eq!(issuer.fetch(FetchReason::Due, &rig.step(1)), None);
    rig.pass(31);
    let lost = (Cause::Timeout, "discovery: no answer in time: the answer was lost");
    assert_eq!(issuer.fetch(FetchReason::Due, &rig.step(1)), Some(fetched(Some(lost))));
    assert!(matches!(issuer.state(rig.now), KeyState::Missing { .. }));
}

/// kubernetes/kubernetes#139769, envoyproxy/gateway#4791: unknown keys made a fetch for each request.
#[test]
fn unknown_keys_cause_one_fetch_in_the_minimum_interval() {
    let mut rig = Rig::new();
    let (mut one, mut two) = (rig.issuer(), rig.issuer());
    assert!(rig.fetch(&mut one, 1, FetchReason::Due, &key_set(&["a"])));
    two.sync(rig.now, &rig.memory);
    let unknown = FetchReason::UnknownKey { version: 1 };
    assert!(!one.may_refetch(rig.now, 1, Some("b"), &rig.policy), "just fetched");
    assert_eq!(one.fetch(unknown, &rig.step(1)), None);
    rig.pass(10);
    assert!(two.may_refetch(rig.now, 1, Some("b"), &rig.policy));
    assert!(rig.fetch(&mut two, 2, unknown, &key_set(&["a", "b"])));
    // The other worker learns of the newer keys without a fetch of its own.
    assert_eq!(one.fetch(unknown, &rig.step(1)), None);
    one.sync(rig.now, &rig.memory);
    assert!(one.may_refetch(rig.now, 1, Some("b"), &rig.policy), "newer keys are here");
    assert_eq!(kids(&one, rig.now), ["a", "b"]);
    assert!(!one.may_refetch(rig.now, 2, Some("b"), &rig.policy));
}

#[test]
fn keys_are_refreshed_when_their_lifetime_ends() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
    assert_eq!(issuer.due() - rig.now, Duration::from_secs(300));
    assert_eq!(issuer.fetch(FetchReason::Due, &rig.step(1)), None);
    rig.pass(300);
    let Some(Action::Call(callout)) = issuer.fetch(FetchReason::Due, &rig.step(1)) else {
        panic!()
    };
    assert_eq!(callout.path, "/keys?v=1", "discovery is not repeated while it holds");
    assert!(matches!(issuer.state(rig.now), KeyState::Ready { .. }), "old keys serve meanwhile");
}

#[test]
fn a_new_worker_starts_with_the_keys_that_are_there() {
    let rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
    assert_eq!(kids(&rig.issuer(), rig.now), ["a"]);
}

#[test]
fn a_key_set_elsewhere_than_https_is_not_fetched() {
    for (uri, cause) in [
        ("http://issuer.example/keys", Cause::Url),
        ("https://u:p@issuer.example/keys", Cause::Url),
        ("keys", Cause::Url),
        ("", Cause::Document),
    ] {
        let rig = Rig::new();
        let mut issuer = rig.issuer();
        issuer.fetch(FetchReason::Due, &rig.step(1));
        let document = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{uri}"}}"#);
        let action = issuer.answered(Ok(ok(&document)), &rig.step(1));
        let Some(Action::Broadcast { error: Some((told, _)), .. }) = action else {
            panic!("{uri}: {action:?}")
        };
        assert_eq!(told, cause, "{uri}");
    }
}

#[test]
fn records_survive_the_shared_store() {
    let lifetime = Duration::from_secs(60);
    let fetched = Fetched { jwks_uri: "https://i/keys", keys: "{}", lifetime };
    let policy = KeySetPolicy::default();
    let record =
        Record::default().succeeded(Duration::from_secs(5), fetched, |_| false, &policy, 1.0);
    assert_eq!(Record::decode(&record.encode()).as_ref(), Some(&record));
    assert_eq!(record.due(), Duration::from_secs(53), "a fifth earlier at the most");
    assert_eq!(Record::decode(b"{"), None);
}

/// An answer may take longer than a lease lasts: a worker that waits for it shows that it lives.
#[test]
fn a_slow_answer_is_waited_for_and_a_worker_that_died_is_not() {
    let mut rig = Rig::new();
    let (mut waits, mut other) = (rig.issuer(), rig.issuer());
    assert!(waits.fetch(FetchReason::Due, &rig.step(1)).is_some());
    for _ in 0..29 {
        rig.pass(1);
        waits.renew(1, rig.now, &rig.memory);
        other.sync(rig.now, &rig.memory);
        assert!(matches!(other.state(rig.now), KeyState::Pending));
        assert_eq!(other.fetch(FetchReason::Due, &rig.step(2)), None, "one fetch for all");
    }
    // Its VM dies: nobody renews, and another takes over within the lease.
    rig.pass(10);
    assert!(other.fetch(FetchReason::Due, &rig.step(2)).is_some());
    // What comes back to life has nothing to renew.
    waits.renew(1, rig.now, &rig.memory);
    other.sync(rig.now, &rig.memory);
    assert!(other.record.leased_by(2));
}

/// A key that is not used is told of when it comes, and not at every refresh.
#[test]
fn keys_that_are_not_used_are_told_of_once() {
    let mut rig = Rig::new();
    let (mut one, mut two) = (rig.issuer(), rig.issuer());
    let document = |bad: &[&str]| {
        let good = key_set(&["a"]);
        let bad: Vec<_> = bad
            .iter()
            .map(|kid| format!(r#"{{"kty":"RSA","kid":"{kid}","n":"AQ==","e":"AQAB"}},"#))
            .collect();
        let bad = bad.concat();
        good.replace("[{", &format!("[{bad}{{"))
    };
    let mut told = Vec::new();
    for (worker, bad) in [(1, &["x"][..]), (2, &["x"]), (1, &["x", "y"]), (1, &[]), (2, &["x"])] {
        rig.now = rig.now.max(one.due());
        let issuer = if worker == 1 { &mut one } else { &mut two };
        issuer.sync(rig.now, &rig.memory);
        let mut next = issuer.fetch(FetchReason::Due, &rig.step(worker));
        while let Some(Action::Call(callout)) = next {
            let is_discovery = callout.path.contains("well-known");
            let body = if is_discovery { discovery_document() } else { document(bad) };
            next = issuer.answered(Ok(ok(&body)), &rig.step(worker));
        }
        let Some(Action::Broadcast { error: None, skipped, .. }) = next else { panic!("{next:?}") };
        told.push(skipped);
        one.sync(rig.now, &rig.memory);
        two.sync(rig.now, &rig.memory);
    }
    let line = |index, kid| format!(r#"keys[{index}] "{kid}": member "n" is malformed"#);
    let want = [vec![line(0, "x")], vec![], vec![line(1, "y")], vec![], vec![line(0, "x")]];
    assert_eq!(told, want);
}

/// The set goes through the shared record, and is read anew only when that has changed.
#[test]
fn a_thousand_keys_serve_every_worker_and_one_more_none() {
    let kids: Vec<_> = (0..1001).map(|number| format!("key-{number}")).collect();
    let kids: Vec<_> = kids.iter().map(String::as_str).collect();
    let rig = Rig::new();
    let (mut one, mut two) = (rig.issuer(), rig.issuer());
    assert!(rig.fetch(&mut one, 1, FetchReason::Due, &key_set(&kids[..1000])));
    assert!(two.sync(rig.now, &rig.memory));
    assert!(!two.sync(rig.now, &rig.memory));
    assert_eq!((self::kids(&two, rig.now).len(), two.epoch()), (1000, 0));
    let rig = Rig::new();
    let mut one = rig.issuer();
    assert!(!rig.fetch(&mut one, 1, FetchReason::Due, &key_set(&kids)));
    let KeyState::Missing { reason, .. } = one.state(rig.now) else { panic!() };
    assert_eq!(reason, "key set: key set with 1001 keys has too many: at most 1000 are read");
}
