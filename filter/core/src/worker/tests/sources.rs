//! Group sources: whole decisions with a directory that answers well, badly, late or not at all.

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

/// Nothing that goes wrong lets a user in without groups, or with another's.
#[test]
fn groups_that_cannot_be_had_refuse_the_user() {
    let page = |next: &str| json!({"value": ["a"], "next": next}).to_string();
    let many = json!({"value": vec!["g"; 10_001]}).to_string();
    let long = json!({"value": ["g".repeat(1025)]}).to_string();
    let big = format!("{{\"value\": [\"a\"], \"x\": \"{}\"}}", "x".repeat(1 << 20));
    for (status, body, cause) in [
        (500, "", Cause::Envoy),
        (401, "", Cause::HttpStatus),
        (404, "{}", Cause::HttpStatus),
        (302, "", Cause::Redirect),
        (200, "<html>Please log in</html>", Cause::Document),
        (200, "", Cause::Document),
        (200, "{}", Cause::Document),
        (200, r#"{"value": "admin"}"#, Cause::Document),
        (200, r#"{"value": [1]}"#, Cause::Document),
        (200, r#"{"value": null}"#, Cause::Document),
        (200, &many, Cause::Document),
        (200, &long, Cause::Document),
        (200, &big, Cause::TooLarge),
        // The same page again, another server, no URL, and not by TLS.
        (200, &page("https://directory.example/api/users/jane/groups?top=2"), Cause::Document),
        (200, &page("https://evil.example/api/users/jane/groups"), Cause::Url),
        (200, &page("https://directory.example@evil.example/"), Cause::Url),
        (200, &page("https://directory.example:8443/"), Cause::Url),
        (200, &page("//evil.example/"), Cause::Url),
        (200, &page("http://directory.example/api/users/jane/groups?skip=1"), Cause::Url),
    ] {
        let mut rig = rig(&json!({}), &json!({}));
        let decision = ask(&mut rig, &of("jane"), &[(JANE, status, body)]);
        let Decision::Refuse(refusal) = decision else { panic!("{status} {body}: {decision:?}") };
        let reply = refusal.reply();
        assert_eq!((reply.code, refusal.keyword()), (503, "group_source"), "{body}");
        assert!(reply.retry_after.is_some_and(|it| it >= 1), "{reply:?}");
        let Refusal::GroupSource { failure, .. } = refusal else { panic!() };
        assert_eq!(failure.cause, cause, "{body}: {failure:?}");
        assert!(!reply.body.contains("evil.example"), "{reply:?}");
    }
}

/// Pages without end are no answer.
#[test]
fn pages_are_bounded() {
    let mut rig = rig(&json!({"maximumPages": 3}), &json!({}));
    let asked = authorization(&of("jane"));
    rig.waits(&bearer(&asked, &[]), Attempt::default());
    for number in 0..3 {
        let callouts = rig.lookups();
        let [callout] = callouts.as_slice() else { panic!("{number}") };
        let next = format!("https://directory.example/api/users/jane/groups?skip={number}");
        let page = json!({"value": ["a"], "next": next}).to_string();
        rig.answer(callout, Ok((200, page.as_bytes())));
    }
    assert!(rig.lookups().is_empty(), "a fourth page is not asked for");
    let attempt = rig.settled();
    let decision = rig.decide(&bearer(&asked, &[]), attempt);
    let Decision::Refuse(Refusal::GroupSource { failure, .. }) = decision else { panic!() };
    assert_eq!(failure.why, "more than maximumPages, 3");
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
    for user in ["../admin", "a/b", "..", ".", "a\r\nHost: x", "%2e%2e", "a\\b", ""] {
        let mut rig = rig(&json!({}), &json!({}));
        let decision = rig.present(&token("a", &of(user)));
        assert_eq!(refused(decision), (401, "groups"), "{user:?}");
        assert!(rig.lookups().is_empty(), "{user:?}");
    }
    let mut rig = rig(&json!({}), &json!({}));
    let steered = "/api/users/jane%3Ftop%3D9%23%26x%40evil.example/groups?top=2";
    let answers = [(steered, 200, r#"{"value": ["a"]}"#)];
    assert_eq!(groups(ask(&mut rig, &of("jane?top=9#&x@evil.example"), &answers)), ["a"]);
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
    assert!(rig.lookups().is_empty(), "too early");
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

/// A directory that is down touches only users who were not known, for as long as the configuration says.
#[test]
fn the_last_answer_counts_for_a_bounded_time() {
    let more = json!({"onFailure": {"lastAnswerSeconds": 600}});
    let mut rig = rig(&more, &json!({"groupCache": {"lifetimeSeconds": 100}}));
    let answers = [(JANE, 200, r#"{"value": ["a"]}"#)];
    assert_eq!(groups(ask(&mut rig, &of("jane"), &answers)), ["a"]);
    rig.now += Duration::from_secs(150);
    assert_eq!(groups(ask(&mut rig, &of("jane"), &[(JANE, 503, "")])), ["a"], "the last answer");
    // Bob is not known, and learns at once why.
    let decision = rig.present(&token("a", &of("bob")));
    assert_eq!(refused(decision), (503, "group_source"));
    assert!(rig.lookups().is_empty(), "the directory is left alone for a while");
    // Jane is known, and does not wait for what may be down still.
    rig.now += Duration::from_secs(31);
    assert_eq!(groups(rig.present(&token("a", &of("jane")))), ["a"], "at once");
    assert_eq!(serve(&mut rig, &[(JANE, 503, "")]), [JANE]);
    rig.now += Duration::from_secs(520);
    let decision = ask(&mut rig, &of("jane"), &[(JANE, 503, "")]);
    assert_eq!(refused(decision), (503, "group_source"), "that was the bounded time");

    // Nor does it count at all where it is not to.
    let never = json!({"onFailure": {"lastAnswerSeconds": 0}});
    let mut rig = self::rig(&never, &json!({"groupCache": {"lifetimeSeconds": 100}}));
    ask(&mut rig, &of("jane"), &answers);
    rig.now += Duration::from_secs(101);
    assert_eq!(refused(ask(&mut rig, &of("jane"), &[(JANE, 503, "")])), (503, "group_source"));
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

/// `Retry-After` of a directory that asks for quiet.
#[test]
fn a_directory_that_asks_for_quiet_has_it() {
    let mut rig = rig(&json!({}), &json!({}));
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    rig.waits(&asked, Attempt::default());
    let callouts = rig.lookups();
    let headers = [("retry-after".to_owned(), b"17".to_vec())];
    let response = Response { status: 429, headers: &headers, body: b"" };
    rig.worker.answered(callouts[0].purpose, Ok(response), rig.now, 0.0);
    let attempt = rig.settled();
    let Decision::Refuse(refusal) = rig.decide(&asked, attempt) else { panic!() };
    assert_eq!(refusal.reply().retry_after, Some(17));
    rig.now += Duration::from_secs(10);
    let Decision::Refuse(refusal) = rig.present(&token("a", &of("bob"))) else { panic!() };
    assert_eq!(refusal.reply().retry_after, Some(7));
    assert!(rig.lookups().is_empty());
    rig.now += Duration::from_secs(8);
    assert_eq!(groups(ask(&mut rig, &of("jane"), &[(JANE, 200, r#"{"value": ["a"]}"#)])), ["a"]);
}

/// A directory that never answers: requests wait as for keys, and are told.
#[test]
fn who_waits_for_a_slow_directory_is_told_in_time() {
    let mut rig = rig(&json!({"timeoutSeconds": 60}), &json!({"limits": {"waitSeconds": 3}}));
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    rig.waits(&asked, Attempt::default());
    let callouts = rig.lookups();
    assert_eq!(callouts[0].timeout, Duration::from_secs(60));
    rig.now += Duration::from_secs(3);
    let attempt = rig.settled();
    assert_eq!(refused(rig.decide(&asked, attempt)), (503, "group_source"));
    // The answer serves the next one.
    rig.answer(&callouts[0], Ok((200, br#"{"value": ["a"]}"#)));
    assert_eq!(groups(rig.decide(&asked, Attempt::default())), ["a"]);
}

#[test]
fn sources_are_strict_and_every_error_names_its_field() {
    for (sources, want) in [
        (vec![source(&json!({}))], None),
        (vec![source(&json!({"name": "A"}))], Some("groupSources[0].name: ")),
        (vec![source(&json!({})), source(&json!({}))], Some("groupSources[1].name: ")),
        (vec![source(&json!({"issuer": "https://x.example"}))], Some("groupSources[0].issuer: ")),
        (vec![source(&json!({"url": "http://directory.example"}))], Some("groupSources[0].url: ")),
        (vec![source(&json!({"path": "x"}))], Some("groupSources[0].path: ")),
        (vec![source(&json!({"path": ""}))], Some("groupSources[0].path: ")),
        (vec![source(&json!({"body": "{"}))], Some("groupSources[0].body: ")),
        (vec![source(&json!({"groups": "claims."}))], Some("groupSources[0].groups: ")),
        (vec![source(&json!({"groups": "'a'"}))], Some("groupSources[0].groups: ")),
        (vec![source(&json!({"check": "'a'"}))], Some("groupSources[0].check: ")),
        (vec![source(&json!({"claim": "roles"}))], Some("groupSources[0].claim: ")),
        (vec![source(&json!({"maximumPages": 0}))], Some("groupSources[0].maximumPages: ")),
        (
            vec![source(&json!({"onFailure": {"lastAnswerSeconds": 86401}}))],
            Some("groupSources[0].onFailure.lastAnswerSeconds: "),
        ),
        (
            vec![source(&json!({"credential": {"bearerTokenFile": "t"}}))],
            Some("groupSources[0].credential.bearerTokenFile: "),
        ),
        (
            vec![source(&json!({"sendToken": true, "credential": {"bearerTokenFile": "/t"}}))],
            Some("groupSources[0].credential: "),
        ),
        (vec![source(&json!({"pages": {"parameter": "p"}}))], Some("groupSources[0].pages: ")),
        (vec![source(&json!({"uri": "x"}))], Some("unknown field `uri`")),
    ] {
        match (sourced(&[ISSUER], with(&sources, &json!({}))), want) {
            (Ok(_), None) => {}
            (Err(got), Some(want)) => assert!(got.contains(want), "{got} / {want}"),
            (got, want) => panic!("{sources:?}: {got:?} / {want:?}"),
        }
    }
}

/// The providers' own forms, as their documentation has them.
#[test]
fn each_provider_is_asked_in_its_own_form() {
    let graph = json!({"@odata.nextLink": null, "value": [
        {"@odata.type": "#microsoft.graph.group", "id": "1", "displayName": "Ops"},
        {"@odata.type": "#microsoft.graph.directoryRole", "id": "2", "displayName": "Admin"},
    ]});
    let keycloak = json!([{"id": "1", "name": "ops", "path": "/it/ops"}]);
    let okta = json!([{"id": "00g1", "profile": {"name": "Ops"}}]);
    let google = json!({"kind": "admin#directory#groups", "groups": [{"id": "1", "email": "ops@a.example"}]});
    for (provider, value, path, answer, want) in [
        (
            "entra",
            "names",
            "/v1.0/users/oid-1/transitiveMemberOf?$select=id,displayName&$top=999",
            &graph,
            vec!["Ops"],
        ),
        (
            "entra",
            "ids",
            "/v1.0/users/oid-1/transitiveMemberOf?$select=id,displayName&$top=999",
            &graph,
            vec!["1"],
        ),
        ("keycloak", "names", "/admin/realms/k8s/users/jane/groups", &keycloak, vec!["/it/ops"]),
        ("okta", "names", "/api/v1/users/jane/groups?limit=200", &okta, vec!["Ops"]),
        ("okta", "ids", "/api/v1/users/jane/groups?limit=200", &okta, vec!["00g1"]),
        (
            "google",
            "names",
            "/admin/directory/v1/groups?userKey=jane&maxResults=200",
            &google,
            vec!["ops@a.example"],
        ),
        (
            "google",
            "names",
            "/admin/directory/v1/groups?userKey=jane&maxResults=200",
            &json!({"kind": "x"}),
            vec![],
        ),
    ] {
        let issuer = "https://issuer.example/realms/k8s";
        let source = json!({"name": "it", "issuer": issuer, "provider": provider, "value": value,
            "url": "https://directory.example"});
        let mut document = with(&[source], &json!({}));
        document["limits"] = json!({});
        let configuration = sourced(&[issuer], document).unwrap();
        let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
        rig.poll();
        while let Some(callout) = rig.fetches.pop() {
            let body = if callout.path.ends_with("openid-configuration") {
                json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string()
            } else {
                key_set(&["a"])
            };
            rig.answer(&callout, Ok((200, body.as_bytes())));
        }
        let mut claims = of("jane");
        claims["iss"] = json!(issuer);
        claims["oid"] = json!("oid-1");
        let got = groups(ask(&mut rig, &claims, &[(path, 200, &answer.to_string())]));
        assert_eq!(got, want, "{provider} {value}");
    }
}
