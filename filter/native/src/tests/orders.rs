//! Hooks in odd orders, and panics in odd places: no request is left without an end, nothing goes on that should not, and nothing of it
//! reaches Envoy.

use std::thread;

use serde_json::json;

use super::*;
use crate::{
    guard::on_demand::{has_ticked, panic_at, panic_at_tick},
    mock::of_nothing,
};

/// Runs both threads until the request has an end, which no time limit brings; true if it was let through.
fn ends(issuer: &Issuer, envoy: &Envoy, request: &Request<'_>) -> bool {
    for turn in 0.. {
        if request.answer().is_some() || request.continued() > 0 {
            break;
        }
        assert!(turn < 100, "it waits for ever");
        envoy.run();
        for callout in envoy.callouts() {
            if callout.cluster == "review" {
                envoy.answer(callout.id, "201", &[], br#"{"status":{"allowed":true}}"#);
            } else {
                envoy.answer(callout.id, "200", &[], issuer.keys().as_bytes());
            }
        }
        request.run();
    }
    request.answer().is_none()
}

#[test]
fn what_is_gone_does_not_go_on() {
    assert_eq!(of_nothing(), [STOP, WATERMARK, 1, STOP]);
}

#[test]
fn a_panic_where_a_stream_begins_is_its_refusal() {
    let (issuer, envoy) = ready(json!({}));
    let token = issuer.token("jane");
    // A thread that has no worker yet.
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            panic_at("worker");
            let request = envoy.request(get(&token, &[]));
            assert_eq!((request.headers(false), request.body()), (STOP, CONTINUE));
            assert_eq!(request.answer().unwrap().code, 500);
            assert_eq!(request.state("wasm.user"), None);
            assert_eq!(envoy.request(get(&token, &[])).headers(true), CONTINUE);
        });
        worker.join().unwrap();
    });
    await_metric(&envoy, "gateway_panics_total", 1);
}

/// An answer can be the end of its stream, and the stream's that of its worker: behind the guard, too.
#[test]
fn a_panic_at_the_end_of_a_worker_stays_in_the_module() {
    let (issuer, envoy) = ready(json!({}));
    let last = envoy.request(get("no-token", &[]));
    // The thread gets another worker; the request keeps the one that it has.
    crate::guard::on_demand::panic_after(Some(0));
    assert_eq!(envoy.request(get(&issuer.token("jane"), &[])).headers(true), STOP);
    panic_at("end");
    assert_eq!(last.headers_that_end(), STOP);
    assert_eq!(envoy.request(get(&issuer.token("jane"), &[])).headers(true), CONTINUE);
}

#[test]
fn a_tick_that_panics_is_not_the_last() {
    let envoy = Envoy::load("ticks", &Issuer::new().document(json!({}))).unwrap();
    panic_at_tick("ticks");
    let await_that = |what: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(20), "no tick");
            thread::sleep(Duration::from_millis(5));
        }
    };
    await_that(&has_ticked);
    envoy.run();
    await_that(&|| envoy.scheduled() > 0);
}

/// A time limit of Envoy's, say: the client has its answer, and what the request asks for must not be done as well.
#[test]
fn what_envoy_has_answered_is_not_decided_on_any_more() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let request = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!(request.headers(true), STOP_ALL);
    assert_eq!(request.response(headers(&[(":status", "504")])), CONTINUE);
    issuer.serve(&envoy);
    settle(&request);
    assert_eq!((request.continued(), request.answer().is_some()), (0, false));
    assert_eq!(request.state("wasm.user"), None);
    assert!(request.values("impersonate-user").is_empty());
}

#[test]
fn a_panic_of_the_main_thread_leaves_nobody_waiting_for_keys() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let request = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!(request.headers(true), STOP_ALL);
    panic_at("main");
    assert!(!ends(&issuer, &envoy, &request), "what is answered is no discovery document");
    assert_eq!(request.answer().unwrap().code, 503);
}

#[test]
fn a_panic_of_the_main_thread_leaves_nobody_waiting_for_a_review() {
    for place in ["main", "answered"] {
        let (issuer, envoy) = ready(json!({"clientImpersonation": "authorize"}));
        let request = envoy.request(get(&issuer.token("jane"), &[("impersonate-user", "bob")]));
        assert_eq!(request.headers(true), STOP_ALL);
        panic_at(place);
        assert!(!ends(&issuer, &envoy, &request), "{place}");
        assert_eq!(request.state("wasm.user"), None, "{place}");
    }
}

/// What the worker knew of who waits is lost with it.
#[test]
fn a_panic_of_a_worker_leaves_nobody_waiting() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let requests: Vec<_> = (0..5).map(|_| envoy.request(get(&issuer.token("jane"), &[]))).collect();
    for request in &requests {
        assert_eq!(request.headers(true), STOP_ALL);
    }
    issuer.serve(&envoy);
    panic_at("settled");
    while requests.iter().any(Request::run) {}
    for request in &requests {
        assert_eq!((request.continued(), request.answer().unwrap().code), (0, 500));
        assert_eq!(request.state("wasm.user"), None);
    }
    assert_eq!(envoy.request(get(&issuer.token("jane"), &[])).headers(true), CONTINUE);
    await_metric(&envoy, "gateway_panics_total", 1);
}

/// Envoy keeps a configuration as long as its streams. Whatever else happens to it, no stream goes on by one that is gone.
#[test]
fn a_configuration_that_is_gone_lets_nobody_through() {
    let (issuer, envoy) = ready(json!({"clientImpersonation": "authorize"}));
    let token = issuer.token("jane");
    let waits = [
        envoy.request(get(&token, &[("impersonate-user", "bob")])),
        envoy.request(get(&token, &[("impersonate-user", "ann")])),
    ];
    let lasts = envoy.request(get(&token, &[("upgrade", "SPDY/3.1"), ("connection", "Upgrade")]));
    assert_eq!(lasts.headers(false), CONTINUE);
    assert_eq!(waits[0].headers(true), STOP_ALL);
    envoy.run();
    let review = envoy.callouts().remove(0);
    // One has asked, the other's question is not even made.
    assert_eq!(waits[1].headers(true), STOP_ALL);
    envoy.destroy();
    envoy.answer(review.id, "201", &[], br#"{"status":{"allowed":true}}"#);
    for request in &waits {
        settle(request);
        assert_eq!(request.answer().unwrap().code, 503);
        assert_eq!(request.state("wasm.user"), None);
    }
    assert_eq!(lasts.response(headers(&[(":status", "101")])), CONTINUE);
}

#[test]
fn an_answer_that_nobody_waits_for_is_no_answer() {
    let (issuer, envoy) = ready(json!({"clientImpersonation": "authorize"}));
    let request = envoy.request(get(&issuer.token("jane"), &[("impersonate-user", "bob")]));
    assert_eq!(request.headers(true), STOP_ALL);
    envoy.run();
    let review = envoy.callouts().remove(0).id;
    envoy.fail(review + 1, 1);
    envoy.answer(review + 2, "201", &[], br#"{"status":{"allowed":true}}"#);
    settle(&request);
    assert_eq!(request.continued(), 0);
    // Of two answers to one question the first is taken.
    envoy.answer(review, "201", &[], br#"{"status":{"allowed":false}}"#);
    envoy.answer(review, "201", &[], br#"{"status":{"allowed":true}}"#);
    settle(&request);
    assert_eq!((request.continued(), request.answer().unwrap().code), (0, 403));
}
