//! Whole decisions: a request's headers in, the identity or the refusal out, keys arriving in between.

#[path = "numbers.rs"]
mod numbers;

use serde_json::{Value, json};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::testing::{FakeVerifier, Memory, configuration_json, key_set, token};
use crate::{
    decision::{Decision, Forward, Mode},
    headers::RequestHead,
};

const ISSUER: &str = "https://issuer.example";
const WAITED: Attempt = Attempt { keys: 1, reviews: false, groups: false, since: None };
const NOW: Duration = Duration::from_secs(1_000_000);

fn configuration(issuers: &[&str], gateway: Value) -> Configuration {
    let mut gateway = gateway;
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let document = json!({
        "authenticationConfiguration": configuration_json(issuers),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
        "reviewCluster": "review",
    });
    Configuration::parse(document.to_string().as_bytes()).unwrap()
}

struct Rig {
    worker: Worker,
    now: Duration,
}

impl Rig {
    fn new(gateway: Value) -> Self {
        Self::with(&[ISSUER], gateway)
    }

    fn with(issuers: &[&str], gateway: Value) -> Self {
        let memory = Rc::new(Memory::default());
        let configuration = configuration(issuers, gateway);
        let worker = Worker::new(1, [7; 16], Box::new(FakeVerifier), configuration, memory);
        Self { worker, now: NOW }
    }

    fn decide(&mut self, headers: &[(&str, &str)], attempt: Attempt) -> Decision {
        let headers: Vec<_> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        self.worker.decide(
            &RequestHead::read(&headers),
            Peer { address: "192.0.2.1" },
            attempt,
            self.now,
        )
    }

    fn present(&mut self, token: &str) -> Decision {
        self.decide(&[("authorization", &format!("Bearer {token}"))], Attempt::default())
    }

    fn present_again(&mut self, token: &str) -> Decision {
        self.decide(&[("authorization", &format!("Bearer {token}"))], WAITED)
    }

    /// Polls, answers every callout, and returns how many there were.
    fn serve(&mut self, issuer: &str, keys: &str) -> usize {
        let mut actions = self.worker.poll(self.now, 0.0);
        let mut callouts = 0;
        while let Some(action) = actions.pop() {
            let Action::Call(callout) = action else { continue };
            callouts += 1;
            let body = if callout.path.ends_with("openid-configuration") {
                json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string()
            } else {
                keys.to_owned()
            };
            let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
            actions.extend(self.worker.answered(callout.id, &answer, self.now, 0.0));
        }
        callouts
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "kubernetes", "sub": "jane", "groups": ["dev"], "jti": "j1",
           "exp": NOW.as_secs() + 60})
}

fn forwarded(decision: Decision) -> Vec<(String, String)> {
    match decision {
        Decision::Forward(Forward { mode: Mode::Impersonate { plan, .. }, more, .. }) => {
            plan.headers().map(|(n, v)| (n.to_owned(), v.to_owned())).chain(more).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn refused(decision: Decision) -> (u16, &'static str) {
    match decision {
        Decision::Refuse(refusal) => (refusal.answer().code, refusal.keyword()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_token_becomes_an_identity() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let headers = forwarded(rig.present(&token("a", &claims())));
    let want = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "dev"),
        ("impersonate-extra-authentication.kubernetes.io%2fcredential-id", "JTI=j1"),
    ];
    assert_eq!(headers, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
    let mut rig = Rig::new(json!({"extras": {"credentialId": false}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert_eq!(forwarded(rig.present(&token("a", &claims()))).len(), 2);
}

#[test]
fn what_is_refused_and_how() {
    let mut rig = Rig::new(json!({"limits": {"tokenBytes": 4096, "groups": 3}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let bearer = |token: String| vec![("authorization".to_owned(), format!("Bearer {token}"))];
    let with = |changes: Value| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        bearer(token("a", &claims))
    };
    let protocols = |token: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
        vec![
            ("connection".to_owned(), "Upgrade".to_owned()),
            ("upgrade".to_owned(), "websocket".to_owned()),
            (
                "sec-websocket-protocol".to_owned(),
                format!("base64url.bearer.authorization.k8s.io.{}, v4", B64.encode(token)),
            ),
        ]
    };
    let good = token("a", &claims());
    let both = [bearer(good.clone()), protocols(&good)].concat();
    let nominated = [
        bearer(good.clone()),
        vec![
            ("upgrade".to_owned(), "SPDY/3.1".to_owned()),
            ("connection".to_owned(), "Upgrade, Impersonate-User".to_owned()),
        ],
    ]
    .concat();
    for (headers, want) in [
        (vec![], (401, "no_credential")),
        (vec![("authorization".to_owned(), "Basic YTpi".to_owned())], (401, "no_credential")),
        (bearer("garbage".to_owned()), (401, "token")),
        (bearer("a.b.c.d".to_owned()), (401, "token")),
        (bearer("x".repeat(5000)), (431, "token_too_large")),
        (both, (401, "credential")),
        (nominated, (400, "connection")),
        (with(json!({"iss": "https://other.example"})), (401, "unknown_issuer")),
        (with(json!({"aud": "other"})), (401, "verify")),
        (with(json!({"exp": NOW.as_secs() - 1})), (401, "verify")),
        (with(json!({"sub": 1})), (401, "verify")),
        (with(json!({"groups": {"a": 1}})), (401, "identity")),
        (bearer(token("b", &claims())), (401, "verify")),
        (with(json!({"sub": ""})), (403, "guard")),
        (with(json!({"sub": "system:admin"})), (403, "guard")),
        (with(json!({"groups": ["system:masters"]})), (403, "guard")),
        (with(json!({"groups": [" system:masters"]})), (403, "guard")),
        (with(json!({"groups": ["a", "b", "c", "d"]})), (431, "identity_too_large")),
    ] {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(refused(rig.decide(&headers, Attempt::default())), want, "{headers:?}");
    }
    let headers = protocols(&good);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let Decision::Forward(Forward { mode: Mode::Impersonate { plan, protocols }, .. }) =
        rig.decide(&headers, Attempt::default())
    else {
        panic!()
    };
    assert_eq!(protocols.as_deref(), Some(&b"v4"[..]));
    assert_eq!(plan.user(), "jane");
}

#[test]
fn a_list_of_algorithms_narrows() {
    for (names, want) in [(&["RS256"][..], true), (&["ES256", "PS256"], false)] {
        let mut rig = Rig::new(json!({}));
        rig.worker.configuration.algorithms =
            names.iter().map(|name| name.parse().unwrap()).collect();
        rig.serve(ISSUER, &key_set(&["a"]));
        match rig.present(&token("a", &claims())) {
            Decision::Forward(_) => assert!(want, "{names:?}"),
            refusal => {
                assert!(!want, "{names:?}");
                assert_eq!(refused(refusal), (401, "verify"));
            }
        }
    }
}

#[test]
fn requests_wait_for_the_first_keys_and_are_served_by_one_fetch() {
    let mut rig = Rig::new(json!({}));
    let token = token("a", &claims());
    for stream in 0..100 {
        let Decision::Wait(wait) = rig.present(&token) else { panic!() };
        rig.worker.wait(stream, wait.clone(), Attempt::default(), rig.now).unwrap();
    }
    assert!(rig.worker.settled(rig.now).is_empty());
    assert_eq!(rig.serve(ISSUER, &key_set(&["a"])), 2, "discovery and key set");
    let settled = rig.worker.settled(rig.now);
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
    assert_eq!(rig.worker.settled(rig.now).len(), 1);
    assert_eq!(forwarded(rig.present_again(&new))[0].1, "jane");
    assert_eq!(refused(rig.present(&token("a", &claims()))), (401, "verify"), "removed key");
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
    assert_eq!(rig.worker.settled(rig.now).len(), 1);
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
            assert_eq!(rig.worker.settled(rig.now).len(), 1);
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
    for action in rig.worker.poll(rig.now, 0.0) {
        let Action::Call(callout) = action else { continue };
        if callout.authority == "sick.example" {
            let failed = Answer::Failed("refused");
            rig.worker.answered(callout.id, &failed, rig.now, 0.0);
        } else {
            let body =
                json!({"issuer": ISSUER, "jwks_uri": "https://issuer.example/k"}).to_string();
            let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
            let Some(Action::Call(keys)) = rig.worker.answered(callout.id, &answer, rig.now, 0.0)
            else {
                panic!()
            };
            let body = key_set(&["a"]);
            let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
            rig.worker.answered(keys.id, &answer, rig.now, 0.0);
        }
    }
    assert_eq!(rig.worker.settled(rig.now).len(), 1, "known at once not to come");
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
    assert_eq!((refusal.answer().code, refusal.keyword()), (503, "too_many_waiting"));
    assert!(!rig.worker.poll(rig.now, 0.0).is_empty());
    rig.now += Duration::from_secs(3);
    assert_eq!(rig.worker.settled(rig.now).len(), 2);
    assert_eq!(refused(rig.present_again(&token)), (503, "no_keys"));
}

#[test]
fn a_reload_keeps_keys_and_what_waits_for_issuers_that_stay() {
    let (gone, stays, new) = ("https://gone.example", ISSUER, "https://new.example");
    let mut rig = Rig::with(&[gone, stays], json!({}));
    let wait = |issuer| Wait::Keys { issuer, newer_than: None };
    rig.worker.wait(1, wait(0), Attempt::default(), rig.now).unwrap();
    rig.worker.wait(2, wait(1), Attempt::default(), rig.now).unwrap();
    let actions = rig.worker.poll(rig.now, 0.0);
    assert_eq!(actions.len(), 2);
    rig.worker.reconfigure(configuration(&[new, stays, gone], json!({})));
    rig.worker.reconfigure(configuration(&[new, stays], json!({})));
    let settled: Vec<_> = rig.worker.settled(rig.now).iter().map(|w| w.stream).collect();
    assert_eq!(settled, [1], "its issuer is gone");
    let Some(Action::Call(callout)) = actions.into_iter().next_back() else { panic!() };
    let body = json!({"issuer": ISSUER, "jwks_uri": "https://issuer.example/k"}).to_string();
    let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
    let next = rig.worker.answered(callout.id, &answer, rig.now, 0.0);
    assert!(matches!(next, Some(Action::Call(_))), "the callout under way still counts");
}

fn bearer<'a>(token: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("authorization", token)], more].concat()
}

/// Answers every review under way with `status`, and says how many there were.
fn answer_reviews(rig: &mut Rig, status: impl Fn(&Value) -> Value) -> usize {
    let reviews = rig.worker.unsent_reviews();
    for review in &reviews {
        let question: Value = serde_json::from_slice(review.body.as_ref().unwrap()).unwrap();
        let answer = json!({"status": status(&question["spec"])}).to_string();
        rig.worker.reviewed(review.id, review.asked, Ok((201, answer.as_bytes())), rig.now);
    }
    reviews.len()
}

const REVIEWED: Attempt = Attempt { keys: 0, reviews: true, groups: false, since: None };

#[test]
fn reject_names_the_header_but_not_to_strangers() {
    let mut rig = Rig::new(json!({"clientImpersonation": "reject"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let token = format!("Bearer {}", token("a", &claims()));
    let asked = bearer(&token, &[("impersonate-user", "bob")]);
    let Decision::Refuse(refusal) = rig.decide(&asked, Attempt::default()) else { panic!() };
    assert_eq!(refusal.answer().code, 403);
    assert!(refusal.answer().body.contains("header impersonate-user is refused"));
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
    assert!(rig.worker.settled(rig.now).is_empty());
    let allow = |_: &Value| json!({"allowed": true});
    assert_eq!(answer_reviews(&mut rig, allow), 2);
    let settled = rig.worker.settled(rig.now);
    assert_eq!(settled[0].attempt, Attempt { since: Some(rig.now), ..REVIEWED });
    let headers = forwarded(rig.decide(&asked, settled[0].attempt));
    let has = |name: &str, value: &str| headers.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("impersonate-user", "bob") && has("impersonate-group", "ops"));
    assert!(has("impersonate-extra-originaluser.jetstack.io-user", "jane"));
    assert!(!has("impersonate-group", "dev"), "the original groups do not come along");
    forwarded(rig.decide(&asked, Attempt::default()));
    assert_eq!(rig.worker.unsent_reviews().len(), 0);
    assert!(!rig.worker.had_to_authenticate(), "the token is in the cache by now");
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
    assert_eq!(refusal.answer().code, 403);
    assert!(refusal.to_string().contains("group \"system:masters\""), "{refusal}");

    let mut rig = Rig::new(json!({"clientImpersonation": "authorize"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)));
    for review in rig.worker.unsent_reviews() {
        rig.worker.reviewed(review.id, review.asked, Err("reset"), rig.now);
    }
    assert_eq!(refused(rig.decide(&asked, REVIEWED)), (503, "review_failed"));
    assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)), "asked anew");

    let orphan = bearer(&token, &[("impersonate-group", "dev")]);
    assert_eq!(refused(rig.decide(&orphan, Attempt::default())), (400, "bad_impersonation"));
}

#[test]
fn a_review_under_way_at_a_reload_is_asked_anew() {
    let gateway = json!({"clientImpersonation": "authorize"});
    let mut rig = Rig::new(gateway.clone());
    rig.serve(ISSUER, &key_set(&["a"]));
    let token = format!("Bearer {}", token("a", &claims()));
    let asked = bearer(&token, &[("impersonate-user", "bob")]);
    let Decision::Wait(wait) = rig.decide(&asked, Attempt::default()) else { panic!() };
    rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
    rig.worker.unsent_reviews();
    rig.worker.reconfigure(configuration(&[ISSUER], gateway));
    let settled = rig.worker.settled(rig.now);
    let Decision::Wait(wait) = rig.decide(&asked, settled[0].attempt) else { panic!() };
    rig.worker.wait(1, wait, settled[0].attempt, rig.now).unwrap();
    assert_eq!(answer_reviews(&mut rig, |_| json!({"allowed": true})), 1);
    let settled = rig.worker.settled(rig.now);
    assert_eq!(forwarded(rig.decide(&asked, settled[0].attempt))[0].1, "bob");
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
                assert_eq!((refusal.answer().code, refusal.keyword()), want);
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
    assert_eq!(rig.worker.unsent_reviews().len(), 0);
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
            assert_eq!(refusal.answer().code, 429);
            limited += 1;
        }
    }
    assert_eq!((limited, rig.worker.unsent_reviews().len()), (995, 5));
    assert_eq!(forwarded(rig.present(&token("a", &claims())))[0].1, "jane");
}

#[test]
fn without_impersonation_the_token_itself_travels_on() {
    let mut rig = Rig::new(json!({"impersonation": "disabled"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    match rig.present(&token("a", &claims())) {
        Decision::Forward(Forward { mode: Mode::OwnToken { user }, .. }) => {
            assert_eq!(user, "jane");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(refused(rig.present("garbage")), (401, "token"));
}

#[test]
fn configured_extras_and_the_clients_address_travel_along() {
    let mut rig = Rig::new(json!({
        "extras": {"clientIP": true, "credentialId": false,
                   "headers": {"example.org/cluster": ["one", "two"]}},
    }));
    rig.serve(ISSUER, &key_set(&["a"]));
    let headers = forwarded(rig.present(&token("a", &claims())));
    assert_eq!(
        headers[2..],
        [
            ("impersonate-extra-example.org%2fcluster", "one"),
            ("impersonate-extra-example.org%2fcluster", "two"),
            ("impersonate-extra-remote-client-ip", "192.0.2.1"),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}

#[test]
fn streams_are_cut_where_the_configuration_says_so() {
    let token = format!("Bearer {}", token("a", &claims()));
    for (gateway, path, want) in [
        (json!({}), "/api/v1/pods?watch=true", None),
        (json!({"streamExpiry": {"watches": "cut"}}), "/api/v1/pods?watch=true", Some(60)),
        (json!({"streamExpiry": {"watches": "cut"}}), "/api/v1/pods", None),
        (
            json!({"streamExpiry": {"watches": "cut", "graceSeconds": 9}}),
            "/api/v1/pods?watch=1",
            Some(69),
        ),
        (json!({"streamExpiry": {"logs": "cut"}}), "/api/v1/pods?watch=true", None),
    ] {
        let mut rig = Rig::new(gateway);
        rig.serve(ISSUER, &key_set(&["a"]));
        let headers = bearer(&token, &[(":path", path)]);
        let Decision::Forward(forward) = rig.decide(&headers, Attempt::default()) else { panic!() };
        assert_eq!(forward.cut_after.map(|after| after.as_secs()), want, "{path}");
    }
}

/// kube-apiserver would ask any host that a token names.
#[test]
fn distributed_groups_come_from_allowed_hosts_or_the_token_gives_nothing() {
    let mut elsewhere = claims();
    elsewhere.as_object_mut().unwrap().remove("groups");
    elsewhere["_claim_names"] = json!({"groups": "src"});
    elsewhere["_claim_sources"] = json!({"src": {
        "endpoint": "https://groups.example:8443/of?user=jane", "access_token": "secret"}});
    let elsewhere = token("a", &elsewhere);
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert_eq!(refused(rig.present(&elsewhere)), (401, "groups"));
    assert!(rig.worker.unsent_reviews().is_empty());

    let allowed = json!({"distributedGroups": {"hosts": ["groups.example:8443"]}});
    let good = token("a", &claims());
    let mut foreign = claims();
    foreign["iss"] = json!("https://other.example");
    let mut without = claims();
    without.as_object_mut().unwrap().remove("groups");
    for (answer, want) in [
        (Ok((200, good.as_bytes())), None),
        (Ok((200, token("b", &claims()).as_bytes())), Some((401, "groups"))),
        (Ok((200, token("a", &foreign).as_bytes())), Some((401, "groups"))),
        (Ok((200, token("a", &without).as_bytes())), Some((401, "groups"))),
        (Ok((200, &b"<html>"[..])), Some((401, "groups"))),
        (Ok((500, good.as_bytes())), Some((401, "groups"))),
        (Err("reset"), Some((401, "groups"))),
    ] {
        let mut rig = Rig::new(allowed.clone());
        rig.serve(ISSUER, &key_set(&["a"]));
        assert!(matches!(rig.present(&elsewhere), Decision::Wait(_)));
        let reviews = rig.worker.unsent_reviews();
        let [review] = reviews.as_slice() else { panic!() };
        assert_eq!(
            (review.authority.as_str(), review.path.as_str()),
            ("groups.example:8443", "/of?user=jane")
        );
        assert_eq!(review.authorization.as_deref(), Some("Bearer secret"));
        assert_eq!((review.cluster.as_str(), &review.body), ("issuers", &None));
        rig.worker.reviewed(review.id, review.asked, answer, rig.now);
        let headers = [("authorization", format!("Bearer {elsewhere}"))];
        let headers = headers.each_ref().map(|(n, v)| (*n, v.as_str()));
        let decision = rig.decide(&headers, Attempt { keys: 2, groups: true, ..WAITED });
        match want {
            None => assert_eq!(forwarded(decision)[1].1, "dev"),
            Some(want) => assert_eq!(refused(decision), want, "{answer:?}"),
        }
    }
}

/// The groups come first, the rights after them: two waits, neither of which stands for the other.
#[test]
fn who_waited_for_groups_may_still_wait_for_rights() {
    let mut elsewhere = claims();
    elsewhere.as_object_mut().unwrap().remove("groups");
    elsewhere["_claim_names"] = json!({"groups": "src"});
    elsewhere["_claim_sources"] = json!({"src": {"endpoint": "https://groups.example/jane"}});
    let elsewhere = format!("Bearer {}", token("a", &elsewhere));
    let mut rig = Rig::new(json!({"clientImpersonation": "authorize",
        "distributedGroups": {"hosts": ["groups.example"]}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let asked = bearer(&elsewhere, &[("impersonate-user", "bob")]);
    let Decision::Wait(wait) = rig.decide(&asked, Attempt::default()) else { panic!() };
    rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
    let groups = token("a", &claims());
    for review in rig.worker.unsent_reviews() {
        rig.worker.reviewed(review.id, review.asked, Ok((200, groups.as_bytes())), rig.now);
    }
    let settled = rig.worker.settled(rig.now);
    let Decision::Wait(wait) = rig.decide(&asked, settled[0].attempt) else { panic!() };
    rig.worker.wait(1, wait, settled[0].attempt, rig.now).unwrap();
    assert_eq!(answer_reviews(&mut rig, |_| json!({"allowed": true})), 1);
    let settled = rig.worker.settled(rig.now);
    assert_eq!(forwarded(rig.decide(&asked, settled[0].attempt))[0].1, "bob");
}

/// At a cold start the keys of both issuers may be missing: one wait for each, and no third.
#[test]
fn who_waited_for_keys_may_still_wait_for_those_of_the_groups() {
    const SIGNER: &str = "https://groups.example";
    let mut elsewhere = claims();
    elsewhere.as_object_mut().unwrap().remove("groups");
    elsewhere["_claim_names"] = json!({"groups": "src"});
    elsewhere["_claim_sources"] = json!({"src": {"endpoint": "https://groups.example/jane"}});
    let elsewhere = format!("Bearer {}", token("a", &elsewhere));
    let asked = bearer(&elsewhere, &[]);
    let allowed =
        json!({"distributedGroups": {"hosts": ["groups.example"]}, "limits": {"waitSeconds": 3}});
    let mut rig = Rig::with(&[ISSUER, SIGNER], allowed);
    let mut signed = claims();
    signed["iss"] = json!(SIGNER);
    let groups = token("b", &signed);

    let mut actions = rig.worker.poll(rig.now, 0.0);
    let wait = |rig: &mut Rig, attempt, want: &Wait| {
        match rig.decide(&asked, attempt) {
            Decision::Wait(wait) if wait == *want => {}
            decision => panic!("{decision:?} and not {want:?}"),
        }
        rig.worker.wait(1, want.clone(), attempt, rig.now).unwrap();
    };
    let keys = |issuer| Wait::Keys { issuer, newer_than: None };
    wait(&mut rig, Attempt::default(), &keys(0));
    let mut later = Vec::new();
    while let Some(action) = actions.pop() {
        let Action::Call(callout) = action else { continue };
        let body = match (callout.authority.as_str(), callout.path.as_str()) {
            ("groups.example", _) => {
                later.push(callout);
                continue;
            }
            (_, "/keys") => key_set(&["a"]),
            _ => json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys")}).to_string(),
        };
        let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
        actions.extend(rig.worker.answered(callout.id, &answer, rig.now, 0.0));
    }
    let attempt = rig.worker.settled(rig.now)[0].attempt;
    let Decision::Wait(question @ Wait::Groups(_)) = rig.decide(&asked, attempt) else { panic!() };
    wait(&mut rig, attempt, &question);
    for review in rig.worker.unsent_reviews() {
        rig.worker.reviewed(review.id, review.asked, Ok((200, groups.as_bytes())), rig.now);
    }
    let attempt = rig.worker.settled(rig.now)[0].attempt;
    wait(&mut rig, attempt, &keys(1));
    rig.now += Duration::from_secs(3);
    let attempt = rig.worker.settled(rig.now)[0].attempt;
    assert_eq!(refused(rig.decide(&asked, attempt)), (503, "no_keys"));
    assert_eq!(later.len(), 1);
}

/// What a token says becomes a header of the gateway's own request, and Envoy writes such as they are.
#[test]
fn an_access_token_that_would_be_two_headers_goes_nowhere() {
    let mut elsewhere = claims();
    elsewhere.as_object_mut().unwrap().remove("groups");
    elsewhere["_claim_names"] = json!({"groups": "src"});
    elsewhere["_claim_sources"] = json!({"src": {"endpoint": "https://groups.example/jane",
        "access_token": "a\r\nx-admin: true"}});
    let mut rig = Rig::new(json!({"distributedGroups": {"hosts": ["groups.example"]}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert_eq!(refused(rig.present(&token("a", &elsewhere))), (401, "groups"));
    assert!(rig.worker.unsent_reviews().is_empty());
}
