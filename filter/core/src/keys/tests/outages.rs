//! Issuers that do not answer, or answer badly, and what becomes of their keys.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn an_issuer_that_never_answered_is_asked_ever_more_rarely() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert!(issuer.fetch(FetchReason::Due, &rig.step(1)).is_some());
        issuer.answered(Ok(upstream(503, "")), &rig.step(1));
        let KeyState::Missing { reason, cause, retry_after } = issuer.state(rig.now) else {
            panic!()
        };
        assert_eq!((reason.as_str(), cause), ("discovery: HTTP 503", Some(Cause::HttpStatus)));
        assert_eq!(issuer.fetch(FetchReason::Due, &rig.step(1)), None, "before it is due");
        waits.push(retry_after.as_secs());
        rig.now += retry_after;
        assert!(matches!(issuer.state(rig.now), KeyState::Pending));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
}

/// istio/istio#58101: an outage made good keys disappear.
#[test]
fn the_last_good_keys_outlive_any_outage_and_any_bad_answer() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
    let wrong_issuer = discovery_document().replace("issuer.example\",", "other.example\",");
    let huge = " ".repeat(2 << 20);
    let odd = r#"{"keys":[{"kty":"EC","crv":"secp256k1","kid":"x"}]}"#;
    for bad in [
        Err(Fault::broken_off()),
        Ok(upstream(500, "")),
        Ok(upstream(302, "")),
        Ok(Response { status: 503, headers: &[], body: b"no healthy upstream" }),
        Ok(ok("<html>maintenance</html>")),
        Ok(ok(r#"{"keys":[]}"#)),
        Ok(ok(odd)),
        Ok(ok(&huge)),
        Ok(ok(&wrong_issuer)),
        Ok(ok(r#"{"keys":[{"kty":"RSA","#)),
    ] {
        rig.now = rig.now.max(issuer.due());
        let Some(Action::Call(_)) = issuer.fetch(FetchReason::Due, &rig.step(1)) else {
            panic!("{bad:?}")
        };
        let action = issuer.answered(bad.clone(), &rig.step(1));
        assert!(matches!(action, Some(Action::Broadcast { error: Some(_), .. })), "{bad:?}");
        assert_eq!(kids(&issuer, rig.now), ["a"], "{bad:?}");
    }
    // After the first failure the next try starts from discovery again: the key set may have moved.
    assert_eq!(issuer.record.jwks_uri(), None);
    rig.now = issuer.due();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["b"])));
    assert_eq!(kids(&issuer, rig.now), ["b"], "a removed key is gone with the refresh");
}

/// An issuer that answers `status` with `body` wherever it is asked, from one fetch to the next, for so many seconds. Then the
/// keys that are left, and the last answer.
fn bad_for(
    rig: &mut Rig,
    issuer: &mut IssuerKeys,
    seconds: u64,
    (status, body): (u16, &str),
) -> (Vec<String>, Action) {
    let end = rig.now + Duration::from_secs(seconds);
    let mut last = None;
    while issuer.due() <= end {
        assert!(last.is_none() || issuer.due() > rig.now, "a fetch at once after a failed one");
        rig.now = issuer.due();
        let mut next = issuer.fetch(FetchReason::Due, &rig.step(1));
        while let Some(Action::Call(callout)) = &next {
            let document = discovery_document();
            // An empty key set comes after a good discovery document.
            let discovered = status == 200 && callout.path.contains("well-known");
            let body = if discovered { &document } else { body };
            let answer = match status {
                0 => Err(Fault::broken_off()),
                status => Ok(upstream(status, body)),
            };
            next = issuer.answered(answer, &rig.step(1));
        }
        last = next;
    }
    rig.now = end;
    (kids(issuer, end), last.expect("a fetch was due"))
}

/// A realm that was deleted kept its keys for ever. What merely cannot be reached keeps them.
#[test]
fn break_in_13_keys_end_whose_issuer_says_that_it_has_none() {
    for (answer, why) in [
        ((404, ""), "discovery: HTTP 404"),
        ((410, ""), "discovery: HTTP 410"),
        ((200, r#"{"keys":[]}"#), "key set: no usable key"),
        (
            (200, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
            "key set: no usable key; not used: keys[0]: symmetric key",
        ),
    ] {
        let mut rig = Rig::new();
        let mut issuer = rig.issuer();
        assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
        let mut other = rig.issuer();
        let epoch = issuer.epoch();
        rig.pass(300);
        let (left, last) = bad_for(&mut rig, &mut issuer, 3599, answer);
        assert_eq!(left, ["a"], "{why}");
        let cause = if answer.0 == 200 { Cause::NoUsableKey } else { Cause::HttpStatus };
        assert_eq!(last, fetched(Some((cause, why))));
        // The fetch that ends them comes when they end, and not at the next turn of the retries.
        let (left, last) = bad_for(&mut rig, &mut issuer, 1, answer);
        assert!(left.is_empty(), "{why}");
        let why = format!("{why}; the last keys ended by keySets.maximumWithdrawnSeconds");
        let lost = Action::Broadcast {
            issuer: ISSUER.to_owned(),
            error: Some((cause, why.clone())),
            lost: true,
            skipped: Vec::new(),
            alternates: false,
        };
        assert_eq!(last, lost);
        assert!(issuer.epoch() > epoch, "what they verified ends with them");
        assert_eq!(issuer.figures().0, 0);
        let KeyState::Missing { reason, retry_after, .. } = issuer.state(rig.now) else { panic!() };
        assert_eq!((reason, retry_after.as_secs()), (why, 30));
        other.sync(rig.now, &rig.memory);
        assert!(other.epoch() > epoch && kids(&other, rig.now).is_empty(), "every worker's");
        rig.pass(30);
        assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["b"])));
        assert_eq!(kids(&issuer, rig.now), ["b"]);
        // The next time begins anew.
        rig.pass(300);
        assert_eq!(bad_for(&mut rig, &mut issuer, 3000, answer).0, ["b"]);
    }
}

#[test]
fn only_bounds_that_are_set_end_keys() {
    const DAY: u64 = 86_400;
    let reset = (0, "");
    let gone = (404, "");
    for (withdrawn, outage, answer, seconds, ends) in [
        (3600, 0, reset, 30 * DAY, false),
        (3600, 0, (503, ""), 30 * DAY, false),
        (3600, 0, (200, "<html>"), 30 * DAY, false),
        (0, 0, gone, 30 * DAY, false),
        (0, 600, gone, 600, true),
        (3600, 600, reset, 599, false),
        (3600, 600, reset, 600, true),
        (60, 0, gone, 60, true),
    ] {
        let mut rig = Rig::new();
        rig.policy.maximum_withdrawn_seconds = withdrawn;
        rig.policy.maximum_outage_seconds = outage;
        let mut issuer = rig.issuer();
        assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
        rig.pass(300);
        let (left, _) = bad_for(&mut rig, &mut issuer, seconds, answer);
        assert_eq!(left.is_empty(), ends, "{withdrawn} {outage} {answer:?} {seconds}");
    }
}

/// An outage that follows says nothing: the keys wait for the issuer's next word.
#[test]
fn an_outage_after_a_withdrawal_keeps_the_keys_until_the_issuer_answers() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a"])));
    rig.pass(300);
    assert_eq!(bad_for(&mut rig, &mut issuer, 600, (404, "")).0, ["a"]);
    assert_eq!(bad_for(&mut rig, &mut issuer, 7200, (0, "")).0, ["a"]);
    assert!(bad_for(&mut rig, &mut issuer, 300, (404, "")).0.is_empty());
}

/// What every worker reports is the same, and what is over is taken back, also by a worker that began after it.
#[test]
fn the_cause_of_a_failure_is_shared_and_ends_with_it() {
    let mut rig = Rig::new();
    let (mut one, mut two) = (rig.issuer(), rig.issuer());
    let refused = b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused";
    for body in [&b"no healthy upstream"[..], refused] {
        rig.now = rig.now.max(one.due());
        assert!(one.fetch(FetchReason::Due, &rig.step(1)).is_some());
        one.answered(Ok(Response { status: 503, headers: &[], body }), &rig.step(1));
    }
    two.sync(rig.now, &rig.memory);
    let KeyState::Missing { reason, cause, .. } = two.state(rig.now) else { panic!() };
    assert_eq!(cause, Some(Cause::Refused));
    assert!(reason.starts_with("discovery: its host refuses the connection: "), "{reason}");
    for worker in [&two, &rig.issuer()] {
        let failing: Vec<_> = worker.failing().collect();
        assert_eq!(failing, [(Cause::NoAddress, false), (Cause::Refused, true)]);
    }
    rig.now = one.due();
    assert!(rig.fetch(&mut one, 1, FetchReason::Due, &key_set(&["a"])));
    two.sync(rig.now, &rig.memory);
    assert!(two.failing().all(|(_, now)| !now));
}
