//! Lent groups: that they reach the API server while they last, what ends with them, and what the logs are told.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::record::read_user;

const OTHER: &str = "https://other.example";

fn rig(more: &Value) -> Rig {
    let mut gateway = json!({
        "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration",
        "elevation": {"rules": [
            {"name": "on-call", "groups": ["admins"], "toGroups": ["dev"], "approvers": ["leads"]},
        ]},
    });
    gateway.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER, OTHER]),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
        "reviewCluster": "review",
        "accessCluster": "access",
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve_all(&[(ISSUER, &key_set(&["a"])), (OTHER, &key_set(&["a"]))]);
    take(&mut rig, &[]);
    rig
}

/// A grant to Jane that ends so many seconds after [`NOW`].
fn grant(seconds: u64) -> Value {
    let at = |seconds: u64| crate::elevation::Time(seconds).to_string();
    let begin = at(NOW.as_secs() - 60);
    json!({"id": "g1", "state": "Approved", "user": "jane", "issuer": ISSUER, "subject": "jane",
        "groups": ["admins"], "requestedAt": begin, "from": begin, "until": at(NOW.as_secs() + seconds),
        "approvedBy": {"user": "kim", "issuer": ISSUER, "subject": "k", "groups": ["leads"], "at": begin}})
}

fn take(rig: &mut Rig, grants: &[Value]) {
    let document =
        json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Grants", "grants": grants});
    answer(rig, &json!({"grants": document}));
}

/// Answers the next question for documents.
fn answer(rig: &mut Rig, envelope: &Value) {
    // Each question has a second of its own.
    static ASKED: AtomicU64 = AtomicU64::new(1);
    rig.now += Duration::from_secs(ASKED.fetch_add(1, Ordering::Relaxed));
    assert!(rig.worker.poll_documents(rig.now).is_some());
    let headers = [("etag".to_owned(), b"\"v\"".to_vec()), ("age".to_owned(), b"0".to_vec())];
    let body = envelope.to_string();
    let response = Response { status: 200, headers: &headers, body: body.as_bytes() };
    assert!(rig.worker.answered(Purpose::Documents, Ok(response), rig.now, 0.0).is_none());
    rig.now = NOW;
}

fn groups(decision: Decision) -> Vec<String> {
    let headers = forwarded(decision).into_iter();
    headers.filter(|(name, _)| name == "impersonate-group").map(|(_, group)| group).collect()
}

#[test]
fn a_lent_group_travels_from_its_beginning_to_its_end() {
    let mut rig = rig(&json!({}));
    let token = token("a", &claims());
    assert_eq!(groups(rig.present(&token)), ["dev"], "known, and nothing lent");
    take(&mut rig, &[grant(30)]);
    assert_eq!(groups(rig.present(&token)), ["dev", "admins"]);
    rig.now = NOW + Duration::from_secs(29);
    assert_eq!(groups(rig.present(&token)), ["dev", "admins"]);
    rig.now = NOW + Duration::from_secs(30);
    assert_eq!(groups(rig.present(&token)), ["dev"], "the token is good for another half minute");
    rig.now = NOW;
    let ended = json!({"state": "Ended"});
    let mut grant = grant(30);
    grant.as_object_mut().unwrap().extend(ended.as_object().unwrap().clone());
    take(&mut rig, &[grant]);
    assert_eq!(groups(rig.present(&token)), ["dev"]);
}

/// A document that cannot be read changes nothing; nothing is lent once nobody knows what has been ended.
#[test]
fn what_cannot_be_read_lends_nothing_new() {
    let mut rig = rig(&json!({}));
    let token = token("a", &claims());
    take(&mut rig, &[grant(30)]);
    let broken = json!({"grants": {"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Grants", "grants": [{"id": "x"}]}});
    answer(&mut rig, &broken);
    assert_eq!(groups(rig.present(&token)), ["dev", "admins"]);
    answer(&mut rig, &json!({}));
    assert_eq!(groups(rig.present(&token)), ["dev"], "there is no document any more");
}

/// One click: of what runs, what began with the grant ends, and nothing else.
#[test]
fn a_grant_that_is_ended_ends_the_streams_that_began_with_it() {
    let mut rig = rig(&json!({}));
    let bearer = format!("Bearer {}", token("a", &claims()));
    let headers = [
        ("authorization", bearer.as_str()),
        (":method", "GET"),
        (":path", "/api/v1/pods?watch=true"),
    ];
    let open = |rig: &mut Rig, stream: u32| {
        let decision = rig.decide(&headers, Attempt::default());
        let Decision::Forward(Forward { open: Some(open), .. }) = decision else { panic!() };
        rig.worker.opened(stream, open);
    };
    open(&mut rig, 1);
    take(&mut rig, &[grant(30)]);
    open(&mut rig, 2);
    assert!(rig.worker.revoked(rig.now, 9).0.is_empty());
    let mut other = grant(30);
    other["id"] = json!("g2");
    other["state"] = json!("Requested");
    take(&mut rig, &[grant(30), other]);
    assert!(rig.worker.revoked(rig.now, 9).0.is_empty(), "somebody else asks");
    let mut ended = grant(30);
    ended["state"] = json!("Ended");
    take(&mut rig, &[ended]);
    let (revoked, _) = rig.worker.revoked(rig.now, 9);
    let [(stream, refusal)] = revoked.as_slice() else { panic!("{revoked:?}") };
    assert_eq!((*stream, refusal.reply().code), (2, 403));
}

/// A revocation of a group ends what has it by a loan, too.
#[test]
fn a_lent_group_that_is_revoked_lets_nobody_in() {
    let mut rig = rig(&json!({}));
    let token = token("a", &claims());
    let grants = json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Grants", "grants": [grant(30)]});
    let entry = json!({"group": "admins", "until": "2030-01-01T00:00:00Z"});
    let revocations = json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Revocations", "revocations": [entry]});
    // Known without the loan, and judged.
    assert_eq!(groups(rig.present(&token)), ["dev"]);
    answer(&mut rig, &json!({"revocations": revocations}));
    assert_eq!(groups(rig.present(&token)), ["dev"]);
    answer(&mut rig, &json!({"revocations": revocations, "grants": grants}));
    assert_eq!(refused(rig.present(&token)).0, 403);
}

#[test]
fn nobody_else_has_what_is_lent_to_a_user() {
    let mut rig = rig(&json!({}));
    take(&mut rig, &[grant(30)]);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        token("a", &claims)
    };
    for (token, want) in [
        (with("iss", json!(OTHER)), vec!["dev"]),
        (with("sub", json!("janet")), vec!["dev"]),
        // Who has left the group may not have it any more.
        (with("groups", json!(["ops"])), vec!["ops"]),
        (with("groups", json!(["dev"])), vec!["dev", "admins"]),
    ] {
        assert_eq!(groups(rig.present(&token)), want);
    }
    let changes = rig.worker.take_metrics();
    let counted = |stat: &str| changes.iter().find(|change| change.stat == stat).map(|it| it.value);
    assert_eq!(counted("gateway_grants_refused_total.reason.user"), Some(1));
    assert_eq!(counted("gateway_lent_requests_total"), Some(1));
}

/// What the configuration says of claims is asked of the token that a request brings, whatever it was when the grant was asked for.
#[test]
fn an_expression_is_asked_of_each_token() {
    let rule = json!({"name": "ops", "groups": ["admins"], "toExpression": "claims.team == 'ops'", "approvers": ["leads"]});
    let mut rig = rig(&json!({"elevation": {"rules": [rule]}}));
    take(&mut rig, &[grant(30)]);
    let with = |team: &Value| {
        let mut claims = claims();
        claims["team"] = team.clone();
        token("a", &claims)
    };
    assert_eq!(groups(rig.present(&token("a", &claims()))), ["dev"], "no such claim");
    for (team, want) in [
        (json!("ops"), vec!["dev", "admins"]),
        (json!("web"), vec!["dev"]),
        (json!(["ops"]), vec!["dev"]),
    ] {
        let token = with(&team);
        assert_eq!(groups(rig.present(&token)), want, "{team}");
        assert_eq!(groups(rig.present(&token)), want, "{team}, as it is remembered");
        let bearer = format!("Bearer {token}");
        let outcome = rig.outcome(&[("authorization", &bearer)], Attempt::default());
        // The portal has no claims: so the program that lends hears of it.
        let record = outcome.record.unwrap();
        assert_eq!(record.contains("&subject=jane&may=ops"), want.len() == 2, "{record}");
    }
}

/// However long the token is good, and though streams do not end with tokens.
#[test]
fn streams_end_with_their_grant() {
    let mut rig = rig(&json!({}));
    let token = format!("Bearer {}", token("a", &claims()));
    let cut = |rig: &mut Rig, path: &str| {
        let headers = [("authorization", token.as_str()), (":method", "GET"), (":path", path)];
        match rig.decide(&headers, Attempt::default()) {
            Decision::Forward(forward) => forward.cut_after,
            other => panic!("{other:?}"),
        }
    };
    let paths =
        ["/api/v1/pods?watch=true", "/api/v1/namespaces/a/pods/p/log?follow=true", "/api/v1/pods"];
    for path in paths {
        assert_eq!(cut(&mut rig, path), None, "{path}");
    }
    take(&mut rig, &[grant(30)]);
    for path in paths {
        assert_eq!(cut(&mut rig, path), Some(Duration::from_secs(30)), "{path}");
    }
    let mut rig = self::rig(&json!({"streamExpiry": {"watches": "cut"}}));
    take(&mut rig, &[grant(90)]);
    assert_eq!(cut(&mut rig, paths[0]), Some(Duration::from_secs(60)), "the token ends first");
    assert_eq!(cut(&mut rig, paths[1]), Some(Duration::from_secs(90)));
}

#[test]
fn the_logs_name_the_grant_and_its_approver_and_the_portal_sees_the_users_own_groups() {
    let mut rig = rig(&json!({}));
    take(&mut rig, &[grant(30)]);
    let bearer = format!("Bearer {}", token("a", &claims()));
    let outcome = rig.outcome(&[("authorization", &bearer)], Attempt::default());
    let record = outcome.record.unwrap();
    let want = "&subject=jane&grant=g1&grant-by=kim&lent=admins";
    assert!(record.ends_with(want), "{record}");
    // A token of the portal's would have the group for longer than it is lent, and an approver might have its right from a loan.
    assert_eq!(read_user(&record).unwrap().groups, ["dev"]);
}

#[test]
fn conditions_and_reviews_see_lent_groups() {
    let conditions = json!([{"name": "admins-only", "expression": "'admins' in user.groups"}]);
    let mut rig = rig(&json!({"conditions": conditions}));
    let bearer = format!("Bearer {}", token("a", &claims()));
    let mut headers =
        vec![("authorization", bearer.as_str()), (":method", "GET"), (":path", "/api")];
    let decision = rig.decide(&headers, Attempt::default());
    assert!(matches!(decision, Decision::Refuse(Refusal::Condition(_))), "{decision:?}");
    take(&mut rig, &[grant(30)]);
    assert_eq!(groups(rig.decide(&headers, Attempt::default())), ["dev", "admins"]);
    headers.push(("impersonate-user", "bob"));
    rig.waits(&headers, Attempt::default());
    let lookups = rig.lookups();
    let review: Value = serde_json::from_slice(lookups[0].body.as_ref().unwrap()).unwrap();
    assert_eq!(review["spec"]["groups"], json!(["dev", "admins", "system:authenticated"]));
    rig.answer(&lookups[0], Ok((201, br#"{"status": {"allowed": true}}"#)));
    let outcome = rig.outcome(&headers, Attempt { reviews: true, ..Attempt::default() });
    let record = outcome.record.unwrap();
    assert!(record.ends_with("&subject=jane&grant=g1&grant-by=kim&lent=admins&as=bob"), "{record}");
    let Decision::Forward(forward) = outcome.decision else { panic!() };
    assert_eq!(forward.cut_after, Some(Duration::from_secs(30)));
}
