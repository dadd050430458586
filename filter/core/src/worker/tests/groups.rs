//! Groups that a token only points to.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// The claims of a user whose groups are at this source.
fn elsewhere(source: &Value) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("groups");
    claims["_claim_names"] = json!({"groups": "src"});
    claims["_claim_sources"] = json!({"src": source});
    claims
}

fn allowed(host: &str) -> Value {
    json!({"distributedGroups": {"hosts": [host]}})
}

/// Answers the question to the groups endpoint.
fn answer_groups(rig: &mut Rig, answer: Result<(u16, &[u8]), &str>) {
    let reviews = rig.lookups();
    let [review] = reviews.as_slice() else { panic!("{} questions", reviews.len()) };
    rig.answer(review, answer);
}

/// kube-apiserver would ask any host that a token names.
#[test]
fn distributed_groups_come_from_allowed_hosts_or_the_token_gives_nothing() {
    let source =
        json!({"endpoint": "https://groups.example:8443/of?user=jane", "access_token": "secret"});
    let elsewhere = token("a", &elsewhere(&source));
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert_eq!(refused(rig.present(&elsewhere)), (401, "groups"));
    assert!(rig.lookups().is_empty());

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
        let mut rig = Rig::new(allowed("groups.example:8443"));
        rig.serve(ISSUER, &key_set(&["a"]));
        assert!(matches!(rig.present(&elsewhere), Decision::Wait(_)));
        let reviews = rig.lookups();
        let [review] = reviews.as_slice() else { panic!() };
        assert_eq!(
            (review.authority.as_str(), review.path.as_str()),
            ("groups.example:8443", "/of?user=jane")
        );
        assert_eq!(review.authorization.as_deref(), Some("Bearer secret"));
        assert_eq!((review.cluster.as_str(), &review.body), ("issuers", &None));
        rig.answer(review, answer);
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
    let source = json!({"endpoint": "https://groups.example/jane"});
    let elsewhere = format!("Bearer {}", token("a", &elsewhere(&source)));
    let mut gateway = allowed("groups.example");
    gateway["clientImpersonation"] = json!("authorize");
    let mut rig = Rig::new(gateway);
    rig.serve(ISSUER, &key_set(&["a"]));
    let asked = bearer(&elsewhere, &[("impersonate-user", "bob")]);
    rig.waits(&asked, Attempt::default());
    answer_groups(&mut rig, Ok((200, token("a", &claims()).as_bytes())));
    let attempt = rig.settled();
    rig.waits(&asked, attempt);
    assert_eq!(answer_reviews(&mut rig, |_| json!({"allowed": true})), 1);
    let attempt = rig.settled();
    assert_eq!(forwarded(rig.decide(&asked, attempt))[0].1, "bob");
}

/// At a cold start the keys of both issuers may be missing: one wait for each, and no third.
#[test]
fn who_waited_for_keys_may_still_wait_for_those_of_the_groups() {
    const SIGNER: &str = "https://groups.example";
    let source = json!({"endpoint": "https://groups.example/jane"});
    let elsewhere = format!("Bearer {}", token("a", &elsewhere(&source)));
    let asked = bearer(&elsewhere, &[]);
    let mut gateway = allowed("groups.example");
    gateway["limits"] = json!({"waitSeconds": 3});
    let mut rig = Rig::with(&[ISSUER, SIGNER], gateway);
    let mut signed = claims();
    signed["iss"] = json!(SIGNER);

    let slow = rig.fetches();
    let keys = |issuer| Wait::Keys { issuer, newer_than: None };
    assert_eq!(rig.waits(&asked, Attempt::default()), keys(0));
    rig.now += Duration::from_secs(2);
    let mut callouts = slow;
    while let Some(callout) = callouts.pop() {
        let body = match (callout.authority.as_str(), callout.path.as_str()) {
            ("groups.example", _) => continue, // no answer yet
            (_, "/keys") => key_set(&["a"]),
            _ => json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys")}).to_string(),
        };
        rig.answer(&callout, Ok((200, body.as_bytes())));
        callouts.append(&mut rig.fetches);
    }
    let attempt = rig.settled();
    assert!(matches!(rig.waits(&asked, attempt), Wait::Groups(_)));
    answer_groups(&mut rig, Ok((200, token("b", &signed).as_bytes())));
    let attempt = rig.settled();
    assert_eq!(rig.waits(&asked, attempt), keys(1));
    // Both waits together last no longer than one may.
    rig.now += Duration::from_secs(1);
    let attempt = rig.settled();
    assert_eq!(refused(rig.decide(&asked, attempt)), (503, "no_keys"));
}

/// What a token says becomes a header of the gateway's own request, and Envoy writes such as they are.
#[test]
fn an_access_token_that_would_be_two_headers_goes_nowhere() {
    let source = json!({"endpoint": "https://groups.example/jane",
        "access_token": "a\r\nx-admin: true"});
    let mut rig = Rig::new(allowed("groups.example"));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert_eq!(refused(rig.present(&token("a", &elsewhere(&source)))), (401, "groups"));
    assert!(rig.lookups().is_empty());
}

/// A user whose groups another issuer signs: the answers of its groups endpoint, and what becomes of the request.
fn with_groups_of(rig: &mut Rig, groups: &str) -> Decision {
    let source = json!({"endpoint": "https://groups.example/jane"});
    let asked = format!("Bearer {}", token("a", &elsewhere(&source)));
    let asked = bearer(&asked, &[]);
    rig.waits(&asked, Attempt::default());
    answer_groups(rig, Ok((200, groups.as_bytes())));
    let attempt = rig.settled();
    rig.decide(&asked, attempt)
}

const SIGNER: &str = "https://groups.example";

fn signed(expires_in: u64) -> String {
    let mut signed = claims();
    signed["iss"] = json!(SIGNER);
    signed["exp"] = json!(NOW.as_secs() + expires_in);
    token("b", &signed)
}

/// A rig whose user and whose groups have issuers of their own, both with keys.
fn two_issuers(gateway: Value) -> Rig {
    let mut rig = Rig::with(&[ISSUER, SIGNER], gateway);
    rig.serve_all(&[(ISSUER, &key_set(&["a"])), (SIGNER, &key_set(&["b"]))]);
    rig
}

/// The user of a token in the cache kept its groups until the token itself expired.
#[test]
fn break_in_9_groups_end_with_the_token_that_held_them() {
    let mut gateway = allowed("groups.example");
    gateway["streamExpiry"] = json!({"watches": "cut"});
    let mut rig = two_issuers(gateway);
    let source = json!({"endpoint": "https://groups.example/jane"});
    let asked = format!("Bearer {}", token("a", &elsewhere(&source)));
    let asked = bearer(&asked, &[(":path", "/api/v1/pods?watch=true")]);
    assert_eq!(forwarded(with_groups_of(&mut rig, &signed(20)))[1].1, "dev");
    let Decision::Forward(forward) = rig.decide(&asked, Attempt::default()) else { panic!() };
    assert_eq!(forward.cut_after, Some(Duration::from_secs(20)), "streams end with them");
    rig.now += Duration::from_secs(20);
    forwarded(rig.decide(&asked, Attempt::default()));
    rig.now += Duration::from_secs(1);
    assert!(matches!(rig.waits(&asked, Attempt::default()), Wait::Groups(_)), "asked for anew");
}

/// Who left a group had it for as long as the token was remembered.
#[test]
fn fetched_groups_live_as_long_as_configured() {
    let source = json!({"endpoint": "https://groups.example/jane"});
    let fetched = format!("Bearer {}", token("a", &elsewhere(&source)));
    let own = format!("Bearer {}", token("a", &claims()));
    let (fetched, own) = (bearer(&fetched, &[]), bearer(&own, &[]));
    let mut gateway = allowed("groups.example");
    gateway["distributedGroups"]["lifetimeSeconds"] = json!(30);
    let mut rig = two_issuers(gateway);
    forwarded(with_groups_of(&mut rig, &signed(9_999)));
    forwarded(rig.decide(&own, Attempt::default()));
    rig.now += Duration::from_secs(30);
    forwarded(rig.decide(&fetched, Attempt::default()));
    rig.now += Duration::from_secs(1);
    assert!(matches!(rig.waits(&fetched, Attempt::default()), Wait::Groups(_)), "asked for anew");
    forwarded(rig.decide(&own, Attempt::default()));
}

/// An answer that another token's request had got was used again, so that groups lived longer than configured.
#[test]
fn the_lifetime_of_groups_begins_with_their_fetch() {
    let source = json!({"endpoint": "https://groups.example/jane"});
    let mut second = elsewhere(&source);
    second["jti"] = json!("another");
    let second = format!("Bearer {}", token("a", &second));
    let mut gateway = allowed("groups.example");
    gateway["distributedGroups"]["lifetimeSeconds"] = json!(1);
    gateway["reviews"] = json!({"cacheSeconds": 60});
    let mut rig = two_issuers(gateway);
    forwarded(with_groups_of(&mut rig, &signed(9_999)));
    rig.now += Duration::from_secs(30);
    let asked = bearer(&second, &[]);
    assert!(matches!(rig.waits(&asked, Attempt::default()), Wait::Groups(_)), "asked for anew");
}

/// The groups' issuer took its key back, and the cache went on giving what the key had signed.
#[test]
fn break_in_9_groups_end_with_the_key_that_signed_them() {
    let mut gateway = allowed("groups.example");
    gateway["keySets"] = json!({"defaultLifetimeSeconds": 20, "minimumLifetimeSeconds": 20});
    let mut rig = two_issuers(gateway);
    let source = json!({"endpoint": "https://groups.example/jane"});
    let asked = format!("Bearer {}", token("a", &elsewhere(&source)));
    let asked = bearer(&asked, &[]);
    forwarded(with_groups_of(&mut rig, &signed(9_999)));
    rig.now += Duration::from_secs(11);
    forwarded(rig.decide(&asked, Attempt::default()));
    // Another token of the signer's brings its new keys in.
    let mut new = claims();
    new["iss"] = json!(SIGNER);
    let new = format!("Bearer {}", token("c", &new));
    rig.waits(&bearer(&new, &[]), Attempt::default());
    rig.serve_all(&[(SIGNER, &key_set(&["c"]))]);
    let attempt = rig.settled();
    forwarded(rig.decide(&bearer(&new, &[]), attempt));
    // The set that had the old key was good for 20 seconds.
    rig.now += Duration::from_secs(9);
    rig.worker.sync(rig.now);
    assert!(matches!(rig.waits(&asked, Attempt::default()), Wait::Groups(_)), "asked for anew");
    answer_groups(&mut rig, Ok((200, signed(9_999).as_bytes())));
    let attempt = rig.settled();
    assert_eq!(refused(rig.decide(&asked, attempt)), (401, "groups"));
}

/// An answer of 32 MiB was kept, 10,000 times.
#[test]
fn break_in_9_what_is_too_long_for_a_token_is_not_kept() {
    let mut gateway = allowed("groups.example");
    gateway["limits"] = json!({"tokenBytes": 4096});
    let mut rig = two_issuers(gateway);
    let long = "x".repeat(4097);
    let Decision::Refuse(refusal) = with_groups_of(&mut rig, &long) else { panic!() };
    assert_eq!((refusal.reply().code, refusal.keyword()), (401, "groups"));
    assert!(refusal.to_string().contains("4097 bytes exceed limits.tokenBytes"), "{refusal}");
    assert!(rig.worker.lookups.bytes() < 1024, "{}", rig.worker.lookups.bytes());
}
