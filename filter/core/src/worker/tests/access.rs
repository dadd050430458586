//! Access that ends: cold and warm, by documents that never change and by those that are asked for, and of what is open.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::access::Documents;

const UNTIL: &str = "2030-01-01T00:00:00Z";

fn plugin(gateway: Value, more: &Value) -> Configuration {
    let mut gateway = gateway;
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let mut document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER]),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
        "reviewCluster": "review",
    });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Configuration::parse(document.to_string().as_bytes()).unwrap()
}

/// A worker that asks for documents.
fn following(gateway: Value) -> Rig {
    let configuration = plugin(gateway, &json!({"accessCluster": "access"}));
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    rig
}

fn document(entries: &Value) -> Value {
    json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Revocations", "revocations": entries})
}

impl Rig {
    /// Answers the next question for documents. Gives the path that was asked for.
    fn documents(&mut self, status: u16, version: &str, age: u64, entries: &Value) -> String {
        let callout = self.worker.poll_documents(self.now).expect("no question");
        assert_eq!((callout.cluster.as_str(), callout.purpose), ("access", Purpose::Documents));
        let headers = [
            ("etag".to_owned(), format!("\"{version}\"").into_bytes()),
            ("age".to_owned(), age.to_string().into_bytes()),
        ];
        let body = if status == 200 {
            json!({"revocations": document(entries)}).to_string()
        } else {
            String::new()
        };
        let response = Response { status, headers: &headers, body: body.as_bytes() };
        assert!(self.worker.answered(Purpose::Documents, Ok(response), self.now, 0.0).is_none());
        callout.path
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn long() -> String {
    let mut claims = claims();
    claims["exp"] = json!(NOW.as_secs() + 100_000);
    claims["iat"] = json!(NOW.as_secs() - 10);
    claims["sid"] = json!("s1");
    token("a", &claims)
}

fn message(decision: Decision) -> (u16, String) {
    let Decision::Refuse(refusal) = decision else { panic!("{decision:?}") };
    let reply = refusal.reply();
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    (reply.code, body["message"].as_str().unwrap().to_owned())
}

#[test]
fn a_document_that_never_changes_ends_access() {
    let entries = json!([
        {"user": "jane", "until": UNTIL, "reason": "left"},
        {"user": "bob", "issuedBefore": "2020-01-01T00:00:00Z", "until": UNTIL},
    ]);
    let configuration = plugin(json!({}), &json!({"revocations": document(&entries)}));
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    // Cold and warm.
    for _ in 0..2 {
        let (code, told) = message(rig.present(&long()));
        assert_eq!((code, told.as_str()), (403, "access has been revoked (reason: left)"));
    }
    assert!(rig.worker.poll_documents(rig.now).is_none());
    let mut claims = claims();
    claims["sub"] = json!("bob");
    let (code, told) = message(rig.present(&token("a", &claims)));
    assert_eq!((code, told.as_str()), (401, "this login has been revoked: log in again"));
    claims["sub"] = json!("eve");
    forwarded(rig.present(&token("a", &claims)));
}

#[test]
fn two_sources_of_one_document_are_refused() {
    let document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER]),
        "defaultIssuerCluster": "issuers", "reviewCluster": "review",
        "revocations": document(&json!([])), "accessCluster": "access",
    });
    let error = Configuration::parse(document.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("accessCluster: Invalid value"), "{error}");
}

/// A cached token is judged again under new documents, and only then.
#[test]
fn a_new_entry_ends_a_login_that_is_cached_and_its_end_lets_it_in_again() {
    let mut rig = following(json!({}));
    assert_eq!(refused(rig.present(&long())), (503, "access_unread"), "nothing has been read yet");
    assert_eq!(rig.documents(200, "a1", 0, &json!([])), "/v1/access?version=");
    forwarded(rig.present(&long()));
    forwarded(rig.present(&long()));
    rig.later(1);
    let entry = json!([{"jti": "j1", "issuer": ISSUER, "until": UNTIL}]);
    assert_eq!(rig.documents(200, "a2", 0, &entry), "/v1/access?version=a1");
    assert_eq!(refused(rig.present(&long())), (401, "revoked"));
    rig.later(1);
    assert_eq!(rig.documents(304, "a2", 0, &json!([])), "/v1/access?version=a2");
    assert_eq!(refused(rig.present(&long())), (401, "revoked"));
    rig.later(1);
    let other = json!([{"sid": "s1", "issuer": "https://other.example", "until": UNTIL}]);
    rig.documents(200, "a3", 0, &other);
    forwarded(rig.present(&long()));
}

/// It was asked for by a token that had to wait for its issuer's keys.
#[test]
fn who_is_revoked_while_it_waits_is_refused() {
    let configuration = plugin(json!({}), &json!({"accessCluster": "access"}));
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.documents(200, "a1", 0, &json!([]));
    let authorization = format!("Bearer {}", long());
    rig.waits(&[("authorization", &authorization)], Attempt::default());
    rig.later(1);
    rig.documents(200, "a2", 0, &json!([{"group": "dev", "until": UNTIL}]));
    rig.serve(ISSUER, &key_set(&["a"]));
    rig.settled();
    assert_eq!(refused(rig.present_again(&long())), (403, "revoked"));
}

#[test]
fn documents_that_are_too_old_let_nobody_in() {
    let mut rig = following(json!({"access": {"maximumStalenessSeconds": 60}}));
    rig.documents(200, "a1", 20, &json!([]));
    forwarded(rig.present(&long()));
    rig.later(40);
    forwarded(rig.present(&long()));
    rig.later(1);
    let (code, _) = message(rig.present(&long()));
    assert_eq!(code, 503);
    // Who answers has not heard of anything new either: that makes nothing fresher.
    rig.documents(304, "a1", 61, &json!([]));
    assert_eq!(refused(rig.present(&long())), (503, "access_unread"));
    rig.later(1);
    rig.documents(304, "a1", 0, &json!([]));
    forwarded(rig.present(&long()));
}

/// The clock was ahead when the entry came, so that it seemed to be over; a token that was let in meanwhile was let in for good.
#[test]
fn a_clock_that_is_set_back_brings_an_entry_back() {
    let mut rig = following(json!({}));
    let until = "1970-01-12T14:46:40Z"; // an hour later
    let mut claims = claims();
    claims["exp"] = json!(NOW.as_secs() + 100_000);
    let token = token("a", &claims);
    rig.later(7_200);
    rig.documents(200, "a1", 0, &json!([{"user": "jane", "until": until}]));
    for _ in 0..2 {
        forwarded(rig.present(&token));
    }
    rig.now -= Duration::from_secs(7_000);
    assert_eq!(refused(rig.present(&token)), (403, "revoked"));
    // And forth.
    rig.later(7_001);
    rig.documents(304, "a1", 0, &json!([]));
    forwarded(rig.present(&token));
}

/// Documents of the future were young for as long as the clock had been set back.
#[test]
fn a_clock_that_is_set_back_makes_no_document_younger() {
    let mut rig = following(json!({"access": {"maximumStalenessSeconds": 60}}));
    rig.later(3_600);
    rig.documents(200, "a1", 0, &json!([]));
    rig.now -= Duration::from_secs(3_600);
    // Nobody answers any more.
    assert!(rig.worker.poll_documents(rig.now).is_some());
    forwarded(rig.present(&long()));
    rig.later(60);
    forwarded(rig.present(&long()));
    rig.later(1);
    assert_eq!(refused(rig.present(&long())), (503, "access_unread"));
    // Forth: for a moment nobody knows, and the next answer says so.
    rig.later(7_200);
    assert_eq!(refused(rig.present(&long())), (503, "access_unread"));
    rig.documents(304, "a1", 0, &json!([]));
    forwarded(rig.present(&long()));
}

/// The new one had nothing until its first question was answered, and refused everybody.
#[test]
fn a_configuration_that_is_replaced_leaves_its_documents() {
    let mut old = following(json!({}));
    old.documents(200, "a1", 0, &json!([{"user": "bob", "until": UNTIL}]));
    let (documents, as_of) = old.worker.documents().unwrap();
    let mut new = following(json!({}));
    assert_eq!(refused(new.present(&long())), (503, "access_unread"));
    new.worker.inherit_documents(documents.clone(), as_of);
    forwarded(new.present(&long()));
    // What has changed meanwhile comes with its first question, which says what it has.
    let entry = json!([{"user": "jane", "until": UNTIL}]);
    assert_eq!(new.documents(200, "a2", 0, &entry), "/v1/access?version=a1");
    assert_eq!(refused(new.present(&long())), (403, "revoked"));
    // Where there are none any more, none are taken over.
    let mut without = Rig::beside(Rc::default(), 1, "", plugin(json!({}), &json!({})));
    without.serve(ISSUER, &key_set(&["a"]));
    without.worker.inherit_documents(documents, as_of);
    let mut claims = claims();
    claims["sub"] = json!("bob");
    forwarded(without.present(&token("a", &claims)));
}

#[test]
fn an_answer_that_cannot_be_meant_changes_nothing() {
    let mut rig = following(json!({}));
    rig.documents(200, "a1", 0, &json!([{"user": "jane", "until": UNTIL}]));
    for (status, version, entries) in [
        (200, "a2", json!([{"user": "", "until": UNTIL}])),
        (200, "a2", json!([{"users": "jane", "until": UNTIL}])),
        (200, "", json!([])),
        (200, "a/2", json!([])),
        (503, "a2", json!([])),
        (404, "a2", json!([])),
    ] {
        rig.later(1);
        assert_eq!(rig.documents(status, version, 0, &entries), "/v1/access?version=a1");
        assert_eq!(refused(rig.present(&long())), (403, "revoked"), "{status} {version}");
    }
    let counted = rig.worker.take_metrics();
    let failures = counted.iter().filter(|it| it.stat.contains("kind.documents")).count();
    assert!(failures > 0, "{counted:?}");
}

/// One question at a time, and none for ever.
#[test]
fn a_question_that_is_lost_is_asked_again() {
    let mut rig = following(json!({}));
    assert!(rig.worker.poll_documents(rig.now).is_some());
    rig.later(1);
    assert!(rig.worker.poll_documents(rig.now).is_none());
    rig.later(9);
    assert!(rig.worker.poll_documents(rig.now).is_some());
    // The clock was set back.
    rig.now -= Duration::from_secs(1_000);
    assert!(rig.worker.poll_documents(rig.now).is_some());
}

#[test]
fn what_lasts_is_known_and_ends_with_its_users_access() {
    let mut rig = following(json!({}));
    rig.documents(200, "a1", 0, &json!([]));
    let authorization = format!("Bearer {}", long());
    let upgrade = [("connection", "upgrade"), ("upgrade", "SPDY/3.1")];
    for (path, more, lasts) in [
        ("/api/v1/pods?watch=true", &[][..], true),
        ("/api/v1/namespaces/a/pods/b/log?follow=true", &[], true),
        ("/api/v1/namespaces/a/pods/b/exec?command=sh", &upgrade, true),
        ("/api/v1/namespaces/a/services/b/proxy/events", &[], true),
        // In other letters the same, for kube-apiserver.
        ("/api/v1/namespaces/a/services/b/pro%78y/events", &[], true),
        ("/api/v1/pods", &[], false),
    ] {
        let headers =
            [&[("authorization", authorization.as_str()), (":path", path)], more].concat();
        let Decision::Forward(forward) = rig.decide(&headers, Attempt::default()) else { panic!() };
        assert_eq!(forward.open.is_some(), lasts, "{path}");
        if let Some(open) = forward.open {
            rig.worker.opened(7, open);
        }
    }
    assert_eq!(rig.worker.revoked(rig.now, 32).0.len(), 0);
    rig.later(1);
    rig.documents(200, "a2", 0, &json!([{"user": "jane", "until": UNTIL, "reason": "left"}]));
    let (revoked, more) = rig.worker.revoked(rig.now, 32);
    let [(7, refusal)] = revoked.as_slice() else { panic!("{revoked:?}") };
    assert_eq!((refusal.reply().code, more), (403, false));
    assert!(!rig.worker.has_open());
    let changes = rig.worker.take_metrics();
    let counted = |stat: &str| changes.iter().find(|change| change.stat == stat).map(|it| it.value);
    assert_eq!(counted("gateway_streams_revoked_total.by.user"), Some(1));
    let as_of = i64::try_from(rig.now.as_secs()).unwrap();
    assert_eq!(counted("gateway_access_documents_timestamp_seconds"), Some(as_of));
}

/// Whom `--as` asks for is another question, which the API server answers.
#[test]
fn who_signed_in_counts_and_not_whom_it_asks_to_be() {
    let mut rig = following(json!({"clientImpersonation": "authorize"}));
    rig.documents(200, "a1", 0, &json!([{"user": "jane", "until": UNTIL}]));
    let authorization = format!("Bearer {}", long());
    let headers = [("authorization", authorization.as_str()), ("impersonate-user", "bob")];
    assert_eq!(refused(rig.decide(&headers, Attempt::default())), (403, "revoked"));
}

/// What an issuer says needs no login, by this spelling alone. Who takes it looks at what it is.
#[test]
fn an_issuer_needs_no_login_to_say_that_a_session_has_ended() {
    let mut rig = following(json!({"logout": {"path": "/oidc/logout"}}));
    for (path, want) in [("/oidc/logout", true), ("/oidc/logout?a", false), ("/oidc/other", false)]
    {
        for more in [&[][..], &[("authorization", "Bearer a.b.c")], &[("impersonate-user", "a")]] {
            let headers: Vec<_> =
                [(":path", path), (":method", "POST")].iter().chain(more).copied().collect();
            let decision = rig.decide(&headers, Attempt::default());
            assert_eq!(matches!(decision, Decision::Open("logout")), want, "{path} {decision:?}");
        }
    }
    let document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER]),
        "gatewayConfiguration": {
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration",
            "logout": {"path": "/oidc/logout"},
        },
        "defaultIssuerCluster": "issuers", "reviewCluster": "review",
    });
    let error = Configuration::parse(document.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("needs accessCluster"), "{error}");
}

/// The native form's workers are told each second that nothing is new: what is refused counts once.
#[test]
fn documents_that_another_worker_asked_for_are_looked_at_once() {
    let rules =
        json!([{"name": "a", "groups": ["admins"], "toGroups": ["dev"], "approvers": ["leads"]}]);
    let mut rig = following(json!({"elevation": {"rules": rules}}));
    let grant = json!({
        "id": "g", "state": "Approved", "user": "jane", "issuer": ISSUER, "subject": "jane", "groups": ["others"],
        "requestedAt": UNTIL, "from": UNTIL, "until": UNTIL,
    });
    let grants = json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Grants", "grants": [grant]});
    let envelope = serde_json::from_value(json!({"grants": grants})).unwrap();
    for (generation, times) in [(1, 5), (2, 1)] {
        let documents = Arc::new(Documents::new(&envelope, "v", generation).unwrap());
        (0..times).for_each(|_| rig.worker.take_documents(Arc::clone(&documents), rig.now));
    }
    let changes = rig.worker.take_metrics();
    let refused = changes.iter().find(|it| it.stat.starts_with("gateway_grants_refused_total"));
    assert_eq!(refused.map(|it| it.value), Some(2), "{changes:?}");
}
