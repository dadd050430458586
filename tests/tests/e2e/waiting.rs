//! Many requests that wait for an issuer, over both versions of HTTP, and are all answered at the same moment.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use oidc_provider::{Answer as Bad, Config, Endpoint, Misbehaviour, Provider};
use serde_json::json;

use crate::{
    faults::ask,
    harness::until,
    target::{self, CLIENT, Target, USER},
    wire::{self, Ask, Connection, Version},
};

/// Connections for one request each.
const H1: usize = 100;
/// Connections over HTTP/2, and the requests on each.
const H2: (usize, usize) = (18, 100);
const ALL: usize = H1 + H2.0 * H2.1;
/// How long the issuer's answer is waited for: long enough that all requests have come by then.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a slow issuer takes; no longer than that.
const SLOW: Duration = Duration::from_secs(8);

/// One test at a time: a waiting request that a busy machine does not come to for 15 seconds is ended by Envoy.
static ALONE: Mutex<()> = Mutex::new(());

/// Sends all requests to a gateway with one worker whose issuer does so, and gives how many had each status.
fn all_answered_at_once(issuer: Misbehaviour) -> BTreeMap<u16, usize> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = Config::of(target::issuer("healthy")).issuer(target::issuer("sick"));
    let provider = Provider::start(config).unwrap();
    let sick = provider.issuer_named("sick").unwrap();
    sick.misbehave(Endpoint::Discovery, issuer).unwrap();
    let token = sick.token(USER, CLIENT).mint();
    let settings =
        json!({"limits": {"waitSeconds": 14}, "keySets": {"timeoutSeconds": TIMEOUT.as_secs()}});
    let target = Target::start_at(provider, &settings, |gateway| gateway.workers(1));
    let known = target.token().mint();
    assert_eq!(ask(&target, &known).status, 200);

    let stat = |name: &str| target.gateway.stats().unwrap().sum(name);
    let waiting = Ask::version().bearer(&token);
    let one = || {
        let mut connection = Connection::open(&target.gateway).unwrap();
        vec![connection.ask(&waiting).unwrap().status]
    };
    let many = || wire::send_many(&target.gateway, &waiting, H2.1).unwrap();
    let statuses: Vec<_> = thread::scope(|scope| {
        let mut clients: Vec<_> = (0..H1).map(|_| scope.spawn(one)).collect();
        clients.extend((0..H2.0).map(|_| scope.spawn(many)));
        until("all wait", || (stat("gateway_waiting_requests") == ALL as u64).then_some(()));
        clients.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });

    let log = fs::read_to_string(target.gateway.log()).unwrap();
    for word in ["proxy_on_memory_allocate", "RangeError", "Proxy-Wasm plugin in-VM"] {
        let line = log.lines().find(|line| line.contains(word));
        assert_eq!(line, None);
    }
    // The VM is the one that it was: it knows what it knew.
    let hits = stat("gateway_token_cache_lookups_total.result.hit");
    assert_eq!(ask(&target, &known).status, 200);
    until("the cache is warm", || {
        (stat("gateway_token_cache_lookups_total.result.hit") > hits).then_some(())
    });
    // The native form tells Envoy what it counted at its next tick.
    until("nobody is counted as waiting", || (stat("gateway_waiting_requests") == 0).then_some(()));
    let mut counts = BTreeMap::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// Each refusal runs inside the call that makes it, and the VM's stack holds some 300.
#[test]
fn break_in_14_refused_at_once_they_do_not_crash_the_vm() {
    let counts = all_answered_at_once(Misbehaviour::answer(Bad::Hang));
    assert_eq!(counts, [(503, ALL)].into());
}

#[test]
fn break_in_14_resumed_at_once_they_do_not_crash_the_vm() {
    let mut counts = all_answered_at_once(Misbehaviour::delay(SLOW));
    // kube-apiserver itself takes only so many at a time.
    let too_many = counts.remove(&429).unwrap_or_default();
    assert_eq!(counts, [(200, ALL - too_many)].into());
}

/// The Wasm filter decides on who has waited in its root context, and lost what the answer was to be told.
#[test]
fn who_has_waited_is_told_of_groups_that_were_left_out() {
    let provider = Provider::start(Config::of(target::issuer("slow"))).unwrap();
    provider.issuer().misbehave(Endpoint::Discovery, Misbehaviour::delay(SLOW)).unwrap();
    let settings =
        json!({"limits": {"waitSeconds": 14}, "keySets": {"timeoutSeconds": TIMEOUT.as_secs()}});
    let target = Target::start_at(provider, &settings, |gateway| gateway);
    let token = target.token().claim("groups", ["dev", "ops "]).mint();
    let ask = || {
        let answer = Ask::version().bearer(&token).send(&target.gateway, Version::H2).unwrap();
        (answer.status, answer.header("warning").unwrap_or_default().to_owned())
    };
    let want = "299 - \"groups of the token count for nothing here, for a blank at their start or end: 'ops '\"";
    thread::scope(|scope| {
        let waits = scope.spawn(ask);
        let waiting = || target.gateway.stats().unwrap().sum("gateway_waiting_requests");
        until("it waits", || (waiting() == 1).then_some(()));
        assert_eq!(waits.join().unwrap(), (200, want.to_owned()), "who has waited");
    });
    assert_eq!(ask(), (200, want.to_owned()), "who has not");
}
