//! Documents that the main thread asks for, and what lasts and has to end.

use std::thread;

use serde_json::json;

use super::*;
use crate::{guard::on_demand::panic_at, mock::Callout};

const UNTIL: &str = "2100-01-01T00:00:00Z";

/// A configuration that asks for documents.
fn document(issuer: &Issuer) -> String {
    issuer.document(json!({})).replacen('{', r#"{"accessCluster":"access","#, 1)
}

/// A gateway of this name that asks for documents, with its issuer's keys.
fn following(name: &str) -> (Issuer, Envoy) {
    let issuer = Issuer::new();
    let envoy = Envoy::load(name, &document(&issuer)).expect("a valid configuration");
    envoy.run();
    let (access, keys): (Vec<_>, Vec<_>) =
        envoy.callouts().into_iter().partition(|callout| callout.cluster == "access");
    assert_eq!((access.len(), keys.len()), (1, 1));
    let keys_uri = format!("{}/keys", issuer.url);
    let discovery = json!({
        "issuer": issuer.url, "jwks_uri": keys_uri, "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    });
    envoy.answer(keys[0].id, "200", &[], discovery.to_string().as_bytes());
    let keys = envoy.callouts();
    envoy.answer(keys[0].id, "200", &[], issuer.keys().as_bytes());
    answer(&envoy, &access[0], "a1", &[]);
    (issuer, envoy)
}

fn answer(envoy: &Envoy, callout: &Callout, version: &str, users: &[&str]) {
    let entries: Vec<_> =
        users.iter().map(|user| json!({"user": user, "until": UNTIL, "reason": "left"})).collect();
    let body = json!({"revocations": {
        "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Revocations", "revocations": entries,
    }});
    let version = format!("\"{version}\"");
    let headers = [("etag", version.as_str()), ("age", "0")];
    envoy.answer(callout.id, "200", &headers, body.to_string().as_bytes());
}

/// Answers the next question.
fn revoke(envoy: &Envoy, version: &str, users: &[&str]) {
    let begun = Instant::now();
    loop {
        envoy.run();
        if let Some(callout) = envoy.callouts().first() {
            return answer(envoy, callout, version, users);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing is asked");
        thread::yield_now();
    }
}

fn watch(token: &str) -> Vec<(String, Vec<u8>)> {
    let mut headers = get(token, &[]);
    headers[1].1 = b"/api/v1/pods?watch=true".to_vec();
    headers
}

#[test]
fn what_lasts_ends_with_its_users_access_in_every_thread() {
    let (issuer, envoy) = following("gateway");
    let (jane, bob) = (issuer.token("jane"), issuer.token("bob"));
    let opened = std::sync::Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // More than may end in one turn.
                let of_jane: Vec<_> = (0..70).map(|_| envoy.request(watch(&jane))).collect();
                let of_bob = envoy.request(watch(&bob));
                for request in of_jane.iter().chain([&of_bob]) {
                    assert_eq!(request.headers(true), CONTINUE);
                }
                drop(envoy.request(watch(&jane)));
                opened.wait();
                let begun = Instant::now();
                while of_jane.iter().any(|request| request.answer().is_none()) {
                    assert!(begun.elapsed() < Duration::from_secs(20), "it was not ended");
                    let ended = || of_jane.iter().filter(|it| it.answer().is_some()).count();
                    let before = ended();
                    for request in of_jane.iter().chain([&of_bob]) {
                        let before = ended();
                        request.run();
                        assert!(ended() - before <= 32);
                    }
                    if ended() == before {
                        thread::yield_now();
                    }
                }
                for request in &of_jane {
                    let answer = request.answer().unwrap();
                    assert_eq!(answer.code, 403);
                    assert!(answer.body.contains("reason: left"), "{}", answer.body);
                    assert_eq!(request.state("wasm.deny").as_deref(), Some("revoked"));
                }
                assert!(of_bob.answer().is_none());
                let again = envoy.request(watch(&jane));
                assert_eq!(again.headers(true), STOP);
            });
        }
        opened.wait();
        revoke(&envoy, "a2", &["jane"]);
    });
    await_metric(&envoy, "gateway_streams_revoked_total{by=user}", 140);
}

/// Nobody knows any more whose access has ended: so nothing may last.
#[test]
fn a_panic_over_what_has_to_end_ends_all_that_lasts() {
    let (issuer, envoy) = following("panics");
    let (jane, bob) =
        (envoy.request(watch(&issuer.token("jane"))), envoy.request(watch(&issuer.token("bob"))));
    assert_eq!((jane.headers(true), bob.headers(true)), (CONTINUE, CONTINUE));
    let begun = Instant::now();
    revoke(&envoy, "a2", &["jane"]);
    panic_at("revoked");
    while jane.answer().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it was not ended");
        let _ = (jane.run(), bob.run());
        thread::yield_now();
    }
    assert_eq!((jane.answer().unwrap().code, bob.answer().unwrap().code), (500, 500));
    assert_eq!(envoy.request(watch(&issuer.token("jane"))).headers(true), STOP);
    assert_eq!(envoy.request(watch(&issuer.token("bob"))).headers(true), CONTINUE);
}

/// The new one had nothing until its own first question was answered, and refused everybody.
#[test]
fn a_configuration_that_is_replaced_leaves_its_documents() {
    let (issuer, envoy) = following("replaced");
    revoke(&envoy, "a2", &["jane"]);
    let (jane, bob) = (issuer.token("jane"), issuer.token("bob"));
    let asked = |envoy: &Envoy| {
        envoy.run();
        let callouts = envoy.callouts();
        callouts.iter().find(|it| it.cluster == "access").map(Callout::path)
    };
    let stranger = Envoy::load("another", &document(&issuer)).unwrap();
    assert_eq!(asked(&stranger).as_deref(), Some("/v1/access?version="));
    let next = Envoy::load("replaced", &document(&issuer)).unwrap();
    let request = next.request(watch(&bob));
    assert_eq!(request.headers(true), CONTINUE, "{:?}", request.answer());
    let request = next.request(watch(&jane));
    assert_eq!(request.headers(true), STOP);
    assert_eq!(request.state("wasm.deny").as_deref(), Some("revoked"));
    // What has changed meanwhile comes with its first question, which says what it has.
    assert_eq!(asked(&next).as_deref(), Some("/v1/access?version=a2"));
}
