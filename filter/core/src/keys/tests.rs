//! Races and outages as plain unit tests: several workers, one shared store, no network.

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

#[test]
fn an_issuer_that_never_answered_is_asked_ever_more_rarely() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert!(issuer.fetch(FetchReason::Due, &rig.step(1)).is_some());
        issuer.answered(Ok(upstream(503, "")), &rig.step(1));
        let KeyState::Missing { reason, cause, retry_after } = issuer.state(rig.now) else {
            panic!()
        };
        assert_eq!((reason.as_str(), cause), ("discovery: HTTP 503", Some(Cause::HttpStatus)));
        assert_eq!(issuer.fetch(FetchReason::Due, &rig.step(1)), None, "before it is due");
        waits.push(retry_after.as_secs());
        rig.now += retry_after;
        assert!(matches!(issuer.state(rig.now), KeyState::Pending));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
}

/// istio/istio#58101: an outage made good keys disappear.
#[test]
fn the_last_good_keys_outlive_any_outage_and_any_bad_answer() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
    let wrong_issuer = discovery_document().replace("issuer.example\",", "other.example\",");
    let huge = " ".repeat(2 << 20);
    let odd = r#"{"keys":[{"kty":"EC","crv":"secp256k1","kid":"x"}]}"#;
    for bad in [
        Err(Fault::broken_off()),
        Ok(upstream(500, "")),
        Ok(upstream(302, "")),
        Ok(Response { status: 503, headers: &[], body: b"no healthy upstream" }),
        Ok(ok("<html>maintenance</html>")),
        Ok(ok(r#"{"keys":[]}"#)),
        Ok(ok(odd)),
        Ok(ok(&huge)),
        Ok(ok(&wrong_issuer)),
        Ok(ok(r#"{"keys":[{"kty":"RSA","#)),
    ] {
        rig.now = rig.now.max(issuer.due());
        let Some(Action::Call(_)) = issuer.fetch(FetchReason::Due, &rig.step(1)) else {
            panic!("{bad:?}")
        };
        let action = issuer.answered(bad.clone(), &rig.step(1));
        assert!(matches!(action, Some(Action::Broadcast { error: Some(_), .. })), "{bad:?}");
        assert_eq!(kids(&issuer, rig.now), ["a"], "{bad:?}");
    }
    // After the first failure the next try starts from discovery again: the key set may have moved.
    assert_eq!(issuer.record.jwks_uri(), None);
    rig.now = issuer.due();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["b"])));
    assert_eq!(kids(&issuer, rig.now), ["b"], "a removed key is gone with the refresh");
}

/// An issuer that answers `status` with `body` wherever it is asked, from one fetch to the next, for so many seconds. Then the
/// keys that are left, and the last answer.
fn bad_for(
    rig: &mut Rig,
    issuer: &mut IssuerKeys,
    seconds: u64,
    (status, body): (u16, &str),
) -> (Vec<String>, Action) {
    let end = rig.now + Duration::from_secs(seconds);
    let mut last = None;
    while issuer.due() <= end {
        assert!(last.is_none() || issuer.due() > rig.now, "a fetch at once after a failed one");
        rig.now = issuer.due();
        let mut next = issuer.fetch(FetchReason::Due, &rig.step(1));
        while let Some(Action::Call(callout)) = &next {
            let document = discovery_document();
            // An empty key set comes after a good discovery document.
            let discovered = status == 200 && callout.path.contains("well-known");
            let body = if discovered { &document } else { body };
            let answer = match status {
                0 => Err(Fault::broken_off()),
                status => Ok(upstream(status, body)),
            };
            next = issuer.answered(answer, &rig.step(1));
        }
        last = next;
    }
    rig.now = end;
    (kids(issuer, end), last.expect("a fetch was due"))
}

/// A realm that was deleted kept its keys for ever. What merely cannot be reached keeps them.
#[test]
fn break_in_13_keys_end_whose_issuer_says_that_it_has_none() {
    for (answer, why) in [
        ((404, ""), "discovery: HTTP 404"),
        ((410, ""), "discovery: HTTP 410"),
        ((200, r#"{"keys":[]}"#), "key set: no usable key"),
        (
            (200, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
            "key set: no usable key; not used: keys[0]: symmetric key",
        ),
    ] {
        let mut rig = Rig::new();
        let mut issuer = rig.issuer();
        assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
        let mut other = rig.issuer();
        let epoch = issuer.epoch();
        rig.pass(300);
        let (left, last) = bad_for(&mut rig, &mut issuer, 3599, answer);
        assert_eq!(left, ["a"], "{why}");
        let cause = if answer.0 == 200 { Cause::NoUsableKey } else { Cause::HttpStatus };
        assert_eq!(last, fetched(Some((cause, why))));
        // The fetch that ends them comes when they end, and not at the next turn of the retries.
        let (left, last) = bad_for(&mut rig, &mut issuer, 1, answer);
        assert!(left.is_empty(), "{why}");
        let why = format!("{why}; the last keys ended by keySets.maximumWithdrawnSeconds");
        let lost = Action::Broadcast {
            issuer: ISSUER.to_owned(),
            error: Some((cause, why.clone())),
            lost: true,
            skipped: Vec::new(),
            alternates: false,
        };
        assert_eq!(last, lost);
        assert!(issuer.epoch() > epoch, "what they verified ends with them");
        assert_eq!(issuer.figures().0, 0);
        let KeyState::Missing { reason, retry_after, .. } = issuer.state(rig.now) else { panic!() };
        assert_eq!((reason, retry_after.as_secs()), (why, 30));
        other.sync(rig.now, &rig.memory);
        assert!(other.epoch() > epoch && kids(&other, rig.now).is_empty(), "every worker's");
        rig.pass(30);
        assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["b"])));
        assert_eq!(kids(&issuer, rig.now), ["b"]);
        // The next time begins anew.
        rig.pass(300);
        assert_eq!(bad_for(&mut rig, &mut issuer, 3000, answer).0, ["b"]);
    }
}

#[test]
fn only_bounds_that_are_set_end_keys() {
    const DAY: u64 = 86_400;
    let reset = (0, "");
    let gone = (404, "");
    for (withdrawn, outage, answer, seconds, ends) in [
        (3600, 0, reset, 30 * DAY, false),
        (3600, 0, (503, ""), 30 * DAY, false),
        (3600, 0, (200, "<html>"), 30 * DAY, false),
        (0, 0, gone, 30 * DAY, false),
        (0, 600, gone, 600, true),
        (3600, 600, reset, 599, false),
        (3600, 600, reset, 600, true),
        (60, 0, gone, 60, true),
    ] {
        let mut rig = Rig::new();
        rig.policy.maximum_withdrawn_seconds = withdrawn;
        rig.policy.maximum_outage_seconds = outage;
        let mut issuer = rig.issuer();
        assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
        rig.pass(300);
        let (left, _) = bad_for(&mut rig, &mut issuer, seconds, answer);
        assert_eq!(left.is_empty(), ends, "{withdrawn} {outage} {answer:?} {seconds}");
    }
}

/// An outage that follows says nothing: the keys wait for the issuer's next word.
#[test]
fn an_outage_after_a_withdrawal_keeps_the_keys_until_the_issuer_answers() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
    rig.pass(300);
    assert_eq!(bad_for(&mut rig, &mut issuer, 600, (404, "")).0, ["a"]);
    assert_eq!(bad_for(&mut rig, &mut issuer, 7200, (0, "")).0, ["a"]);
    assert!(bad_for(&mut rig, &mut issuer, 300, (404, "")).0.is_empty());
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

/// What every worker reports is the same, and what is over is taken back, also by a worker that began after it.
#[test]
fn the_cause_of_a_failure_is_shared_and_ends_with_it() {
    let mut rig = Rig::new();
    let (mut one, mut two) = (rig.issuer(), rig.issuer());
    let refused = b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused";
    for body in [&b"no healthy upstream"[..], refused] {
        rig.now = rig.now.max(one.due());
        assert!(one.fetch(FetchReason::Due, &rig.step(1)).is_some());
        one.answered(Ok(Response { status: 503, headers: &[], body }), &rig.step(1));
    }
    two.sync(rig.now, &rig.memory);
    let KeyState::Missing { reason, cause, .. } = two.state(rig.now) else { panic!() };
    assert_eq!(cause, Some(Cause::Refused));
    assert!(reason.starts_with("discovery: its host refuses the connection: "), "{reason}");
    for worker in [&two, &rig.issuer()] {
        let failing: Vec<_> = worker.failing().collect();
        assert_eq!(failing, [(Cause::NoAddress, false), (Cause::Refused, true)]);
    }
    rig.now = one.due();
    assert!(rig.fetch(&mut one, 1, FetchReason::Due, &key_set(&["a"])));
    two.sync(rig.now, &rig.memory);
    assert!(two.failing().all(|(_, now)| !now));
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
