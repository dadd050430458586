//! Group sources: what one client, or one worker, takes from the others.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Who has many subjects would have had every turn of a source that there is within `timeoutSeconds`.
#[test]
fn one_network_leaves_turns_to_others() {
    let turns = json!({"requestsPerSecond": 10, "timeoutSeconds": 10});
    let mut rig = rig(&turns, &json!({}));
    let mut number = 0;
    let mut waits = |rig: &mut Rig, address: &'static str, users: usize| {
        rig.address = address;
        let mut count = 0;
        for _ in 0..users {
            number += 1;
            match rig.present(&token("a", &of(&format!("u{number}")))) {
                Decision::Wait(_) => count += 1,
                decision => assert_eq!(refused(decision), (503, "group_source")),
            }
        }
        count
    };
    // The burst and what is left of five seconds; all that would be 111.
    assert_eq!(waits(&mut rig, "2001:db8::1", 150), 61);
    assert_eq!(waits(&mut rig, "2001:db8::2", 10), 0, "the same network");
    assert_eq!(waits(&mut rig, "192.0.2.1", 10), 5, "another one has its part at once");
    // Nor later, however long it goes on, and however many are answered.
    for _ in 0..60 {
        rig.now += Duration::from_secs(1);
        for callout in rig.lookups() {
            rig.answer(&callout, Ok((200, br#"{"value": ["a"]}"#)));
        }
        waits(&mut rig, "2001:db8::1", 50);
        assert_eq!(waits(&mut rig, "192.0.2.1", 2), 2);
    }
}

/// Those who wait for another worker's answer in vain say nothing of who asks by then; nor does who asked before.
#[test]
fn who_gives_up_does_not_end_another_worker_s_question() {
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    // One who waited for the first worker's answer, and the first one itself, after its time.
    for (timeout, waiter) in [(5, true), (60, false)] {
        let memory = Rc::<Memory>::default();
        let gateway = with(&[source(&json!({"timeoutSeconds": timeout}))], &json!({}));
        let mut workers: Vec<_> = (1..=4)
            .map(|id| {
                let configuration = sourced(&[ISSUER], gateway.clone()).unwrap();
                Rig::beside(Rc::clone(&memory), id, "", configuration)
            })
            .collect();
        workers[0].serve(ISSUER, &key_set(&["a"]));
        let mut asks = |worker: usize, millis: u64| {
            let rig = &mut workers[worker];
            rig.worker.sync(rig.now);
            rig.now = NOW + Duration::from_millis(millis);
            rig.waits(&asked, Attempt::default());
            rig.lookups().len()
        };
        let end = timeout * 1000;
        assert_eq!(asks(0, 0), 1);
        if waiter {
            assert_eq!(asks(1, 1000), 0);
        }
        assert_eq!(asks(2, if waiter { end + 1000 } else { end - 500 }), 1, "the lease is over");
        let (who, late) = if waiter { (1, end + 1000) } else { (0, end) };
        workers[who].now = NOW + Duration::from_millis(late);
        workers[who].poll();
        let rig = &mut workers[3];
        rig.worker.sync(rig.now);
        rig.now = NOW + Duration::from_millis(late);
        rig.waits(&asked, Attempt::default());
        assert!(rig.lookups().is_empty(), "{timeout}: the third asks");
    }
}

/// What is known of a user before its groups are may be enough.
#[test]
fn nobody_is_asked_about_who_has_no_access() {
    let mut gateway = with(&[source(&json!({}))], &json!({}));
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let until = "2030-01-01T00:00:00Z";
    let document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER]), "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers", "reviewCluster": "review",
        "calloutClusters": {"groupSources/directory": "callout_directory"},
        "revocations": {"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Revocations",
            "revocations": [
                {"user": "eve", "until": until}, {"subject": "sue", "issuer": ISSUER, "until": until},
                {"jti": "j2", "until": until}, {"sid": "s2", "until": until}, {"group": "a", "until": until},
            ]},
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    for (more, want) in [
        (json!({"sub": "eve"}), (403, "revoked")),
        (json!({"sub": "sue"}), (403, "revoked")),
        (json!({"jti": "j2"}), (401, "revoked")),
        (json!({"sid": "s2"}), (401, "revoked")),
        (json!({"sub": "system:admin"}), (403, "guard")),
        (json!({"sub": " jane"}), (403, "guard")),
    ] {
        let mut claims = of("jane");
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asked = authorization(&claims);
        let outcome = rig.outcome(&bearer(&asked, &[]), Attempt::default());
        assert_eq!(refused(outcome.decision), want, "{more}");
        assert!(rig.lookups().is_empty(), "{more}");
        if want.1 == "revoked" {
            let user = claims["sub"].as_str().unwrap();
            let record = outcome.record.unwrap();
            assert!(record.contains(&format!("user={user}")), "{record}");
        }
    }
    // A group's entry is known to be about the user once its groups are.
    let decision = ask(&mut rig, &of("jane"), &[(JANE, 200, r#"{"value": ["a"]}"#)]);
    assert_eq!(refused(decision).1, "revoked");
    let decision =
        ask(&mut rig, &of("bob"), &[("/api/users/bob/groups?top=2", 200, r#"{"value": ["b"]}"#)]);
    assert_eq!(groups(decision), ["b"]);
}
