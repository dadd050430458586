//! Group sources that answer badly, late, not at all, or now well and now badly: who is touched, and what is counted.

use std::collections::BTreeMap;

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    sources::{JANE, ask, authorization, groups, of, path, rig, serve},
    *,
};

const FEW: &str = r#"{"value": ["a"]}"#;

fn page(next: &str) -> String {
    let next = format!("https://directory.example{next}");
    json!({"value": ["a"], "next": next}).to_string()
}

/// Why a user was refused.
fn why(decision: Decision) -> String {
    let Decision::Refuse(refusal) = decision else { panic!("{decision:?}") };
    assert_eq!((refusal.reply().code, refusal.keyword()), (503, "group_source"));
    let Refusal::GroupSource { failure, .. } = refusal else { panic!() };
    failure.why
}

/// A page may lead back to the first one, to another before it, or to itself: each time the answer is none, and no page is asked for twice.
#[test]
fn pages_that_lead_back_are_no_answer() {
    let (second, third) = ("/api/users/jane/groups?skip=2", "/api/users/jane/groups?skip=3");
    for (last, back) in [(JANE, JANE), (second, JANE), (second, second), (third, second)] {
        let mut rig = rig(&json!({}), &json!({}));
        let asked = authorization(&of("jane"));
        let asked = bearer(&asked, &[]);
        rig.waits(&asked, Attempt::default());
        let forward = [(JANE, second), (second, third)].map(|(from, to)| (from, page(to)));
        let mut answers = BTreeMap::from(forward);
        answers.insert(last, page(back));
        let answers: Vec<_> =
            answers.iter().map(|(path, body)| (*path, 200, body.as_str())).collect();
        let paths = serve(&mut rig, &answers);
        let way = [JANE, second, third];
        let end = way.iter().position(|path| *path == last).unwrap();
        assert_eq!(paths, way[..=end], "{last} {back}");
        let attempt = rig.settled();
        let why = why(rig.decide(&asked, attempt));
        assert_eq!(why, "its pages lead back to one of them", "{last} {back}");
    }
}

/// The next page is asked of the same server, by the same scheme, at the same port, or not at all.
#[test]
fn no_page_leads_to_another_server() {
    for next in [
        "https://evil.example/api/users/jane/groups?skip=1",
        "https://directory.example.evil.example/",
        "https://directory.example@evil.example/",
        "https://jane:x@directory.example/api",
        "https://directory.example:444/api",
        "https://directory.example:443@evil.example/",
        "http://directory.example/api",
        "//evil.example/api",
        "ftp://directory.example/api",
        "javascript:alert(1)",
        "/api/users/jane/groups?skip=1",
        "https://",
        "https:///api",
        "https://directory.example\\@evil.example/",
        "https://directory.example\t.evil.example/",
        "https://directory.example/a\r\nhost: evil.example",
    ] {
        let mut rig = rig(&json!({}), &json!({}));
        let body = json!({"value": ["a"], "next": next}).to_string();
        let decision = ask(&mut rig, &of("jane"), &[(JANE, 200, &body)]);
        let why = why(decision);
        assert!(why.starts_with("the next page's URL"), "{next}: {why}");
        assert!(rig.lookups().is_empty(), "{next}");
    }
    // The same server, in other words.
    for next in [
        "https://directory.example:443/api/users/jane/groups?skip=1",
        "https://Directory.Example/api/users/jane/groups?skip=1",
    ] {
        let mut rig = rig(&json!({}), &json!({}));
        let body = json!({"value": ["a"], "next": next}).to_string();
        let answers = [(JANE, 200, body.as_str()), ("/api/users/jane/groups?skip=1", 200, FEW)];
        assert_eq!(groups(ask(&mut rig, &of("jane"), &answers)), ["a"], "{next}");
    }
}

/// What says that it is JSON may be none, and what does not may be.
#[test]
fn the_body_counts_and_not_its_type() {
    for (kind, body, is_answer) in [
        ("application/json", "<html></html>", false),
        ("application/json", r#"{"value": ["a""#, false),
        ("application/json", "", false),
        ("text/html", FEW, true),
        ("application/problem+json", FEW, true),
        ("", FEW, true),
    ] {
        let mut rig = rig(&json!({}), &json!({}));
        let asked = authorization(&of("jane"));
        let asked = bearer(&asked, &[]);
        rig.waits(&asked, Attempt::default());
        let callouts = rig.lookups();
        let headers = [("content-type".to_owned(), kind.as_bytes().to_vec())];
        let response = Response { status: 200, headers: &headers, body: body.as_bytes() };
        rig.worker.answered(callouts[0].purpose, Ok(response), rig.now, 0.0);
        let attempt = rig.settled();
        match rig.decide(&asked, attempt) {
            decision if is_answer => assert_eq!(groups(decision), ["a"], "{kind}"),
            decision => assert!(why(decision).contains("not JSON"), "{kind} {body}"),
        }
    }
}

/// What has been counted, by the metric and its labels.
fn count(rig: &mut Rig, counts: &mut BTreeMap<String, i64>) {
    for change in rig.worker.take_metrics() {
        *counts.entry(change.stat).or_default() += change.value;
    }
}

fn counted(counts: &BTreeMap<String, i64>, words: [&str; 2]) -> i64 {
    let fits = |name: &&String| words.iter().all(|word| name.contains(word));
    counts.keys().filter(fits).map(|name| counts[name]).sum()
}

/// A directory that is now up and now down for an hour: a user who is known never waits and is never refused, whoever is not gets in while it
/// is up, and each answer is counted for what it was.
#[test]
fn a_flapping_directory_touches_nobody_who_is_known() {
    let more = json!({"onFailure": {"lastAnswerSeconds": 3600}});
    let mut rig = rig(&more, &json!({"groupCache": {"lifetimeSeconds": 60}}));
    assert_eq!(groups(ask(&mut rig, &of("jane"), &[(JANE, 200, FEW)])), ["a"]);
    let (mut good, mut bad, mut counts) = (1_i64, 0_i64, BTreeMap::new());
    let (mut inside, mut refused) = (0_i64, 0_i64);
    for second in 0..3_000_u64 {
        rig.now = NOW + Duration::from_secs(second);
        let is_up = second % 41 < 15;
        assert_eq!(groups(rig.present(&token("a", &of("jane")))), ["a"], "{second}");
        let user = format!("u{}", second / 10);
        let newcomer = authorization(&of(&user));
        let newcomer = bearer(&newcomer, &[]);
        let waits = match rig.decide(&newcomer, Attempt::default()) {
            Decision::Wait(wait) => {
                rig.worker.wait(1, wait, Attempt::default(), rig.now).unwrap();
                true
            }
            decision => {
                judge(decision, &mut inside, &mut refused);
                false
            }
        };
        for callout in rig.lookups() {
            let answer = if is_up { (200, FEW.as_bytes()) } else { (503, &b""[..]) };
            *(if is_up { &mut good } else { &mut bad }) += 1;
            rig.answer(&callout, Ok(answer));
        }
        if waits {
            let attempt = rig.settled();
            judge(rig.decide(&newcomer, attempt), &mut inside, &mut refused);
        }
        count(&mut rig, &mut counts);
    }
    assert!(good > 50 && bad > 50 && inside > 500, "{good} {bad} {inside}");
    let answers = |result| counted(&counts, ["group_source_answers", result]);
    assert_eq!((answers("ok"), answers("failed")), (good, bad), "{counts:?}");
    assert_eq!(counted(&counts, ["callout_failures", "source"]), bad, "{counts:?}");
    assert_eq!(counted(&counts, ["group_source_users", "refused"]), refused, "{counts:?}");
    assert!(counted(&counts, ["group_source_users", "last"]) > 0, "{counts:?}");
    assert!(bad < 3_000 / 3, "{bad}: it is left alone while it is down");
}

fn judge(decision: Decision, inside: &mut i64, refused: &mut i64) {
    match decision {
        decision @ Decision::Forward(_) => {
            assert_eq!(groups(decision), ["a"]);
            *inside += 1;
        }
        decision => {
            why(decision);
            *refused += 1;
        }
    }
}

/// Answers all that is asked by no answer in time.
fn time_out(rig: &mut Rig) {
    for callout in rig.lookups() {
        rig.worker.answered(callout.purpose, Err(Fault::timeout()), rig.now, 0.0);
    }
}

/// A directory that hangs for one user, or for all as long as nobody else was asked about: the user waits for it once at most.
#[test]
fn who_is_known_waits_once_for_a_directory_that_hangs_for_one() {
    let mut rig = rig(&json!({}), &json!({"groupCache": {"lifetimeSeconds": 60}}));
    for user in ["jane", "bob"] {
        assert_eq!(groups(ask(&mut rig, &of(user), &[(&path(user), 200, FEW)])), ["a"]);
    }
    rig.now += Duration::from_secs(70);
    let asked = [authorization(&of("jane")), authorization(&of("bob"))];
    rig.waits(&bearer(&asked[0], &[]), Attempt::default());
    let callouts = rig.lookups();
    rig.now += Duration::from_secs(20);
    rig.worker.answered(callouts[0].purpose, Err(Fault::timeout()), rig.now, 0.0);
    rig.settled();
    for second in 0..300 {
        rig.now += Duration::from_secs(1);
        assert_eq!(groups(rig.present(&token("a", &of("jane")))), ["a"], "{second}");
        if second % 20 == 19 {
            time_out(&mut rig);
        }
    }
    // Nothing says that it hangs for others.
    rig.waits(&bearer(&asked[1], &[]), Attempt::default());
}

/// A directory that does not answer at all: nobody who is known waits for it, once it is known to be so.
#[test]
fn who_is_known_does_not_wait_for_a_directory_that_hangs() {
    let mut rig = rig(&json!({}), &json!({"groupCache": {"lifetimeSeconds": 60}}));
    let all = ["jane", "carol", "dave", "erin", "bob"];
    for user in all {
        assert_eq!(groups(ask(&mut rig, &of(user), &[(&path(user), 200, FEW)])), ["a"]);
    }
    // The groups of all but Bob are asked for again before their time is over, and this does not come to an end.
    rig.now += Duration::from_secs(50);
    for user in &all[..4] {
        groups(rig.present(&token("a", &of(user))));
    }
    let callouts = rig.lookups();
    assert_eq!(callouts.len(), 4);
    rig.now += Duration::from_secs(20);
    for callout in callouts {
        rig.worker.answered(callout.purpose, Err(Fault::timeout()), rig.now, 0.0);
    }
    for second in 0..600 {
        rig.now += Duration::from_secs(1);
        for user in ["jane", "bob"] {
            assert_eq!(groups(rig.present(&token("a", &of(user)))), ["a"], "{user} {second}");
        }
        // The others are never heard of.
        if second % 20 == 19 {
            time_out(&mut rig);
        } else {
            rig.lookups();
        }
    }
    // It is well again, which is seen soon.
    for second in 0..40 {
        rig.now += Duration::from_secs(1);
        groups(rig.present(&token("a", &of("jane"))));
        for callout in rig.lookups() {
            rig.answer(&callout, Ok((200, br#"{"value": ["b"]}"#)));
        }
        if groups(rig.present(&token("a", &of("jane")))) == ["b"] {
            return;
        }
        assert!(second < 39, "still the old ones");
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
