//! Decisions on tokens about which their issuer is asked.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const OTHER: &str = "https://other.example";
const PREFIXED: &str = "https://prefixed.example";
const LIGHT: &str = "https://light.example";

const ASKED: Attempt =
    Attempt { keys: 0, reviews: false, groups: false, introspection: true, since: None };

/// Four issuers: all opaque tokens are the first one's, those that begin with `pre_` the third one's; the fourth has its JWTs asked about.
fn rig_with(gateway: Value, more: &Value) -> Rig {
    rig_beside(gateway, more, &json!({}))
}

/// The same, with more in the document.
fn rig_beside(gateway: Value, more: &Value, beside: &Value) -> Rig {
    let mut gateway = gateway;
    let item = |name: &str, issuer: &str, own: Value| {
        let mut item = json!({"name": name, "issuer": issuer, "endpoint": format!("{issuer}/introspect?realm=a"),
                   "lifetimeSeconds": 30, "negativeLifetimeSeconds": 5, "requestsPerSecond": 5});
        for extension in [&own, more] {
            item.as_object_mut().unwrap().extend(extension.as_object().unwrap().clone());
        }
        item
    };
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    gateway["introspection"] = json!([
        item("a", ISSUER, json!({})),
        item("b", PREFIXED, json!({"tokenPrefix": "pre_"})),
        item("c", LIGHT, json!({"tokens": "jwt"})),
    ]);
    let mut document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER, OTHER, PREFIXED, LIGHT]),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
        "calloutClusters": {"introspection/a": "ask_a", "introspection/b": "ask_b", "introspection/c": "ask_c"},
        "reviewCluster": "review",
    });
    document.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    let keys = key_set(&["a"]);
    rig.serve_all(&[ISSUER, OTHER, PREFIXED, LIGHT].map(|issuer| (issuer, keys.as_str())));
    rig
}

fn rig() -> Rig {
    rig_with(json!({}), &json!({}))
}

fn active(rest: &Value) -> String {
    let mut answer = json!({"active": true, "sub": "jane", "aud": "kubernetes", "groups": ["dev"],
                            "exp": NOW.as_secs() + 600});
    answer.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    answer.to_string()
}

/// Presents a token about which an issuer is asked, and gives the answer. Gives the callout, too.
fn ask(rig: &mut Rig, token: &str, answer: Result<(u16, &[u8]), &str>) -> (Callout, Decision) {
    let value = format!("Bearer {token}");
    let wait = rig.waits(&bearer(&value, &[]), Attempt::default());
    assert!(matches!(wait, Wait::Introspection { .. }), "{wait:?}");
    let callouts = rig.lookups();
    let [callout] = callouts.as_slice() else { panic!("{callouts:?}") };
    rig.answer(callout, answer);
    let attempt = rig.settled();
    (callout.clone(), rig.decide(&bearer(&value, &[]), attempt))
}

#[test]
fn an_opaque_token_is_who_its_issuer_says() {
    let mut rig = rig();
    let answer = active(&json!({"jti": "j1"}));
    let (callout, decision) = ask(&mut rig, "op/que+1=&x", Ok((200, answer.as_bytes())));
    let Callout { cluster, authority, path, authorization, traceparent, .. } = &callout;
    assert_eq!((cluster.as_str(), authority.as_str()), ("ask_a", "issuer.example"));
    assert_eq!((path.as_str(), authorization, traceparent), ("/introspect?realm=a", &None, &None));
    assert_eq!(callout.purpose.content_type(), "application/x-www-form-urlencoded");
    let body = callout.body.as_deref().map(String::from_utf8_lossy).unwrap();
    assert_eq!(body, "token=op%2Fque%2B1%3D%26x&token_type_hint=access_token");
    let headers = forwarded(decision);
    let want = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "dev"),
        ("impersonate-extra-authentication.kubernetes.io%2fcredential-id", "JTI=j1"),
    ];
    assert_eq!(headers, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(forwarded(rig.present("op/que+1=&x")), headers, "from the cache");
    assert_eq!(rig.lookups().len(), 0);
}

/// The kind of a token decides who is asked, and nobody else is.
#[test]
fn no_token_is_tried_at_another_issuer() {
    let mut rig = rig_with(json!({"tokenReview": {"enabled": true}}), &json!({}));
    let no = br#"{"active": false}"#;
    for (token, cluster) in [("opaque", "ask_a"), ("pre_1", "ask_b"), ("pre_eyJ.eyJ.x", "ask_b")] {
        let (callout, decision) = ask(&mut rig, token, Ok((200, no)));
        assert_eq!(callout.cluster, cluster, "{token}");
        assert_eq!(refused(decision), (401, "inactive"), "{token}");
    }
    // A JWT of an issuer that is asked about other tokens is a JWT.
    assert_eq!(forwarded(rig.present(&token("a", &claims())))[0].1, "jane");
    assert_eq!(refused(rig.present(&token("b", &claims()))), (401, "verify"));
    assert_eq!(rig.lookups().len(), 0);
}

/// All but a byte of it may be another issuer's good token.
#[test]
fn a_damaged_jwt_is_no_opaque_token() {
    let mut rig = rig();
    let good = token("a", &claims());
    let parts: Vec<_> = good.split('.').collect();
    let [head, payload, signature] = parts.as_slice() else { panic!() };
    for damaged in [
        format!("{good}.x"),
        format!("{good}."),
        format!("{head}.{payload}"),
        format!("{head}.!{payload}.{signature}"),
        format!("{head}.{}.{signature}", payload.split_at(10).0),
        format!("{head}.bm90IEpTT04.{signature}"),
    ] {
        assert_eq!(refused(rig.present(&damaged)), (401, "token"), "{damaged}");
        assert!(rig.lookups().is_empty(), "{damaged}");
    }
    // Tokens that look like it and are not: encrypted ones (RFC 7516) are for who has the key, and others are their issuer's affair.
    for header in [r#"{"alg":"dir","enc":"A256GCM"}"#, r#"{"id":1}"#, r#"{"alg":1}"#, "[]"] {
        let header = URL_SAFE_NO_PAD.encode(header);
        for opaque in [format!("{header}.a.b.c.d"), header] {
            assert!(matches!(rig.present(&opaque), Decision::Wait(_)), "{opaque}");
        }
    }
}

/// Where no item has the tokens without a prefix, an unknown one is nobody's.
#[test]
fn an_unknown_prefix_is_refused_unasked() {
    let mut gateway = json!({"introspection": [
        {"name": "a", "issuer": ISSUER, "endpoint": "https://issuer.example/", "tokenPrefix": "a_"}]});
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER]),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
        "calloutClusters": {"introspection/a": "ask"},
        "reviewCluster": "review",
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    for token in ["b_1", "opaque", "A_1", "xa_1"] {
        assert_eq!(refused(rig.present(token)), (401, "token"), "{token}");
    }
    assert!(matches!(rig.present("a_1"), Decision::Wait(_)));
    assert_eq!(refused(rig.decide(&bearer("Bearer a_\u{e9}", &[]), ASKED)), (401, "token"));
}

#[test]
fn a_wrong_answer_is_refused_with_its_cause() {
    let mut rig = rig();
    let huge = active(&json!({"x": "y".repeat(70_000)}));
    let other = active(&json!({"iss": OTHER}));
    let no_sub = active(&json!({})).replace("\"sub\"", "\"no_sub\"");
    let over = active(&json!({"exp": NOW.as_secs() - 1}));
    let audience = active(&json!({"aud": ["other"]}));
    let refresh = active(&json!({"token_use": "refresh_token"}));
    let reserved = active(&json!({"groups": ["system:masters"]}));
    for (n, (status, answer, want, why)) in [
        (200, "<html>Log in</html>", (503, "introspection_failed"), "the answer is not JSON"),
        (200, &huge, (503, "introspection_failed"), "limits.tokenBytes"),
        (200, r#"{"active": "true"}"#, (503, "introspection_failed"), "`active`"),
        (200, r#"{"error": "x"}"#, (503, "introspection_failed"), "`active`"),
        (401, "{}", (503, "introspection_failed"), "does not take the gateway's credential"),
        (403, "{}", (503, "introspection_failed"), "does not take the gateway's credential"),
        (404, "{}", (503, "introspection_failed"), "HTTP 404"),
        (302, "", (503, "introspection_failed"), "redirects are not followed"),
        (200, &other, (401, "verify"), "issued by a different provider"),
        (200, &over, (401, "verify"), "token is expired"),
        (200, &audience, (401, "verify"), "expected audience"),
        (200, &refresh, (401, "verify"), "refresh token"),
        (200, &no_sub, (401, "identity"), "claim not present"),
        (200, &reserved, (403, "guard"), "system:masters"),
    ]
    .into_iter()
    .enumerate()
    {
        rig.now += Duration::from_secs(1);
        let token = format!("opaque{n}");
        let (_, decision) = ask(&mut rig, &token, Ok((status, answer.as_bytes())));
        let Decision::Refuse(refusal) = &decision else { panic!("{answer}: {decision:?}") };
        assert!(refusal.reason().contains(why), "{why}: {}", refusal.reason());
        assert!(!refusal.reason().contains(&token), "{}", refusal.reason());
        let told = refusal.reply();
        assert_eq!(told.retry_after.is_some(), want.0 == 503, "{why}");
        assert_eq!(refused(decision), want, "{why}");
    }
    let (_, decision) = ask(&mut rig, "down", Err("reset"));
    assert_eq!(refused(decision), (503, "introspection_failed"));
    assert!(matches!(rig.present("down"), Decision::Wait(_)), "the next one asks again");
}

#[test]
fn a_token_is_asked_about_again_after_its_lifetime() {
    let mut rig = rig();
    let (_, decision) = ask(&mut rig, "opaque", Ok((200, active(&json!({})).as_bytes())));
    forwarded(decision);
    rig.now += Duration::from_secs(30);
    forwarded(rig.present("opaque"));
    rig.now += Duration::from_secs(1);
    let (_, decision) = ask(&mut rig, "opaque", Ok((200, br#"{"active": false}"#)));
    assert_eq!(refused(decision), (401, "inactive"), "revoked");
    // The end of the token itself is sooner than that of its lifetime.
    let short = active(&json!({"exp": rig.now.as_secs() + 3}));
    forwarded(ask(&mut rig, "short", Ok((200, short.as_bytes()))).1);
    rig.now += Duration::from_secs(3);
    forwarded(rig.present("short"));
    rig.now += Duration::from_secs(1);
    // What the issuer said still counts, and what it said is that the token is over by now.
    assert_eq!(refused(rig.present("short")), (401, "verify"));
    // Without an end of its own it lives as long as the issuer says so.
    let endless = active(&json!({})).replace("\"exp\"", "\"no_exp\"");
    forwarded(ask(&mut rig, "endless", Ok((200, endless.as_bytes()))).1);
    rig.now += Duration::from_secs(31);
    assert!(matches!(rig.present("endless"), Decision::Wait(_)));
}

/// The time that the answer took was added to the lifetime.
#[test]
fn a_revoked_token_works_no_longer_than_its_lifetime_from_the_question_on() {
    let more = json!({"lifetimeSeconds": 4, "negativeLifetimeSeconds": 4, "timeoutSeconds": 10});
    for slow in [0, 3, 6] {
        let mut rig = rig_with(json!({}), &more);
        let headers = bearer("Bearer opaque", &[]);
        rig.waits(&headers, Attempt::default());
        let callouts = rig.lookups();
        rig.now += Duration::from_secs(slow);
        rig.answer(&callouts[0], Ok((200, active(&json!({})).as_bytes())));
        let attempt = rig.settled();
        forwarded(rig.decide(&headers, attempt));
        if slow < 4 {
            rig.now = NOW + Duration::from_secs(4);
            forwarded(rig.present("opaque"));
        }
        rig.now += Duration::from_secs(1);
        assert!(matches!(rig.present("opaque"), Decision::Wait(_)), "{slow}: asked for anew");
    }
}

#[test]
fn a_token_that_is_not_active_is_remembered_briefly() {
    let mut rig = rig();
    ask(&mut rig, "bad", Ok((200, br#"{"active": false}"#)));
    rig.now += Duration::from_secs(4);
    assert_eq!(refused(rig.present("bad")), (401, "inactive"));
    assert_eq!(rig.lookups().len(), 0);
    rig.now += Duration::from_secs(1);
    assert!(matches!(rig.present("bad"), Decision::Wait(_)));
}

#[test]
fn equal_questions_are_one_and_different_issuers_do_not_share_answers() {
    let mut rig = rig();
    let value = "Bearer opaque";
    rig.waits(&bearer(value, &[]), Attempt::default());
    rig.waits(&bearer(value, &[]), Attempt::default());
    let callouts = rig.lookups();
    assert_eq!(callouts.len(), 1);
    rig.answer(&callouts[0], Ok((200, active(&json!({})).as_bytes())));
    for waiter in rig.ready() {
        forwarded(rig.decide(&bearer(value, &[]), waiter.attempt));
    }
    // The same subject of another issuer is another user.
    let answer = active(&json!({"groups": ["ops"]}));
    let (_, decision) = ask(&mut rig, "pre_opaque", Ok((200, answer.as_bytes())));
    assert_eq!(forwarded(decision)[1].1, "ops");
    assert_eq!(forwarded(rig.present("opaque"))[1].1, "dev");
}

#[test]
fn an_answer_has_the_configured_time() {
    let mut rig = rig_with(json!({}), &json!({"timeoutSeconds": 2}));
    let headers = bearer("Bearer opaque", &[]);
    rig.waits(&headers, Attempt::default());
    assert_eq!(rig.lookups()[0].timeout, Duration::from_secs(2));
    rig.now += Duration::from_secs(2);
    let attempt = rig.settled();
    let Decision::Refuse(refusal) = rig.decide(&headers, attempt) else { panic!() };
    assert_eq!(refusal.keyword(), "introspection_failed");
    assert!(refusal.reason().contains("no answer in time"), "{}", refusal.reason());
    assert_eq!(refusal.reply().retry_after, Some(1));
}

/// Nobody else's tokens suffer from a storm of such as nobody issued.
#[test]
fn a_storm_of_unknown_tokens_does_not_storm_the_issuer() {
    let mut rig = rig();
    let limited = (0..1000)
        .filter(|n| match rig.present(&format!("bad{n}")) {
            Decision::Refuse(refusal) => {
                assert_eq!(
                    (refusal.reply().code, refusal.keyword()),
                    (429, "too_many_introspections")
                );
                true
            }
            _ => false,
        })
        .count();
    assert_eq!((limited, rig.lookups().len()), (950, 50));
    assert_eq!(forwarded(rig.present(&token("a", &claims())))[0].1, "jane");
    let (callout, decision) = ask(&mut rig, "pre_1", Ok((200, active(&json!({})).as_bytes())));
    assert_eq!(callout.cluster, "ask_b", "another endpoint has its own rate");
    forwarded(decision);
}

/// Nor has one network all of them: an endpoint that hangs would be one client's.
#[test]
fn questions_under_way_are_bounded_for_each_endpoint_and_network() {
    let mut rig = rig_with(json!({}), &json!({"requestsPerSecond": 10_000}));
    let mut number = 0;
    let mut refused = |rig: &mut Rig, address: &'static str| {
        rig.address = address;
        let mut refused = Vec::new();
        for _ in 0..150 {
            number += 1;
            if let Decision::Refuse(refusal) = rig.present(&format!("slow{number}")) {
                refused.push((refusal.reply().code, refusal.keyword()));
            }
        }
        refused
    };
    let too_many = (429, "too_many_introspections");
    assert_eq!(refused(&mut rig, "2001:db8::1"), [too_many; 50]);
    assert_eq!(refused(&mut rig, "2001:db8::2"), [too_many; 150], "the same network");
    assert_eq!(refused(&mut rig, "192.0.2.1"), [too_many; 50], "each has half");
    assert_eq!(refused(&mut rig, "192.0.2.2"), [(503, "introspection_failed"); 150]);
    assert!(matches!(rig.present("pre_1"), Decision::Wait(_)));
    // What is answered is under way no longer.
    for callout in rig.lookups() {
        rig.answer(&callout, Ok((200, br#"{"active": false}"#)));
    }
    assert_eq!(refused(&mut rig, "2001:db8::1"), [too_many; 50]);
}

#[test]
fn good_tokens_cost_their_client_nothing_of_its_rate() {
    let mut rig = rig();
    let answer = active(&json!({}));
    for n in 0..200 {
        forwarded(ask(&mut rig, &format!("good{n}"), Ok((200, answer.as_bytes()))).1);
    }
}

/// Lightweight tokens: who holds one is in the answer alone. What the issuer has not signed, it is not asked about.
#[test]
fn jwts_are_asked_about_where_the_configuration_says_so() {
    let mut rig = rig();
    let light = json!({"iss": LIGHT, "exp": NOW.as_secs() + 60});
    let good = token("a", &light);
    let (callout, decision) = ask(&mut rig, &good, Ok((200, active(&json!({})).as_bytes())));
    assert_eq!(callout.cluster, "ask_c");
    assert_eq!(forwarded(decision)[0].1, "jane");
    for (token, why) in [
        (token("b", &light), "forged"),
        (token("a", &json!({"iss": LIGHT, "exp": NOW.as_secs() - 1})), "over"),
    ] {
        assert_eq!(refused(rig.present_again(&token)), (401, "verify"), "{why}");
    }
    assert_eq!(rig.lookups().len(), 0);
    // It ends with the first of the two.
    let short = token("a", &json!({"iss": LIGHT, "exp": NOW.as_secs() + 10}));
    forwarded(ask(&mut rig, &short, Ok((200, active(&json!({})).as_bytes()))).1);
    rig.now += Duration::from_secs(11);
    assert_eq!(refused(rig.present(&short)), (401, "verify"));
}

/// An answer need not name the token, which is what an entry does.
#[test]
fn a_jwt_that_is_asked_about_keeps_the_names_that_it_has_itself() {
    let light = json!({"iss": LIGHT, "exp": NOW.as_secs() + 60, "iat": 500, "jti": "j1", "sid": "s1", "sub": "own"});
    let light = token("a", &light);
    for (entry, more, is_revoked) in [
        (json!({"jti": "j1"}), json!({}), true),
        (json!({"jti": "j1"}), json!({"jti": null}), true),
        (json!({"sid": "s1", "issuer": LIGHT}), json!({}), true),
        (json!({"user": "jane", "issuedBefore": "1970-01-01T00:08:20Z"}), json!({}), false),
        // What the answer says counts.
        (json!({"sid": "s1"}), json!({"sid": "s2"}), false),
        (json!({"sid": "s2"}), json!({"sid": "s2"}), true),
        (json!({"subject": "own", "issuer": LIGHT}), json!({}), false),
        (json!({"subject": "jane", "issuer": LIGHT}), json!({}), true),
    ] {
        let mut rig = rig_beside(json!({}), &json!({}), &json!({"accessCluster": "access"}));
        let mut entry = entry;
        entry["until"] = json!("2030-01-01T00:00:00Z");
        rig.revoke(1, &json!([entry]));
        let (_, decision) = ask(&mut rig, &light, Ok((200, active(&more).as_bytes())));
        if is_revoked {
            assert_eq!(refused(decision).1, "revoked", "{entry}");
        } else {
            forwarded(decision);
        }
    }
}

/// The API server's word on `--as` comes after the issuer's on the token.
#[test]
fn impersonation_by_an_opaque_token_is_reviewed() {
    let mut rig = rig();
    let headers = bearer("Bearer opaque", &[("impersonate-user", "bob")]);
    rig.waits(&headers, Attempt::default());
    let callout = rig.lookups().pop().unwrap();
    rig.answer(&callout, Ok((200, active(&json!({})).as_bytes())));
    let attempt = rig.settled();
    assert!(matches!(rig.waits(&headers, attempt), Wait::Reviews(_)));
    for review in rig.lookups() {
        rig.answer(&review, Ok((201, br#"{"status": {"allowed": true}}"#)));
    }
    let attempt = rig.settled();
    assert_eq!(forwarded(rig.decide(&headers, attempt))[0].1, "bob");
}

#[test]
fn an_endpoint_needs_its_issuer_and_its_cluster() {
    let parse = |issuer: &str, clusters: Value| {
        let document = json!({
            "authenticationConfiguration": configuration_json(&[ISSUER]),
            "gatewayConfiguration": {
                "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration",
                "introspection": [{"name": "a", "issuer": issuer, "endpoint": "https://issuer.example/"}],
            },
            "defaultIssuerCluster": "issuers", "reviewCluster": "review",
            "calloutClusters": clusters,
        });
        Configuration::parse(document.to_string().as_bytes())
            .map(|_| ())
            .map_err(|it| it.to_string())
    };
    assert_eq!(parse(ISSUER, json!({"introspection/a": "ask"})), Ok(()));
    for (issuer, clusters, want) in [
        (
            OTHER,
            json!({}),
            "introspection[0].issuer: Invalid value: \"https://other.example\": no such issuer",
        ),
        (ISSUER, json!({}), "calloutClusters: Required value: no cluster for \"introspection/a\""),
        (
            ISSUER,
            json!({"introspection/a": "ask", "introspection/b": "x"}),
            "calloutClusters[\"introspection/b\"]: nothing",
        ),
    ] {
        let error = parse(issuer, clusters).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
}

/// A directory that is slow, behind an issuer that is asked: the answer about the token no longer counted when that about the groups came.
#[test]
fn groups_that_take_longer_than_an_answer_counts_are_waited_for() {
    let source = json!({"name": "d", "issuer": ISSUER, "url": "https://d.example", "path": "/x", "groups": "answer.g"});
    let mut gateway = json!({"groupSources": [source], "introspection": [{"name": "a", "issuer": ISSUER,
        "endpoint": "https://issuer.example/introspect", "negativeLifetimeSeconds": 1}]});
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER]), "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers", "reviewCluster": "review",
        "calloutClusters": {"introspection/a": "ask", "groupSources/d": "d"},
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    let said = active(&json!({})).replace("\"groups\"", "\"none\"");
    let headers = bearer("Bearer opaque", &[]);
    let mut attempt = Attempt::default();
    for (seconds, answer) in [(0, said.as_str()), (3, r#"{"g": ["slow"]}"#), (0, said.as_str())] {
        rig.waits(&headers, attempt);
        let callout = rig.lookups().pop().unwrap();
        rig.now += Duration::from_secs(seconds);
        rig.answer(&callout, Ok((200, answer.as_bytes())));
        attempt = rig.settled();
    }
    assert_eq!(forwarded(rig.decide(&headers, attempt))[1].1, "slow");
}

/// One who shows the same unknown token again and again is charged for it once. The places of those who wait are everybody's.
#[test]
fn who_waits_for_a_slow_issuer_leaves_room_for_others() {
    let mut rig = rig_with(json!({"limits": {"waitingRequests": 100}}), &json!({}));
    let mut waits = |token: &str| {
        let value = format!("Bearer {token}");
        let Decision::Wait(wait) = rig.decide(&bearer(&value, &[]), Attempt::default()) else {
            return false;
        };
        rig.worker.wait(1, wait, Attempt::default(), rig.now).is_ok()
    };
    let count = |waits: &mut dyn FnMut(&str) -> bool, token: &str| {
        (0..200).filter(|_| waits(token)).count()
    };
    assert_eq!(count(&mut waits, "one"), 25, "a quarter for each token");
    assert_eq!(count(&mut waits, "two"), 25, "half for each issuer");
    assert_eq!(count(&mut waits, "three"), 0);
    assert_eq!(count(&mut waits, "pre_x"), 25, "another issuer has its own");
}
