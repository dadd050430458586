//! What a request gets while an issuer's keys are missing, or the token's is not among them.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn requests_wait_for_the_first_keys_and_are_served_by_one_fetch() {
    let mut rig = Rig::new(json!({}));
    let token = token("a", &claims());
    for stream in 0..100 {
        let Decision::Wait(wait) = rig.present(&token) else { panic!() };
        rig.worker.wait(stream, wait.clone(), Attempt::default(), rig.now).unwrap();
    }
    assert!(rig.ready().is_empty());
    assert_eq!(rig.serve(ISSUER, &key_set(&["a"])), 2, "discovery and key set");
    let settled = rig.ready();
    assert_eq!(settled.len(), 100);
    assert!(!rig.worker.has_waiting());
    assert_eq!(forwarded(rig.present_again(&token))[0].1, "jane");
}

#[test]
fn a_rotated_key_is_fetched_while_the_request_waits() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let new = token("b", &claims());
    assert_eq!(refused(rig.present(&new)), (401, "verify"), "within the minimum interval");
    rig.now += Duration::from_secs(11);
    let Decision::Wait(wait) = rig.present(&new) else { panic!() };
    rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
    assert_eq!(rig.serve(ISSUER, &key_set(&["b"])), 1);
    assert_eq!(rig.ready().len(), 1);
    assert_eq!(forwarded(rig.present_again(&new))[0].1, "jane");
    let mut long = claims();
    long["exp"] = json!(NOW.as_secs() + 3600);
    let old = token("a", &long);
    assert_eq!(forwarded(rig.present(&old))[0].1, "jane", "its set is fresh");
    rig.now += Duration::from_secs(300);
    rig.serve(ISSUER, &key_set(&["b"]));
    assert_eq!(refused(rig.present(&old)), (401, "verify"), "removed key");
}

#[test]
fn a_key_that_stays_unknown_is_refused_after_one_wait() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    rig.now += Duration::from_secs(11);
    let unknown = token("z", &claims());
    let Decision::Wait(wait) = rig.present(&unknown) else { panic!() };
    rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
    assert_eq!(rig.serve(ISSUER, &key_set(&["a"])), 1);
    assert_eq!(rig.ready().len(), 1);
    assert_eq!(refused(rig.present_again(&unknown)), (401, "verify"));
    assert_eq!(refused(rig.present(&unknown)), (401, "verify"), "no second wait");
    assert_eq!(rig.serve(ISSUER, &key_set(&["a"])), 0);
}

#[test]
fn a_key_that_stays_unknown_is_fetched_for_less_and_less_often() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let unknown = token("z", &claims());
    let mut fetches = Vec::new();
    for second in 1..=250 {
        rig.now += Duration::from_secs(1);
        if let Decision::Wait(wait) = rig.present(&unknown) {
            rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
            assert_eq!(rig.serve(ISSUER, &key_set(&["a"])), 1);
            assert_eq!(rig.ready().len(), 1);
            assert_eq!(refused(rig.present_again(&unknown)), (401, "verify"));
            fetches.push(second);
        }
    }
    assert_eq!(fetches, [10, 30, 70, 150]);
    let Decision::Wait(_) = rig.present(&token("b", &claims())) else {
        panic!("another key is fetched for at once")
    };
}

#[test]
fn an_issuer_without_keys_costs_the_others_nothing() {
    let other = "https://sick.example";
    let mut rig = Rig::with(&[ISSUER, other], json!({}));
    let mut sick = claims();
    sick["iss"] = json!(other);
    let sick = token("a", &sick);
    let Decision::Wait(wait) = rig.present(&sick) else { panic!() };
    rig.worker.wait(7, wait, Attempt::default(), rig.now).unwrap();
    for callout in rig.fetches() {
        if callout.authority == "sick.example" {
            rig.answer(&callout, Err("refused"));
        } else {
            let body =
                json!({"issuer": ISSUER, "jwks_uri": "https://issuer.example/k"}).to_string();
            rig.answer(&callout, Ok((200, body.as_bytes())));
            let keys = rig.fetches.pop().unwrap();
            rig.answer(&keys, Ok((200, key_set(&["a"]).as_bytes())));
        }
    }
    assert_eq!(rig.ready().len(), 1, "known at once not to come");
    assert_eq!(refused(rig.present_again(&sick)), (503, "no_keys"));
    assert_eq!(forwarded(rig.present(&token("a", &claims())))[0].1, "jane");
}

#[test]
fn waiting_is_bounded_in_time_and_number() {
    let mut rig = Rig::new(json!({"limits": {"waitingRequests": 2, "waitSeconds": 3}}));
    let token = token("a", &claims());
    let Decision::Wait(wait) = rig.present(&token) else { panic!() };
    for stream in 0..2 {
        rig.worker.wait(stream, wait.clone(), Attempt::default(), rig.now).unwrap();
    }
    let refusal = rig.worker.wait(3, wait, Attempt::default(), rig.now).unwrap_err();
    assert_eq!((refusal.reply().code, refusal.keyword()), (503, "too_many_waiting"));
    assert!(!rig.worker.poll(rig.now, 0.0).is_empty());
    rig.now += Duration::from_secs(3);
    assert_eq!(rig.ready().len(), 2);
    assert_eq!(refused(rig.present_again(&token)), (503, "no_keys"));
}

/// A paused request that is answered is answered inside the call: two thousand at once are more than a VM's stack holds.
#[test]
fn break_in_14_waiting_requests_are_taken_out_some_at_a_time() {
    let mut rig = Rig::new(json!({}));
    let token = token("a", &claims());
    let Decision::Wait(wait) = rig.present(&token) else { panic!() };
    for stream in 0..70 {
        rig.worker.wait(stream, wait.clone(), Attempt::default(), rig.now).unwrap();
    }
    assert_eq!(rig.worker.settled(rig.now, 32), (vec![], false), "nothing is ready");
    rig.serve(ISSUER, &key_set(&["a"]));
    let mut streams = Vec::new();
    for want in [(32, true), (32, true), (6, false), (0, false)] {
        let (waiters, more) = rig.worker.settled(rig.now, 32);
        assert_eq!((waiters.len(), more), want);
        streams.extend(waiters.into_iter().map(|waiter| waiter.stream));
    }
    streams.sort_unstable();
    assert_eq!(streams, (0..70).collect::<Vec<_>>());
}

/// An issuer may take half a minute, a request does not. Whether the key exists is not known by then, so that 401, on which a client
/// throws its login away, would be wrong; nor is the key held back as one that the issuer does not have.
#[test]
fn a_request_does_not_wait_as_long_as_a_slow_issuer_takes() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    rig.now += Duration::from_secs(11);
    let new = token("b", &claims());
    let Decision::Wait(wait) = rig.present(&new) else { panic!() };
    rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
    let [fetch] = rig.fetches().try_into().unwrap();
    for _ in 0..10 {
        assert!(rig.ready().is_empty());
        rig.now += Duration::from_secs(1);
        assert!(rig.fetches().is_empty());
    }
    assert_eq!(rig.ready().len(), 1, "limits.waitSeconds");
    assert_eq!(refused(rig.present_again(&new)), (503, "no_keys"));
    assert_eq!(forwarded(rig.present(&token("a", &claims())))[0].1, "jane");
    rig.now += Duration::from_secs(15);
    rig.answer(&fetch, Ok((200, key_set(&["a", "b"]).as_bytes())));
    assert_eq!(forwarded(rig.present(&new))[0].1, "jane");
}

#[test]
fn a_client_is_told_why_there_are_no_keys_but_not_where() {
    let mut rig = Rig::new(json!({}));
    let reason = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: TLS_error:|1:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: verify SAN list, expected SANs: [issuer.example], certificate SANs: [db.internal]:TLS_error_end";
    let [fetch] = rig.fetches().try_into().unwrap();
    rig.answer(&fetch, Ok((503, reason.as_bytes())));
    let Decision::Refuse(refusal) = rig.present(&token("a", &claims())) else { panic!() };
    assert!(refusal.reason().contains("certificate SANs: [db.internal]"), "{}", refusal.reason());
    let told = refusal.reply().body;
    assert!(told.contains("not available yet: its certificate is for another name\""), "{told}");
    assert!(!told.contains("db.internal"), "{told}");
    let metrics: Vec<_> =
        rig.worker.take_metrics().into_iter().map(|change| (change.stat, change.value)).collect();
    for want in [
        ("gateway_issuer_failing.reason.certificate_name.issuer.issuer_example", 1),
        ("gateway_callout_failures_total.kind.keys.reason.certificate_name", 1),
    ] {
        assert!(metrics.contains(&(want.0.to_owned(), want.1)), "{metrics:?}");
    }
}
