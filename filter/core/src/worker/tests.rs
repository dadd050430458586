//! Whole decisions: a request's headers in, the identity or the refusal out, keys arriving in between.

use serde_json::{Value, json};

use super::*;
use crate::testing::{FakeVerifier, Memory, configuration_json, key_set, token};

const ISSUER: &str = "https://issuer.example";
const NOW: Duration = Duration::from_secs(1_000_000);

fn configuration(issuers: &[&str], gateway: Value) -> Configuration {
    let mut gateway = gateway;
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let document = json!({
        "authenticationConfiguration": configuration_json(issuers),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
    });
    Configuration::parse(document.to_string().as_bytes()).unwrap()
}

struct Rig {
    memory: Memory,
    worker: Worker,
    now: Duration,
}

impl Rig {
    fn new(gateway: Value) -> Self {
        Self::with(&[ISSUER], gateway)
    }

    fn with(issuers: &[&str], gateway: Value) -> Self {
        let memory = Memory::default();
        let configuration = configuration(issuers, gateway);
        let worker = Worker::new(1, [7; 16], Box::new(FakeVerifier), configuration, &memory);
        Self { memory, worker, now: NOW }
    }

    fn decide(&mut self, headers: &[(&str, &str)], attempt: Attempt) -> Decision {
        let headers: Vec<_> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        self.worker.decide(&RequestHead::read(&headers), attempt, self.now)
    }

    fn present(&mut self, token: &str) -> Decision {
        self.decide(&[("authorization", &format!("Bearer {token}"))], Attempt::First)
    }

    fn present_again(&mut self, token: &str) -> Decision {
        self.decide(&[("authorization", &format!("Bearer {token}"))], Attempt::Waited)
    }

    /// Polls, answers every callout, and returns how many there were.
    fn serve(&mut self, issuer: &str, keys: &str) -> usize {
        let mut actions = self.worker.poll(self.now, 0.0, &self.memory);
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
            actions.extend(self.worker.answered(callout.id, &answer, self.now, 0.0, &self.memory));
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
        Decision::Forward(forward) => {
            forward.plan.headers().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
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
        assert_eq!(refused(rig.decide(&headers, Attempt::First)), want, "{headers:?}");
    }
    let headers = protocols(&good);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let Decision::Forward(forward) = rig.decide(&headers, Attempt::First) else { panic!() };
    assert_eq!(forward.protocols.as_deref(), Some(&b"v4"[..]));
    assert_eq!(forward.plan.user(), "jane");
}

#[test]
fn requests_wait_for_the_first_keys_and_are_served_by_one_fetch() {
    let mut rig = Rig::new(json!({}));
    let token = token("a", &claims());
    for stream in 0..100 {
        let Decision::Wait(wait) = rig.present(&token) else { panic!() };
        rig.worker.wait(stream, wait, rig.now).unwrap();
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
    rig.worker.wait(1, wait, rig.now).unwrap();
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
    rig.worker.wait(1, wait, rig.now).unwrap();
    assert_eq!(rig.serve(ISSUER, &key_set(&["a"])), 1);
    assert_eq!(rig.worker.settled(rig.now).len(), 1);
    assert_eq!(refused(rig.present_again(&unknown)), (401, "verify"));
    assert_eq!(refused(rig.present(&unknown)), (401, "verify"), "no second wait");
    assert_eq!(rig.serve(ISSUER, &key_set(&["a"])), 0);
}

#[test]
fn an_issuer_without_keys_costs_the_others_nothing() {
    let other = "https://sick.example";
    let mut rig = Rig::with(&[ISSUER, other], json!({}));
    let mut sick = claims();
    sick["iss"] = json!(other);
    let sick = token("a", &sick);
    let Decision::Wait(wait) = rig.present(&sick) else { panic!() };
    rig.worker.wait(7, wait, rig.now).unwrap();
    for action in rig.worker.poll(rig.now, 0.0, &rig.memory) {
        let Action::Call(callout) = action else { continue };
        if callout.authority == "sick.example" {
            let failed = Answer::Failed("refused");
            rig.worker.answered(callout.id, &failed, rig.now, 0.0, &rig.memory);
        } else {
            let body =
                json!({"issuer": ISSUER, "jwks_uri": "https://issuer.example/k"}).to_string();
            let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
            let Some(Action::Call(keys)) =
                rig.worker.answered(callout.id, &answer, rig.now, 0.0, &rig.memory)
            else {
                panic!()
            };
            let body = key_set(&["a"]);
            let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
            rig.worker.answered(keys.id, &answer, rig.now, 0.0, &rig.memory);
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
        rig.worker.wait(stream, wait, rig.now).unwrap();
    }
    let refusal = rig.worker.wait(3, wait, rig.now).unwrap_err();
    assert_eq!((refusal.answer().code, refusal.keyword()), (503, "too_many_waiting"));
    assert!(!rig.worker.poll(rig.now, 0.0, &rig.memory).is_empty());
    rig.now += Duration::from_secs(3);
    assert_eq!(rig.worker.settled(rig.now).len(), 2);
    assert_eq!(refused(rig.present_again(&token)), (503, "no_keys"));
}

#[test]
fn a_reload_keeps_keys_and_what_waits_for_issuers_that_stay() {
    let (gone, stays, new) = ("https://gone.example", ISSUER, "https://new.example");
    let mut rig = Rig::with(&[gone, stays], json!({}));
    let wait = |issuer| Wait { issuer, newer_than: None };
    rig.worker.wait(1, wait(0), rig.now).unwrap();
    rig.worker.wait(2, wait(1), rig.now).unwrap();
    let actions = rig.worker.poll(rig.now, 0.0, &rig.memory);
    assert_eq!(actions.len(), 2);
    rig.worker.reconfigure(configuration(&[new, stays, gone], json!({})), &rig.memory);
    rig.worker.reconfigure(configuration(&[new, stays], json!({})), &rig.memory);
    let settled: Vec<_> = rig.worker.settled(rig.now).iter().map(|w| w.stream).collect();
    assert_eq!(settled, [1], "its issuer is gone");
    let Some(Action::Call(callout)) = actions.into_iter().next_back() else { panic!() };
    let body = json!({"issuer": ISSUER, "jwks_uri": "https://issuer.example/k"}).to_string();
    let answer = Answer::Response { status: 200, headers: &[], body: body.as_bytes() };
    let next = rig.worker.answered(callout.id, &answer, rig.now, 0.0, &rig.memory);
    assert!(matches!(next, Some(Action::Call(_))), "the callout under way still counts");
}
