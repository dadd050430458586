//! Group sources, users who want more than is theirs, and directories that say what they should not.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A configuration whose one issuer has these mappings and rules beside.
fn ruled(more: &Value, rules: &Value) -> Rig {
    let mut gateway = with(&[source(more)], &json!({}));
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let mut authentication = configuration_json(&[ISSUER]);
    authentication["jwt"][0].as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    let document = json!({
        "authenticationConfiguration": authentication, "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers", "reviewCluster": "review",
        "calloutClusters": {"groupSources/directory": "callout_directory"},
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    rig
}

/// Asks about a user, and gives what came of it.
fn asked(rig: &mut Rig, user: &str, status: u16, body: &str) -> Decision {
    ask(rig, &of(user), &[(&path(user), status, body)])
}

const GOOD: &str = r#"{"value": ["a"]}"#;

/// Any account of a public issuer could have had the directory asked, and its refusals counted against everybody.
#[test]
fn nobody_is_asked_about_whom_a_rule_keeps_out() {
    let rules = json!({"claimValidationRules": [
        {"claim": "hd", "requiredValue": "corp.example"},
        {"expression": "claims.acr == 'mfa'", "message": "no second factor"},
        // What reads the groups has to wait for them.
        {"expression": "'a' in claims.groups", "message": "not in a"},
    ]});
    let mut rig = ruled(&json!({}), &rules);
    let mut claims = of("jane");
    for (hd, acr) in [
        (None, Some("mfa")),
        (Some("evil.example"), Some("mfa")),
        (Some("corp.example"), Some("pwd")),
    ] {
        for (name, value) in [("hd", hd), ("acr", acr)] {
            claims[name] = value.map_or(json!("none"), |value| json!(value));
        }
        assert_eq!(refused(rig.present(&token("a", &claims))), (401, "identity"), "{hd:?} {acr:?}");
        assert!(rig.lookups().is_empty());
    }
    claims["acr"] = json!("mfa");
    assert_eq!(groups(ask(&mut rig, &claims, &[(JANE, 200, GOOD)])), ["a"]);
    let mut other = claims.clone();
    other["sub"] = json!("bob");
    let body = r#"{"value": ["b"]}"#;
    let decision = ask(&mut rig, &other, &[(&path("bob"), 200, body)]);
    assert_eq!(refused(decision), (401, "identity"), "the rule about groups still holds");
}

/// One user whose question a server cannot answer kept everybody else out, for as long as it was asked.
#[test]
fn one_user_alone_never_has_a_source_left_alone() {
    let many = "x".repeat((1 << 20) + 1);
    for (status, body) in [(200, many.as_str()), (200, "<html>"), (404, ""), (302, "")] {
        let mut rig = rig(&json!({}), &json!({}));
        for _ in 0..5 {
            assert_eq!(refused(asked(&mut rig, "evil", status, body)), (503, "group_source"));
            rig.now += Duration::from_secs(6);
        }
        assert_eq!(groups(asked(&mut rig, "jane", 200, GOOD)), ["a"], "{status}");
    }
    // What may be the user's fault or the server's: that of half of the last eight answers tells.
    let upstream = [("x-envoy-upstream-service-time".to_owned(), b"1".to_vec())];
    for status in [401, 403, 500, 502, 503, 504] {
        let mut rig = rig(&json!({}), &json!({}));
        let fails = |rig: &mut Rig, user: &str| {
            let asked = authorization(&of(user));
            rig.waits(&bearer(&asked, &[]), Attempt::default());
            let callouts = rig.lookups();
            let response = Response { status, headers: &upstream, body: b"" };
            rig.worker.answered(callouts[0].purpose, Ok(response), rig.now, 0.0);
            let attempt = rig.settled();
            refused(rig.decide(&bearer(&asked, &[]), attempt))
        };
        for _ in 0..3 {
            assert_eq!(fails(&mut rig, "evil"), (503, "group_source"));
            let jane = format!("jane{}", rig.now.as_secs());
            assert_eq!(groups(asked(&mut rig, &jane, 200, GOOD)), ["a"]);
            rig.now += Duration::from_secs(6);
        }
        // Nor have three of them, however often.
        for user in ["evil", "bob", "carol", "evil", "bob", "carol"] {
            fails(&mut rig, user);
            rig.now += Duration::from_secs(2);
        }
        assert_eq!(groups(asked(&mut rig, "jane", 200, GOOD)), ["a"], "{status}");
        fails(&mut rig, "dave");
        let decision = rig.present(&token("a", &of("erin")));
        assert_eq!(refused(decision), (503, "group_source"), "{status}");
        assert!(rig.lookups().is_empty(), "{status}: it is left alone");
    }
}

/// Nor does one who brings other claims each time.
#[test]
fn one_user_of_many_addresses_is_one_user() {
    let mut rig = rig(&json!({"path": "/users/${claims.mail}/groups?top=2"}), &json!({}));
    let with_mail = |user: &str, mail: &str| {
        let mut claims = of(user);
        claims["mail"] = json!(mail);
        claims
    };
    for mail in ["e1", "e2", "e3"] {
        let decision = ask(&mut rig, &with_mail("evil", mail), &[(&path(mail), 403, "")]);
        assert_eq!(refused(decision), (503, "group_source"));
    }
    let decision = ask(&mut rig, &with_mail("jane", "jane"), &[(JANE, 200, GOOD)]);
    assert_eq!(groups(decision), ["a"]);
}

/// A token that has no more business at the userinfo endpoint is its user's affair.
#[test]
fn a_user_s_own_token_that_is_refused_touches_nobody_else() {
    let userinfo = json!({"provider": "userinfo", "path": "/userinfo", "groups": "", "pages": {}});
    for status in [401, 403, 429] {
        let mut rig = rig(&userinfo, &json!({}));
        for user in ["evil", "evil2", "evil3"] {
            let decision = ask(&mut rig, &of(user), &[("/api/userinfo", status, "")]);
            assert_eq!(refused(decision), (503, "group_source"));
        }
        let answer = r#"{"sub": "jane", "groups": ["dev"]}"#;
        let decision = ask(&mut rig, &of("jane"), &[("/api/userinfo", 200, answer)]);
        assert_eq!(groups(decision), ["dev"], "{status}");
    }
}

/// What the server tells of a token is what this token may see, and not what another of the same subject, or without one, may.
#[test]
fn what_a_token_sees_is_no_other_token_s() {
    let own = json!({"sendToken": true, "path": "/me/groups"});
    let mut rig = rig(&own, &json!({}));
    let without = |mail: &str| {
        let mut claims = of("x");
        claims.as_object_mut().unwrap().remove("sub");
        claims["mail"] = json!(mail);
        claims
    };
    let asks = |rig: &mut Rig, claims: &Value| {
        let asked = authorization(claims);
        matches!(rig.waits(&bearer(&asked, &[]), Attempt::default()), Wait::GroupSource(_))
    };
    let mut narrow = of("jane");
    narrow["scope"] = json!("openid");
    assert_eq!(groups(ask(&mut rig, &of("jane"), &[("/api/me/groups", 200, GOOD)])), ["a"]);
    assert!(asks(&mut rig, &narrow), "of the same user, with less scope");
    let rules = json!({"claimMappings": {"username": {"claim": "mail", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}}});
    let mut rig = ruled(&own, &rules);
    let decision = ask(&mut rig, &without("admin@a"), &[("/api/me/groups", 200, GOOD)]);
    assert_eq!(groups(decision), ["a"]);
    assert!(asks(&mut rig, &without("evil@a")), "nobody's subject");
}

/// The answer is about the user whatever else it has to be.
#[test]
fn a_check_of_one_s_own_does_not_replace_that_of_the_subject() {
    let userinfo = json!({"provider": "userinfo", "path": "/userinfo", "groups": "", "pages": {},
        "check": "answer.email_verified || true"});
    let mut rig = rig(&userinfo, &json!({}));
    let answer = r#"{"sub": "bob", "email_verified": true, "groups": ["admins"]}"#;
    let decision = ask(&mut rig, &of("jane"), &[("/api/userinfo", 200, answer)]);
    assert_eq!(refused(decision), (503, "group_source"));
}

/// Line ends in a token change nothing of its signature, and would be line ends in a request of the gateway's.
#[test]
fn a_token_with_line_ends_is_sent_to_nobody() {
    let userinfo = json!({"provider": "userinfo", "path": "/userinfo", "groups": "", "pages": {}});
    let mut rig = rig(&userinfo, &json!({}));
    let good = token("a", &of("jane"));
    let (head, rest) = good.split_once('.').unwrap();
    let split = format!("{head}.\r\n{rest}");
    let encoded = URL_SAFE_NO_PAD.encode(&split);
    let protocols = format!("base64url.bearer.authorization.k8s.io.{encoded}, v4.channel.k8s.io");
    let headers = [
        (":method", "GET"),
        (":path", "/api/v1/pods"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", protocols.as_str()),
    ];
    let decision = rig.decide(&headers, Attempt::default());
    assert_eq!(refused(decision), (401, "groups"));
    assert!(rig.lookups().is_empty());
}

/// A further page that is not understood is not the end of the groups.
#[test]
fn a_next_page_that_is_not_understood_is_no_end() {
    let directory = "https://directory.example";
    let long = format!("{directory}/api/{}", "x".repeat(9000));
    for (pages, next, cause) in [
        (json!({"member": "next"}), json!({"href": "x"}), Cause::Document),
        (json!({"member": "next"}), json!(true), Cause::Document),
        (json!({"member": "next"}), json!(2), Cause::Document),
        (json!({"member": "next", "parameter": "page"}), json!([1]), Cause::Document),
        (json!({"member": "next", "parameter": "page"}), json!("x".repeat(9000)), Cause::Document),
        (json!({"member": "next"}), json!(long), Cause::Document),
        // On the server, but not on its part of it.
        (json!({"member": "next"}), json!(format!("{directory}/admin")), Cause::Url),
        (json!({"member": "next"}), json!(format!("{directory}/api2/x")), Cause::Url),
        (json!({"member": "next"}), json!(format!("{directory}/api/../admin")), Cause::Url),
        (json!({"member": "next"}), json!(format!("{directory}/api/%2e%2E/admin")), Cause::Url),
        (json!({"member": "next"}), json!(format!("{directory}/api/..%2fadmin")), Cause::Url),
    ] {
        let mut rig = rig(&json!({"pages": pages}), &json!({}));
        let body = json!({"value": ["a"], "next": next}).to_string();
        let decision = asked(&mut rig, "jane", 200, &body);
        let Decision::Refuse(Refusal::GroupSource { failure, .. }) = decision else {
            panic!("{next}: {decision:?}")
        };
        assert_eq!(failure.cause, cause, "{next}: {failure:?}");
        assert!(failure.why.len() < 2048, "{}", failure.why.len());
    }
    // A number is a page's token as well as a text is.
    let mut rig = rig(&json!({"pages": {"member": "next", "parameter": "page"}}), &json!({}));
    let first = json!({"value": ["a"], "next": 2}).to_string();
    let second = format!("{JANE}&page=2");
    let answers = [(JANE, 200, first.as_str()), (&second, 200, r#"{"value": ["b"]}"#)];
    assert_eq!(groups(ask(&mut rig, &of("jane"), &answers)), ["a", "b"]);
}

/// An answer of another kind does not say that there are no groups.
#[test]
fn google_s_answer_without_groups_is_one_about_groups() {
    let google = json!({"provider": "google", "path": "", "groups": "", "pages": {}});
    let mut rig = rig(&google, &json!({}));
    let path = "/api/admin/directory/v1/groups?userKey=jane&maxResults=200";
    let decision = ask(&mut rig, &of("jane"), &[(path, 200, r#"{"status": "ok"}"#)]);
    assert_eq!(refused(decision), (503, "group_source"));
}

/// `null` in the groups' place is not the word of the issuer that there are none.
#[test]
fn a_claim_that_is_null_is_absent() {
    let mut rig = rig(&json!({}), &json!({}));
    let mut claims = of("jane");
    claims["groups"] = json!(null);
    assert_eq!(groups(ask(&mut rig, &claims, &[(JANE, 200, GOOD)])), ["a"]);
}

/// What a question keeps of a token's claims counts as what the answer does.
#[test]
fn kept_claims_count_as_memory() {
    let keeps = json!({"groups": "answer.value.filter(g, g != claims.padding)"});
    let mut rig = rig(&keeps, &json!({"groupCache": {"maximumBytes": 200_000}}));
    for number in 0..40 {
        let mut claims = of(&format!("u{number}"));
        claims["padding"] = json!("x".repeat(10_000));
        let path = path(&format!("u{number}"));
        assert_eq!(groups(ask(&mut rig, &claims, &[(&path, 200, GOOD)])), ["a"]);
    }
    assert!(rig.worker.groups.len() < 20, "{}", rig.worker.groups.len());
}

#[test]
fn names_of_groups_are_bounded_in_bytes_together() {
    let mut rig = rig(&json!({}), &json!({}));
    let second = "/api/users/jane/groups?skip=1";
    let names = |from: usize| (from..from + 700).map(|n| format!("{n:01000}")).collect::<Vec<_>>();
    let first = json!({"value": names(0), "next": format!("https://directory.example{second}")})
        .to_string();
    let rest = json!({"value": names(700)}).to_string();
    let decision = ask(&mut rig, &of("jane"), &[(JANE, 200, &first), (second, 200, &rest)]);
    let Decision::Refuse(Refusal::GroupSource { failure, .. }) = decision else { panic!() };
    assert!(failure.why.contains("bytes of groups"), "{failure:?}");
}

/// Who was taken out of a group would have stayed in it for as long as the clock was put back.
#[test]
fn a_clock_that_was_put_back_makes_no_answer_young() {
    let mut rig = rig(&json!({}), &json!({}));
    assert_eq!(groups(asked(&mut rig, "jane", 200, GOOD)), ["a"]);
    rig.now -= Duration::from_mins(30);
    let mut claims = of("jane");
    claims["nbf"] = json!(1);
    assert_eq!(groups(ask(&mut rig, &claims, &[(JANE, 200, r#"{"value": ["b"]}"#)])), ["b"]);
}

/// Users of a directory that hangs take nothing from those of another.
#[test]
fn each_source_has_its_own_part_of_the_questions_under_way() {
    let slow = source(&json!({"requestsPerSecond": 10_000, "timeoutSeconds": 60}));
    let second = source(&json!({"name": "other", "issuer": OTHER}));
    let configuration = sourced(&[ISSUER, OTHER], with(&[slow, second], &json!({}))).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve_all(&[(ISSUER, &key_set(&["a"])), (OTHER, &key_set(&["a"]))]);
    let waits = (0..5_000)
        .filter(|n| matches!(rig.present(&token("a", &of(&format!("u{n}")))), Decision::Wait(_)))
        .count();
    assert_eq!(waits, 2048);
    let mut other = of("jane");
    other["iss"] = json!(OTHER);
    assert!(matches!(rig.present(&token("a", &other)), Decision::Wait(_)));
}

/// A worker that has not seen a user yet, in an outage: it was known to another one, and is known.
#[test]
fn who_is_known_to_one_worker_is_known_to_all_in_an_outage() {
    let memory = Rc::<Memory>::default();
    let gateway = with(&[source(&json!({}))], &json!({"groupCache": {"lifetimeSeconds": 100}}));
    let configuration = || sourced(&[ISSUER], gateway.clone()).unwrap();
    let mut first = Rig::beside(Rc::clone(&memory), 1, "", configuration());
    let mut second = Rig::beside(Rc::clone(&memory), 2, "", configuration());
    first.serve(ISSUER, &key_set(&["a"]));
    second.worker.sync(second.now);
    assert_eq!(groups(asked(&mut first, "jane", 200, GOOD)), ["a"]);
    for rig in [&mut first, &mut second] {
        rig.now += Duration::from_secs(150);
    }
    assert_eq!(groups(asked(&mut first, "jane", 503, "")), ["a"]);
    assert_eq!(groups(second.present(&token("a", &of("jane")))), ["a"], "the other's last answer");
}

/// `Retry-After` holds although a question from before is answered, and 0 is no invitation to a storm.
#[test]
fn what_a_directory_asks_for_holds() {
    let mut rig = rig(&json!({}), &json!({}));
    let waits = |rig: &mut Rig, user: &str| {
        let asked = authorization(&of(user));
        rig.waits(&bearer(&asked, &[]), Attempt::default());
        rig.lookups().remove(0)
    };
    let (jane, bob) = (waits(&mut rig, "jane"), waits(&mut rig, "bob"));
    let quiet = |rig: &mut Rig, callout: &Callout, seconds: &str| {
        let headers = [("retry-after".to_owned(), seconds.as_bytes().to_vec())];
        let response = Response { status: 429, headers: &headers, body: b"" };
        rig.worker.answered(callout.purpose, Ok(response), rig.now, 0.0);
    };
    quiet(&mut rig, &jane, "60");
    rig.answer(&bob, Ok((200, GOOD.as_bytes())));
    rig.now += Duration::from_secs(50);
    assert_eq!(refused(rig.present(&token("a", &of("carol")))), (503, "group_source"));
    for (seconds, want) in [("0", 1), ("-1", 1), ("x", 1), ("18446744073709551615", 300)] {
        let mut rig = self::rig(&json!({}), &json!({}));
        let carol = waits(&mut rig, "carol");
        quiet(&mut rig, &carol, seconds);
        let Decision::Refuse(refusal) = rig.present(&token("a", &of("dave"))) else { panic!() };
        assert_eq!(refusal.reply().retry_after, Some(want), "{seconds}");
    }
}

/// A reload in an outage: what else changed makes nobody a stranger. What decides what an answer means does.
#[test]
fn a_reload_of_something_else_leaves_users_known() {
    let memory = Rc::<Memory>::default();
    let start = |id: u64, more: Value, gateway: Value| {
        let configuration = sourced(&[ISSUER], with(&[source(&more)], &gateway)).unwrap();
        let mut rig = Rig::beside(Rc::clone(&memory), id, "", configuration);
        rig.worker.sync(rig.now);
        rig
    };
    let mut first = start(1, json!({}), json!({}));
    first.serve(ISSUER, &key_set(&["a"]));
    assert_eq!(groups(asked(&mut first, "jane", 200, GOOD)), ["a"]);
    let jane = token("a", &of("jane"));
    let mut second = start(2, json!({}), json!({"tokenCache": {"timeToLiveSeconds": 5}}));
    assert_eq!(groups(second.present(&jane)), ["a"]);
    for more in [
        json!({"groups": "answer.value + ['b']"}),
        json!({"url": "https://other.example/api"}),
        json!({"only": ["b"]}),
        json!({"check": "answer.sub == claims.sub"}),
        json!({"certificateAuthority": "pem"}),
    ] {
        let mut other = start(3, more.clone(), json!({}));
        assert!(matches!(other.present(&jane), Decision::Wait(_)), "{more}");
    }
}
