//! Workers in threads of their own, as in Envoy.

use std::{sync::Barrier, thread};

use serde_json::json;

use super::*;

/// The main thread fetches once, for the workers of all threads, and each of them is woken.
#[test]
fn one_fetch_serves_the_workers_of_all_threads() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let token = issuer.token("jane");
    let all_wait = Barrier::new(5);
    let fetched = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let request = envoy.request(get(&token, &[]));
                    assert_eq!(request.headers(true), STOP_ALL);
                    all_wait.wait();
                    let begun = Instant::now();
                    while request.continued() == 0 {
                        assert!(begun.elapsed() < Duration::from_secs(20), "it was not woken");
                        if !request.run() {
                            thread::yield_now();
                        }
                    }
                    assert_eq!(request.values("impersonate-user"), ["jane"]);
                })
            })
            .collect();
        all_wait.wait();
        let mut fetched = 0;
        while workers.iter().any(|worker| !worker.is_finished()) {
            fetched += issuer.serve(&envoy);
            thread::yield_now();
        }
        fetched
    });
    assert_eq!(fetched, 2);
}

/// What a worker counts of a condition has a place and no name, which the main thread gives it.
#[test]
fn what_workers_count_of_conditions_has_their_names() {
    let conditions = json!([
        {"name": "anything", "expression": "true"},
        {"name": "no-reading", "expression": "request.verb != 'list'"},
    ]);
    let (issuer, envoy) = ready(json!({"conditions": conditions}));
    let token = issuer.token("jane");
    let refuse = || {
        let request = envoy.request(get(&token, &[]));
        assert_eq!((request.headers(true), request.answer().unwrap().code), (STOP, 403));
    };
    thread::scope(|scope| {
        scope.spawn(refuse).join().unwrap();
        scope.spawn(refuse).join().unwrap();
    });
    let series = "gateway_condition_refusals_total{result=false}{condition=no-reading}";
    await_metric(&envoy, series, 2);
    thread::scope(|scope| scope.spawn(refuse).join().unwrap());
    assert_eq!(envoy.unload()[series], 3);
}
