//! Group sources: whole decisions with a directory that answers well.

mod fairness;
mod hostile;

use serde_json::{Value, json};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const OTHER: &str = "https://other.example";

pub(super) fn source(more: &Value) -> Value {
    let mut source = json!({
        "name": "directory", "issuer": ISSUER, "url": "https://directory.example/api",
        "path": "/users/${claims.sub}/groups?top=2", "groups": "answer.value",
        "pages": {"member": "next"},
    });
    source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    source
}

pub(super) fn with(sources: &[Value], more: &Value) -> Value {
    let mut gateway = json!({"groupSources": sources});
    gateway.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gateway
}

/// A configuration with clusters for its sources.
pub(super) fn sourced(issuers: &[&str], gateway: Value) -> Result<Configuration, String> {
    let mut gateway = gateway;
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let names = gateway["groupSources"].as_array().cloned().unwrap_or_default();
    let clusters: serde_json::Map<_, _> = names
        .iter()
        .map(|it| it["name"].as_str().unwrap_or_default().to_owned())
        .map(|name| (format!("groupSources/{name}"), json!(format!("callout_{name}"))))
        .collect();
    let document = json!({
        "authenticationConfiguration": configuration_json(issuers),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
        "reviewCluster": "review",
        "calloutClusters": clusters,
    });
    Configuration::parse(document.to_string().as_bytes()).map_err(|error| error.to_string())
}

pub(super) fn rig(more: &Value, gateway: &Value) -> Rig {
    let configuration = sourced(&[ISSUER], with(&[source(more)], gateway)).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    rig
}

/// One of several workers of a proxy, which has its keys from the others.
pub(super) fn beside(memory: &Rc<Memory>, id: u64, more: &Value, gateway: &Value) -> Rig {
    let configuration = sourced(&[ISSUER], with(&[source(more)], gateway)).unwrap();
    let mut rig = Rig::beside(Rc::clone(memory), id, "", configuration);
    rig.worker.sync(rig.now);
    rig
}

/// Two of them.
pub(super) fn pair(more: &Value, gateway: &Value) -> (Rig, Rig) {
    let memory = Rc::<Memory>::default();
    let mut first = beside(&memory, 1, more, gateway);
    first.serve(ISSUER, &key_set(&["a"]));
    (first, beside(&memory, 2, more, gateway))
}

/// A token without groups that lives for an hour.
pub(super) fn of(user: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("groups");
    claims["sub"] = json!(user);
    claims["exp"] = json!(NOW.as_secs() + 3600);
    claims
}

pub(super) fn authorization(claims: &Value) -> String {
    format!("Bearer {}", token("a", claims))
}

/// Presents the token, has the directory answer each call by its path, and decides again.
pub(super) fn ask(rig: &mut Rig, claims: &Value, answers: &[(&str, u16, &str)]) -> Decision {
    let asked = authorization(claims);
    let asked = bearer(&asked, &[]);
    rig.waits(&asked, Attempt::default());
    serve(rig, answers);
    let attempt = rig.settled();
    rig.decide(&asked, attempt)
}

/// Answers what is asked, by path, until nothing more is. Gives the paths.
pub(super) fn serve(rig: &mut Rig, answers: &[(&str, u16, &str)]) -> Vec<String> {
    let mut paths = Vec::new();
    loop {
        let callouts = rig.lookups();
        if callouts.is_empty() {
            return paths;
        }
        for callout in callouts {
            let (_, status, body) = answers
                .iter()
                .find(|(path, ..)| *path == callout.path)
                .unwrap_or_else(|| panic!("asked for {}", callout.path));
            rig.answer(&callout, Ok((*status, body.as_bytes())));
            paths.push(callout.path);
            assert!(paths.len() < 200, "no end");
        }
    }
}

pub(super) fn groups(decision: Decision) -> Vec<String> {
    let headers = forwarded(decision).into_iter();
    headers.filter(|(name, _)| name == "impersonate-group").map(|(_, value)| value).collect()
}

pub(super) const JANE: &str = "/api/users/jane/groups?top=2";

/// What is asked about a user.
pub(super) fn path(user: &str) -> String {
    format!("/api/users/{user}/groups?top=2")
}

#[test]
fn a_user_s_groups_come_from_the_source_and_through_every_page() {
    let mut rig = rig(&json!({}), &json!({}));
    let second = "/api/users/jane/groups?top=2&skip=x";
    let first = json!({"value": ["a", "b"], "next": format!("https://directory.example{second}")});
    let answers =
        [(JANE, 200, first.to_string()), (second, 200, json!({"value": ["b", "c"]}).to_string())];
    let answers: Vec<_> =
        answers.iter().map(|(path, code, body)| (*path, *code, body.as_str())).collect();
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    assert!(matches!(rig.waits(&asked, Attempt::default()), Wait::GroupSource(_)));
    let callouts = rig.lookups();
    let [callout] = callouts.as_slice() else { panic!() };
    assert_eq!(
        (callout.cluster.as_str(), callout.authority.as_str(), callout.path.as_str()),
        ("callout_directory", "directory.example", JANE)
    );
    assert_eq!((&callout.authorization, &callout.body), (&None, &None), "Envoy adds it");
    rig.answer(callout, Ok((200, answers[0].2.as_bytes())));
    assert!(rig.ready().is_empty(), "there is another page");
    assert_eq!(serve(&mut rig, &answers), [second]);
    let attempt = rig.settled();
    let outcome = rig.outcome(&asked, attempt);
    let record = outcome.record.clone().unwrap();
    assert!(record.contains("&groups-source=directory&groups-at=1000000"), "{record}");
    assert_eq!(groups(outcome.decision), ["a", "b", "c"]);
    // The next request finds all of it.
    assert_eq!(groups(rig.decide(&asked, Attempt::default())), ["a", "b", "c"]);
    // And another token of the user finds the groups.
    let mut other = of("jane");
    other["jti"] = json!("j2");
    assert_eq!(groups(rig.present(&token("a", &other))), ["a", "b", "c"]);
    assert!(rig.lookups().is_empty());
}

/// `when`: the token's own groups count where the source is not for it.
#[test]
fn a_source_is_asked_for_the_tokens_that_it_is_for() {
    let overflow = json!({"_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://evil.example/me/getMemberObjects"}}});
    for (when, more, is_asked) in [
        ("ClaimAbsent", json!({}), true),
        ("ClaimAbsent", json!({"groups": ["own"]}), false),
        ("ClaimAbsent", json!({"groups": []}), false),
        ("Always", json!({"groups": ["own"]}), true),
        ("Overflow", json!({}), false),
        ("Overflow", json!({"groups": ["own"]}), false),
        ("Overflow", json!({"hasgroups": true}), true),
        ("Overflow", json!({"hasgroups": "true"}), true),
        ("Overflow", json!({"hasgroups": false}), false),
        // The address is nobody's to choose.
        ("Overflow", overflow.clone(), true),
        ("ClaimAbsent", overflow, true),
    ] {
        let mut rig = rig(&json!({"when": when}), &json!({}));
        let mut claims = of("jane");
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        if is_asked {
            let answers = [(JANE, 200, r#"{"value": ["found"]}"#)];
            assert_eq!(groups(ask(&mut rig, &claims, &answers)), ["found"], "{when} {more}");
        } else {
            let decision = rig.present(&token("a", &claims));
            let own: &[&str] = if more["groups"] == json!(["own"]) { &["own"] } else { &[] };
            assert_eq!(groups(decision), own, "{when} {more}");
        }
    }
}

/// Whatever a directory says, a name that is reserved stays reserved, and bounds stay bounds.
#[test]
fn the_guard_and_the_limits_hold_for_groups_of_a_source() {
    let many = json!({"value": (0..1001).map(|n| format!("g{n}")).collect::<Vec<_>>()}).to_string();
    for (body, want) in [
        (r#"{"value": ["system:masters"]}"#, (403, "guard")),
        (r#"{"value": ["a\nb"]}"#, (403, "guard")),
        (&many, (431, "identity_too_large")),
    ] {
        let mut rig = rig(&json!({}), &json!({}));
        let decision = ask(&mut rig, &of("jane"), &[(JANE, 200, body)]);
        assert_eq!(refused(decision), want, "{body}");
    }
}

/// What a token says goes into one place of a request, or nowhere.
#[test]
fn a_claim_does_not_steer_what_is_asked() {
    for user in ["../admin", "a/b", "..", ".", "a\r\nHost: x", "%2e%2e", "a\\b", "a?b", "a;b", ""] {
        let mut rig = rig(&json!({}), &json!({}));
        let decision = rig.present(&token("a", &of(user)));
        assert_eq!(refused(decision), (401, "groups"), "{user:?}");
        assert!(rig.lookups().is_empty(), "{user:?}");
    }
    let mut rig = rig(&json!({}), &json!({}));
    let steered = "/api/users/jane%23top%3D9%26x%40evil.example/groups?top=2";
    let answers = [(steered, 200, r#"{"value": ["a"]}"#)];
    assert_eq!(groups(ask(&mut rig, &of("jane#top=9&x@evil.example"), &answers)), ["a"]);
}

/// The answer has to be about whom was asked: userinfo's `sub` (OpenID Connect Core 1.0, section 5.3.2).
#[test]
fn another_user_s_object_is_no_answer() {
    let userinfo = json!({"provider": "userinfo", "path": "/userinfo", "groups": "", "pages": {}});
    let mut rig = rig(&userinfo, &json!({}));
    let asked = authorization(&of("jane"));
    rig.waits(&bearer(&asked, &[]), Attempt::default());
    let callouts = rig.lookups();
    let [callout] = callouts.as_slice() else { panic!() };
    assert_eq!(callout.authorization.as_deref(), Some(asked.as_str()), "the user's own");
    rig.answer(callout, Ok((200, br#"{"sub": "bob", "groups": ["admins"]}"#)));
    let attempt = rig.settled();
    assert_eq!(refused(rig.decide(&bearer(&asked, &[]), attempt)), (503, "group_source"));
    rig.now += Duration::from_secs(6);
    rig.waits(&bearer(&asked, &[]), Attempt::default());
    let callouts = rig.lookups();
    rig.answer(&callouts[0], Ok((200, br#"{"sub": "jane", "groups": ["dev"]}"#)));
    let attempt = rig.settled();
    assert_eq!(groups(rig.decide(&bearer(&asked, &[]), attempt)), ["dev"]);
}

/// Two issuers may have the same subjects: they are two users.
#[test]
fn equal_subjects_of_two_issuers_are_two_users() {
    let second = source(&json!({"name": "other", "issuer": OTHER}));
    let configuration =
        sourced(&[ISSUER, OTHER], with(&[source(&json!({})), second], &json!({}))).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve_all(&[(ISSUER, &key_set(&["a"])), (OTHER, &key_set(&["a"]))]);
    let mut other = of("jane");
    other["iss"] = json!(OTHER);
    assert_eq!(
        groups(ask(&mut rig, &of("jane"), &[(JANE, 200, r#"{"value": ["admins"]}"#)])),
        ["admins"]
    );
    assert_eq!(
        groups(ask(&mut rig, &other, &[(JANE, 200, r#"{"value": ["guests"]}"#)])),
        ["guests"]
    );
    assert_eq!(groups(rig.present(&token("a", &of("jane")))), ["admins"]);
}

#[test]
fn only_the_groups_that_count_are_kept() {
    let mut rig = rig(&json!({"only": ["k8s-*", "ops"]}), &json!({}));
    let body = r#"{"value": ["k8s-dev", "ops", "ops2", "K8s-x", "staff"]}"#;
    assert_eq!(groups(ask(&mut rig, &of("jane"), &[(JANE, 200, body)])), ["k8s-dev", "ops"]);
}

/// A user with requests never waits for groups again; one who left a group has it no longer than the lifetime.
#[test]
fn groups_are_refreshed_before_they_end_and_end_with_their_lifetime() {
    let lifetime = json!({"groupCache": {"lifetimeSeconds": 100}});
    let mut rig = rig(&json!({}), &lifetime);
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    assert_eq!(groups(ask(&mut rig, &of("jane"), &[(JANE, 200, r#"{"value": ["a"]}"#)])), ["a"]);
    rig.now += Duration::from_secs(74);
    assert_eq!(groups(rig.decide(&asked, Attempt::default())), ["a"]);
    assert!(!rig.worker.has_due_groups(rig.now) && rig.lookups().is_empty(), "too early");
    rig.now += Duration::from_secs(2);
    // Two requests, one question; neither waits.
    for _ in 0..2 {
        assert_eq!(groups(rig.decide(&asked, Attempt::default())), ["a"]);
    }
    assert_eq!(serve(&mut rig, &[(JANE, 200, r#"{"value": ["b"]}"#)]), [JANE]);
    assert_eq!(groups(rig.decide(&asked, Attempt::default())), ["b"], "at once");
    // Nobody asks for who has no requests.
    rig.now += Duration::from_secs(101);
    assert!(rig.lookups().is_empty());
    assert!(matches!(rig.waits(&asked, Attempt::default()), Wait::GroupSource(_)));
}

#[test]
fn what_is_remembered_of_groups_is_bounded_as_configured() {
    let body =
        json!({"value": (0..900).map(|n| format!("{n:064}")).collect::<Vec<_>>()}).to_string();
    for (cache, most) in [
        (json!({"maximumEntries": 3}), 3),
        // An answer of 900 groups is some 79 kB; 68 kB where a pointer has 32 bits.
        (json!({"maximumBytes": 260_000}), 3),
    ] {
        let mut rig = rig(&json!({}), &json!({"groupCache": cache}));
        for number in 0..10 {
            let user = format!("u{number}");
            let path = format!("/api/users/{user}/groups?top=2");
            assert_eq!(groups(ask(&mut rig, &of(&user), &[(&path, 200, &body)])).len(), 900);
        }
        assert_eq!(rig.worker.groups.len(), most, "{cache}");
        assert!(rig.worker.groups.bytes() < 300_000, "{}", rig.worker.groups.bytes());
    }
}
