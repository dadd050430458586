//! Directories that answer with something else than was asked for, now well and now badly, or not at all.

use std::{
    thread,
    time::{Duration, Instant},
};

use oidc_provider::{Answer as Bad, Endpoint, Misbehaviour};
use serde_json::{Value, json};

use super::Rig;
use crate::{harness::until, wire::Answer};

/// A page in Graph's form, of a group with which a user may read pods.
fn page(next: Option<&str>) -> Value {
    let group = json!({"@odata.type": "#microsoft.graph.group", "id": "1", "displayName": "system:viewers"});
    let mut page = json!({"value": [group]});
    if let Some(next) = next {
        page["@odata.nextLink"] = json!(next);
    }
    page
}

fn body(content_type: &str, body: &impl ToString) -> Misbehaviour {
    Misbehaviour::answer(Bad::Body {
        status: 200,
        content_type: content_type.to_owned(),
        body: body.to_string(),
    })
}

fn assert_refused(rig: &Rig, answer: &Answer, case: &str, why: &str) {
    assert_eq!(answer.status, 503, "{case}: {answer:?}");
    let seconds: u64 = answer.header("retry-after").unwrap_or_default().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{case}: {answer:?}");
    assert!(answer.body.contains("the groups of this user"), "{case}: {answer:?}");
    let line = rig.logged(answer);
    assert!(line.contains("group_source") && line.contains(why), "{case}: {line}");
}

/// A next page is one of the same server, and another one than those before.
#[test]
fn a_next_page_is_another_one_of_the_same_server() {
    let rig = Rig::start("entra", &json!({"when": "ClaimAbsent"}), &json!({}));
    rig.passes(&rig.token("many"));
    let directory = rig.issuer().endpoint(Endpoint::Directory);
    let (_, rest) = directory.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (host, port) = authority.rsplit_once(':').unwrap();
    let first = |user: &str| {
        format!("{directory}/v1.0/users/{user}/transitiveMemberOf?$select=id,displayName&$top=999")
    };
    let (back, url) = ("its pages lead back to one of them", "the next page's URL");
    for (case, next, pages, why) in [
        ("itself", None, 1, back),
        ("a page that leads to itself", Some(format!("{directory}/v1.0/x?$skiptoken=1")), 2, back),
        ("another host", Some(format!("https://localhost:{port}/{path}/v1.0")), 1, url),
        ("another port", Some(format!("https://{host}:1/{path}/v1.0")), 1, url),
        ("another scheme", Some(format!("http://{authority}/{path}/v1.0")), 1, url),
        ("userinfo", Some(format!("https://a:b@{authority}/{path}/v1.0")), 1, url),
        ("a host in the userinfo", Some(format!("https://{authority}@localhost/")), 1, url),
        ("no scheme", Some(format!("//{authority}/{path}/v1.0")), 1, url),
        ("no host", Some(format!("/{path}/v1.0")), 1, url),
        ("no URL", Some("next".to_owned()), 1, url),
    ] {
        let name = rig.newcomer_named();
        let next = next.unwrap_or_else(|| first(&name));
        let answer = body("application/json", &page(Some(&next)));
        rig.issuer().misbehave(Endpoint::Directory, answer).unwrap();
        let asked = rig.asked();
        let refused = rig.ask(&rig.token(&name));
        assert_refused(&rig, &refused, case, why);
        assert!(!refused.body.contains(host), "{case}: {refused:?}");
        assert_eq!(rig.asked() - asked, pages, "{case}");
        rig.issuer().behave();
        rig.passes(&rig.token(&name));
    }
}

/// What is no answer is none, whatever it is called, and what is one counts, whatever it is called.
#[test]
fn the_body_decides_what_an_answer_is() {
    let rig = Rig::start("entra", &json!({"when": "ClaimAbsent"}), &json!({}));
    rig.passes(&rig.token("many"));
    let good = page(None).to_string();
    let half = &good[..good.len() / 2];
    let json = "application/json";
    for (case, answer, why) in [
        ("a web page", Misbehaviour::answer(Bad::Html), "the answer is not JSON"),
        ("a web page that is called JSON", body(json, &"<html></html>"), "the answer is not JSON"),
        ("half of an answer", body(json, &half), "the answer is not JSON"),
        ("an answer that is cut", Misbehaviour::answer(Bad::Truncated), "the answer"),
        ("nothing", body(json, &""), "the answer is not JSON"),
        ("two answers", body(json, &format!("{good}{good}")), "the answer is not JSON"),
        ("a list", body(json, &json!([])), "groups:"),
        ("an error with 200", body(json, &json!({"error": {"code": "x"}})), "groups:"),
        (
            "a group without a name",
            body(json, &json!({"value": [{"@odata.type": "#microsoft.graph.group"}]})),
            "groups:",
        ),
        ("3 MiB", Misbehaviour::answer(Bad::HugeMib(3)), "its answer is too large"),
    ] {
        let token = rig.newcomer();
        rig.issuer().misbehave(Endpoint::Directory, answer).unwrap();
        assert_refused(&rig, &rig.ask(&token), case, why);
        rig.issuer().behave();
        rig.passes(&token);
    }
    for kind in ["text/html", "application/octet-stream", "application/json;odata.metadata=minimal"]
    {
        let token = rig.newcomer();
        rig.issuer().misbehave(Endpoint::Directory, body(kind, &good)).unwrap();
        assert_eq!(rig.ask(&token).status, 200, "{kind}");
        rig.issuer().behave();
    }
}

/// A directory, or a cache before it, gives one user's answer to another.
#[test]
fn another_user_s_object_is_no_answer() {
    let more = json!({
        "path": "/v1.0/users/${claims.oid}/transitiveMemberOf",
        "groups": "answer.groups", "check": "answer.person == claims.oid",
    });
    let rig = Rig::start("http", &more, &json!({}));
    let answer = |person: &str| {
        let object = json!({"person": person, "groups": ["system:viewers"]});
        rig.issuer().misbehave(Endpoint::Directory, body("application/json", &object)).unwrap();
    };
    let (jane, bob) = (rig.newcomer_named(), rig.newcomer_named());
    // Envoy has its first token for the directory once somebody passes.
    answer(&bob);
    rig.passes(&rig.token(&bob));
    let refused = rig.ask(&rig.token(&jane));
    assert_refused(&rig, &refused, "bob's object", "the answer is about somebody else");
    answer("");
    let third = rig.newcomer();
    assert_refused(&rig, &rig.ask(&third), "nobody's object", "the answer is about somebody else");
    answer(&jane);
    rig.passes(&rig.token(&jane));
}

/// A user of more pages than are followed.
#[test]
fn pages_without_end_are_not_followed() {
    let more = json!({
        "when": "ClaimAbsent", "path": "/v1.0/users/${claims.oid}/transitiveMemberOf?$top=1",
    });
    let rig = Rig::start("entra", &more, &json!({}));
    rig.passes(&rig.newcomer());
    let asked = rig.asked();
    let refused = rig.ask(&rig.token("many"));
    assert_refused(&rig, &refused, "a thousand pages", "more than maximumPages, 20");
    assert_eq!(rig.asked() - asked, 20);
}

/// Every second request to the directory fails: who is known has no part in it, and each answer is counted.
#[test]
fn a_flapping_directory_touches_nobody_who_is_known() {
    let rig = Rig::start(
        "entra",
        &json!({"when": "ClaimAbsent", "onFailure": {"lastAnswerSeconds": 600}}),
        &json!({"groupCache": {"lifetimeSeconds": 5}}),
    );
    let known = rig.newcomer();
    rig.passes(&known);
    let counted = |words| rig.counted(words);
    let (answers, failures) =
        (["group_source_answers", "directory"], ["callout_failures", "source"]);
    let (failed, told) = (["group_source_answers", "failed"], ["group_source_users", "refused"]);
    // Each worker tells what it counted at its next tick.
    until("what was asked is counted", || (counted(answers) == rig.asked()).then_some(()));
    let before = [answers, failed, failures, told].map(counted);
    let asked = rig.asked();
    let flapping = Misbehaviour::answer(Bad::Status(503)).every(2);
    rig.issuer().misbehave(Endpoint::Directory, flapping).unwrap();
    let (mut inside, mut refused) = (0, 0);
    let mut newcomer = rig.newcomer();
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let answer = rig.ask(&known);
        assert_eq!(answer.status, 200, "{answer:?}");
        match rig.ask(&newcomer) {
            Answer { status: 200, .. } => {
                inside += 1;
                newcomer = rig.newcomer();
            }
            answer => {
                assert_refused(&rig, &answer, "a newcomer", "");
                refused += 1;
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(inside > 0 && refused > 0, "{inside} {refused}");
    rig.issuer().behave();
    // Also what was under way until now.
    until("all is counted", || {
        let now = [answers, failed, failures, told].map(counted);
        let [all, failed, failures, told] = [0, 1, 2, 3].map(|at| now[at] - before[at]);
        let is_all = (all, failures, told) == (rig.asked() - asked, failed, refused) && failed > 0;
        if is_all { Ok(()) } else { Err(format!("{now:?} after {before:?}, {refused}")) }
    });
}

/// A user with requests has new groups in time, and waits for none of them, however slow the directory is.
#[test]
fn a_user_with_requests_does_not_wait_for_a_refresh() {
    let rig = Rig::start(
        "entra",
        &json!({"when": "ClaimAbsent"}),
        // A quarter of it is for a tick of the filter, and for two slow pages.
        &json!({"groupCache": {"lifetimeSeconds": 12}}),
    );
    let known = rig.token("many");
    rig.passes(&known);
    let slow = Misbehaviour::delay(Duration::from_millis(600));
    rig.issuer().misbehave(Endpoint::Directory, slow).unwrap();
    // Requests that waited for groups.
    let fetched = || rig.counted(["group_source_users", "fetched"]);
    until("the first is counted", || (fetched() == 1).then_some(()));
    let asked = rig.asked();
    let end = Instant::now() + Duration::from_secs(30);
    // Two lifetimes, with two pages each.
    while rig.asked() - asked < 4 {
        assert!(Instant::now() < end, "{}", rig.asked() - asked);
        assert_eq!(rig.ask(&known).status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    // Also while the last page is on its way.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        assert_eq!(rig.ask(&known).status, 200);
    }
    assert_eq!((fetched(), rig.counted(["group_source_users", "last"])), (1, 0));
}

/// Nobody who is known waits for a directory that hangs.
#[test]
fn a_directory_that_hangs_delays_nobody_who_is_known() {
    let rig = Rig::start(
        "entra",
        &json!({"when": "ClaimAbsent", "timeoutSeconds": 2}),
        &json!({"groupCache": {"lifetimeSeconds": 5}}),
    );
    // So many that one of two workers is told of half of its last answers that they failed.
    let known: Vec<_> = (0..8).map(|_| rig.newcomer()).collect();
    for token in &known {
        rig.passes(token);
    }
    rig.issuer().misbehave(Endpoint::Directory, Misbehaviour::answer(Bad::Hang)).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut longest = Duration::ZERO;
    while Instant::now() < end {
        for token in &known {
            let start = Instant::now();
            assert_eq!(rig.ask(token).status, 200);
            longest = longest.max(start.elapsed());
        }
        thread::sleep(Duration::from_millis(50));
    }
    // Less than the directory is waited for.
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
    assert!(rig.counted(["group_source_answers", "failed"]) > 0);
}
