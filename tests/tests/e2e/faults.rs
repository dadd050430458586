//! What fails beside the gateway, and who notices: keys that rotate, issuers that are down or talk nonsense, a credential
//! that is gone, an API server that dies, configurations that change.

use std::{
    fs,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use oidc_provider::{Endpoint, Misbehaviour, Rotation};
use sandbox::Cluster;
use serde_json::{Value, json};

use crate::{
    harness::until,
    target::{self, Target},
    wire::{Answer, Ask, Connection, Version},
};

const UNAVAILABLE: (u16, &str) = (503, "ServiceUnavailable");

/// Keys are fetched anew every second, and an unknown one at once a second.
pub fn short_lives() -> Value {
    json!({"keySets": {
        "minimumRefetchSeconds": 1,
        "minimumLifetimeSeconds": 1,
        "defaultLifetimeSeconds": 1,
        "maximumLifetimeSeconds": 2,
        "timeoutSeconds": 1,
    }})
}

pub fn ask(target: &Target, token: &str) -> Answer {
    Ask::version().bearer(token).send(&target.gateway, Version::H2).unwrap()
}

/// Requests with tokens from `token` on two connections, one after another, while `work` goes on. Every one must be
/// answered with 200; gives how many there were.
pub fn under_load(target: &Target, token: impl Fn() -> String + Sync, work: impl FnOnce()) -> u32 {
    let (done, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let load = || {
        let mut connection = Connection::open(&target.gateway).unwrap();
        while !done.load(Ordering::Relaxed) {
            let answer = connection.ask(&Ask::version().bearer(&token())).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(load), scope.spawn(load)];
        // Also when `work` fails: the scope would wait for the threads for ever.
        let _end = End(&done);
        work();
        done.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("no request fails");
        }
    });
    count.into_inner()
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A key that is gone from the key set stops working at the next fetch, also for a token that was verified before.
#[test]
fn a_removed_key_stops_working() {
    let target = Target::start(&short_lives());
    let old = target.token().mint();
    assert_eq!(ask(&target, &old).status, 200);
    target.issuer().rotate(Rotation::Replace);
    until("the old key is refused", || (ask(&target, &old).status == 401).then_some(()));
    assert_eq!(ask(&target, &target.token().mint()).status, 200);
}

/// istio#58101 dropped good keys when their issuer was down.
#[test]
fn an_issuer_that_is_down_for_longer_than_its_keys_live() {
    let target = Target::start(&short_lives());
    assert_eq!(ask(&target, &target.token().mint()).status, 200);
    target.provider.go_down().unwrap();
    let start = Instant::now();
    let count = under_load(
        &target,
        || target.token().mint(),
        || {
            // Twice keySets.maximumLifetimeSeconds: time itself is what is waited for.
            thread::sleep(Duration::from_secs(5).saturating_sub(start.elapsed()));
        },
    );
    assert!(count > 20, "{count}");
    target.provider.come_up().unwrap();
    target.issuer().rotate(Rotation::Replace);
    let fresh = target.token().mint();
    until("the new keys are found", || (ask(&target, &fresh).status == 200).then_some(()));
}

/// gateway#4791 fetched for every request. Discovery is slow, so that all of them wait for it.
#[test]
fn a_cold_start_makes_one_fetch() {
    const CLIENTS: usize = 100;
    let provider = target::provider();
    let issuer = provider.issuer();
    let slow = Misbehaviour::delay(Duration::from_secs(3));
    issuer.misbehave(Endpoint::Discovery, slow).unwrap();
    let target = Target::start_at(provider, &json!({}), |gateway| gateway);
    let token = target.token().mint();
    let together = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                together.wait();
                let answer = ask(&target, &token);
                assert_eq!(answer.status, 200, "{answer:?}");
            });
        }
    });
    assert_eq!(issuer.requests(Endpoint::Discovery), 1);
    assert_eq!(issuer.requests(Endpoint::Jwks), 1);
}

/// A 401 would make kubectl throw the user's login away for what is the gateway's own failure.
#[test]
fn the_gateways_own_token_is_empty_or_garbage() {
    let target = Target::start(&json!({}));
    let token = target.token().mint();
    assert_eq!(ask(&target, &token).status, 200);
    for damaged in ["", "garbage", "a.b.c"] {
        target.gateway.replace_token(damaged).unwrap();
        let refused = until("the damage is noticed", || {
            let answer = ask(&target, &token);
            (answer.status != 200).then_some(answer)
        });
        target::assert_status(&format!("token {damaged:?}"), &refused, UNAVAILABLE);
        target.gateway.renew_token().unwrap();
        until("the new token is taken", || {
            let answer = ask(&target, &token);
            assert_ne!(answer.status, 401);
            (answer.status == 200).then_some(())
        });
    }
}

/// A cluster of its own: the others would miss their API server.
#[test]
fn the_api_server_dies_and_comes_back() {
    let cluster = Cluster::builder().start().unwrap();
    let provider = target::provider();
    let gateway = cluster.gateway(target::authentication(&provider)).start().unwrap();
    let token = provider.issuer().token(target::USER, target::CLIENT).mint();
    let ask = || Ask::version().bearer(&token).send(&gateway, Version::H2).unwrap();
    assert_eq!(ask().status, 200);
    cluster.kill_apiserver().unwrap();
    target::assert_status("no API server", &ask(), UNAVAILABLE);
    cluster.start_apiserver().unwrap();
    until("it is found again", || (ask().status == 200).then_some(()));
}

/// A change of the configuration costs neither a request nor a watch; issuers that stay keep their keys.
#[test]
fn the_configuration_changes_under_load_with_a_watch_open() {
    let target = Target::start(&json!({}));
    let token = target.token().mint();
    assert_eq!(ask(&target, &token).status, 200);
    let fetches = target.issuer().requests(Endpoint::Jwks);
    let viewer = target.token().claim("groups", json!(["watchers"])).mint();
    let rights = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: watchers},
      roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view},
      subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: watchers}]}";
    crate::harness::cluster().apply(rights).unwrap();
    let path = "/api/v1/namespaces/default/configmaps?watch=1";
    let mut watch = Connection::open(&target.gateway).unwrap();
    watch.send(&Ask::new("GET", path).bearer(&viewer).bytes()).unwrap();
    crate::harness::cluster().apply(&config_map("reload-first")).unwrap();
    assert_eq!(watch.head().unwrap().0, 200);
    await_event(&mut watch, "reload-first");
    let authentication = target::authentication(&target.provider);
    under_load(
        &target,
        || token.clone(),
        || {
            for groups in 500..505 {
                let settings = target::configuration(&json!({"limits": {"groups": groups}}));
                target.gateway.configure(&authentication, Some(&settings)).unwrap();
            }
        },
    );
    crate::harness::cluster().apply(&config_map("reload-last")).unwrap();
    await_event(&mut watch, "reload-last");
    assert_eq!(target.issuer().requests(Endpoint::Jwks), fetches);
    assert!(
        !fs::read_to_string(target.gateway.folder().join("envoy.log")).unwrap().contains(&token)
    );
}

fn config_map(name: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: default}}}}")
}

fn await_event(watch: &mut Connection, name: &str) {
    loop {
        let chunk = watch.chunk().unwrap().expect("the watch lives");
        if String::from_utf8_lossy(&chunk).contains(name) {
            return;
        }
    }
}
