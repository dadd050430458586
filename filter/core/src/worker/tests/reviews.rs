//! Decisions that need the API server's word: `kubectl --as`, and tokens of nobody's.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const REVIEWED: Attempt =
    Attempt { keys: 0, reviews: true, groups: false, introspection: false, since: None };

#[test]
fn reject_names_the_header_but_not_to_strangers() {
    let mut rig = Rig::new(json!({"clientImpersonation": "reject"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let token = format!("Bearer {}", token("a", &claims()));
    let asked = bearer(&token, &[("impersonate-user", "bob")]);
    let Decision::Refuse(refusal) = rig.decide(&asked, Attempt::default()) else { panic!() };
    assert_eq!(refusal.reply().code, 403);
    assert!(refusal.reply().body.contains("header impersonate-user is refused"));
    let stranger = bearer("Bearer x", &[("impersonate-user", "bob")]);
    assert_eq!(refused(rig.decide(&stranger, Attempt::default())), (401, "token"));
}

#[test]
fn authorize_asks_once_for_each_value_and_then_knows() {
    let mut rig = Rig::new(json!({"clientImpersonation": "authorize"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let token = format!("Bearer {}", token("a", &claims()));
    let asked = bearer(&token, &[("impersonate-user", "bob"), ("impersonate-group", "ops")]);
    let Decision::Wait(wait) = rig.decide(&asked, Attempt::default()) else { panic!() };
    rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
    assert!(rig.ready().is_empty());
    let allow = |_: &Value| json!({"allowed": true});
    assert_eq!(answer_reviews(&mut rig, allow), 2);
    let settled = rig.ready();
    assert_eq!(settled[0].attempt, Attempt { since: Some(rig.now), ..REVIEWED });
    let headers = forwarded(rig.decide(&asked, settled[0].attempt));
    let has = |name: &str, value: &str| headers.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("impersonate-user", "bob") && has("impersonate-group", "ops"));
    assert!(has("impersonate-extra-originaluser.jetstack.io-user", "jane"));
    assert!(!has("impersonate-group", "dev"), "the original groups do not come along");
    let outcome = rig.outcome(&asked, Attempt::default());
    assert!(!outcome.authenticated, "the token is in the cache by now");
    forwarded(outcome.decision);
    assert_eq!(rig.lookups().len(), 0);
    // Without the headers the same token is the user itself.
    assert_eq!(forwarded(rig.decide(&bearer(&token, &[]), Attempt::default()))[0].1, "jane");
}

#[test]
fn authorize_refuses_what_the_api_server_refuses_or_does_not_say() {
    let headers = [("impersonate-user", "bob"), ("impersonate-group", "system:masters")];
    let token = format!("Bearer {}", token("a", &claims()));
    let asked = bearer(&token, &headers);
    let mut rig = Rig::new(json!({"clientImpersonation": "authorize"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)));
    let users_only =
        |spec: &Value| json!({"allowed": spec["resourceAttributes"]["resource"] == "users"});
    answer_reviews(&mut rig, users_only);
    let Decision::Refuse(refusal) = rig.decide(&asked, REVIEWED) else { panic!() };
    assert_eq!(refusal.reply().code, 403);
    assert!(refusal.to_string().contains("group \"system:masters\""), "{refusal}");

    let mut rig = Rig::new(json!({"clientImpersonation": "authorize"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)));
    for review in rig.lookups() {
        rig.answer(&review, Err("reset"));
    }
    assert_eq!(refused(rig.decide(&asked, REVIEWED)), (503, "review_failed"));
    assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)), "asked anew");

    // The gateway's own account may not ask: who is to grant what must be said, and nothing that a second would cure.
    for review in rig.lookups() {
        rig.answer(&review, Ok((403, b"{}")));
    }
    let Decision::Refuse(refusal) = rig.decide(&asked, REVIEWED) else { panic!() };
    let reply = refusal.reply();
    assert_eq!((reply.code, refusal.keyword(), reply.retry_after), (503, "review_forbidden", None));
    assert!(
        reply.body.contains("create subjectaccessreviews.authorization.k8s.io"),
        "{}",
        reply.body
    );

    let orphan = bearer(&token, &[("impersonate-group", "dev")]);
    assert_eq!(refused(rig.decide(&orphan, Attempt::default())), (400, "bad_impersonation"));
}

/// Where Envoy traces, a review is a part of its request's trace; of a fetch of keys, which serves many, nobody is the parent.
#[test]
fn reviews_belong_to_the_trace_of_their_request() {
    let mut rig = Rig::new(json!({"clientImpersonation": "authorize"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let token = format!("Bearer {}", token("a", &claims()));
    let trace = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    for (given, want) in [(None, None), (Some(trace), Some(format!("00-{trace}-00")))] {
        let user = if given.is_some() { "bob" } else { "eve" };
        let trace = given.map(|trace| ("x-gateway-trace", trace));
        let headers: Vec<_> = [("impersonate-user", user)].into_iter().chain(trace).collect();
        let asked = bearer(&token, &headers);
        assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)));
        let reviews = rig.lookups();
        assert_eq!(reviews.len(), 1);
        assert_eq!(reviews[0].traceparent, want);
    }
}

/// The audit trail names the client's address once, and it is not the client that names it.
#[test]
fn whom_a_client_impersonates_has_no_address_of_the_clients_making() {
    let mut rig =
        Rig::new(json!({"clientImpersonation": "authorize", "extras": {"clientIP": true}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let token = format!("Bearer {}", token("a", &claims()));
    let forged =
        [("impersonate-user", "bob"), ("impersonate-extra-remote-client-ip", "203.0.113.9")];
    let asked = bearer(&token, &forged);
    assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)));
    answer_reviews(&mut rig, |_| json!({"allowed": true}));
    let headers = forwarded(rig.decide(&asked, REVIEWED));
    let addresses: Vec<_> =
        headers.iter().filter(|(name, _)| name.ends_with("client-ip")).map(|(_, v)| v).collect();
    assert_eq!(addresses, ["192.0.2.1"]);
}

#[test]
fn unknown_tokens_are_the_api_servers_own_or_nobodys() {
    let mut rig = Rig::new(json!({"tokenReview": {"enabled": true, "audiences": ["api"]}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let known = |spec: &Value| match spec["token"].as_str().unwrap() {
        "good" => json!({"authenticated": true, "audiences": ["api"],
                         "user": {"username": "system:serviceaccount:n:s"}}),
        "other-audience" => json!({"authenticated": true, "audiences": ["x"],
                                   "user": {"username": "u"}}),
        "no-audience" => json!({"authenticated": true, "user": {"username": "u"}}),
        _ => json!({"authenticated": false, "error": "no"}),
    };
    for (token, want) in [
        ("good", None),
        ("other-audience", Some((401, "token_reviewed"))),
        ("no-audience", Some((401, "token_reviewed"))),
        ("bad", Some((401, "token_reviewed"))),
    ] {
        let value = format!("Bearer {token}");
        let headers = bearer(&value, &[]);
        assert!(matches!(rig.decide(&headers, Attempt::default()), Decision::Wait(_)));
        assert_eq!(answer_reviews(&mut rig, known), 1);
        match (rig.decide(&headers, Attempt::default()), want) {
            (Decision::Forward(Forward { mode: Mode::OwnToken { user }, .. }), None) => {
                assert_eq!(user, "system:serviceaccount:n:s");
            }
            (Decision::Refuse(refusal), Some(want)) => {
                assert_eq!((refusal.reply().code, refusal.keyword()), want);
            }
            (got, _) => panic!("{token}: {got:?}"),
        }
    }
    // A token that our own rules refuse is never asked about.
    let mut foreign = claims();
    foreign["aud"] = json!("other");
    let refused_here = format!("Bearer {}", token("a", &foreign));
    assert_eq!(
        refused(rig.decide(&bearer(&refused_here, &[]), Attempt::default())),
        (401, "verify")
    );
    assert_eq!(rig.lookups().len(), 0);
}

/// What a ServiceAccount may not do is in the audit trail under its name.
#[test]
fn who_is_refused_is_named_though_the_token_is_the_api_servers_own() {
    let mut rig = Rig::new(json!({
        "tokenReview": {"enabled": true}, "conditions": [{"name": "nothing", "expression": "false"}],
    }));
    rig.serve(ISSUER, &key_set(&["a"]));
    let headers = bearer("Bearer good", &[(":method", "GET"), (":path", "/version")]);
    assert!(matches!(rig.decide(&headers, Attempt::default()), Decision::Wait(_)));
    let user = json!({"authenticated": true, "user": {"username": "robot", "groups": ["bots"]}});
    assert_eq!(answer_reviews(&mut rig, |_: &Value| user.clone()), 1);
    let outcome = rig.outcome(&headers, Attempt::default());
    assert_eq!(outcome.record.as_deref(), Some("v=2&user=robot&group=bots"));
    assert_eq!(refused(outcome.decision), (403, "condition"));
}

/// open-cluster-management/cluster-proxy#282: bad tokens became a storm of TokenReviews.
#[test]
fn a_storm_of_bad_tokens_does_not_storm_the_api_server() {
    let mut rig = Rig::new(json!({
        "tokenReview": {"enabled": true}, "reviews": {"tokenReviewsPerSecond": 5},
    }));
    rig.serve(ISSUER, &key_set(&["a"]));
    let mut limited = 0;
    for n in 0..1000 {
        let value = format!("Bearer bad{n}");
        if let Decision::Refuse(refusal) = rig.decide(&bearer(&value, &[]), Attempt::default()) {
            assert_eq!(refusal.reply().code, 429);
            limited += 1;
        }
    }
    assert_eq!((limited, rig.lookups().len()), (950, 50));
    assert_eq!(forwarded(rig.present(&token("a", &claims())))[0].1, "jane");
}

/// All clients behind a balancer have one address: 39 of 60 ServiceAccounts that came at once got 429.
#[test]
fn good_tokens_of_one_address_are_not_limited() {
    let mut rig = Rig::new(json!({
        "tokenReview": {"enabled": true}, "reviews": {"tokenReviewsPerSecond": 5},
    }));
    rig.serve(ISSUER, &key_set(&["a"]));
    let known = br#"{"status": {"authenticated": true, "user": {"username": "sa"}}}"#;
    for round in 0..10 {
        let names: Vec<_> = (0..40).map(|n| format!("Bearer {round}-{n}")).collect();
        for name in &names {
            assert!(matches!(rig.waits(&bearer(name, &[]), Attempt::default()), Wait::Reviews(_)));
        }
        for callout in rig.lookups() {
            rig.answer(&callout, Ok((201, known)));
        }
        for name in &names {
            let decision = rig.decide(&bearer(name, &[]), REVIEWED);
            assert!(matches!(decision, Decision::Forward(_)), "{name}: {decision:?}");
        }
    }
    // Bad ones still are.
    let refused = |n| matches!(rig.present(&format!("bad{n}")), Decision::Refuse(_));
    assert_eq!((0..100).map(refused).filter(|refused| *refused).count(), 50);
}
