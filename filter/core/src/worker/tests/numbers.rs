//! The numbers of a `GatewayConfiguration`, each with its effect on a worker.

use serde_json::json;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{callout::Response, lookups::Lookup};

fn granted(rig: &mut Rig, count: u64) {
    for n in 0..count {
        let mut claims = claims();
        claims["jti"] = json!(n.to_string());
        forwarded(rig.present(&token("a", &claims)));
    }
}

fn as_bob(rig: &mut Rig) -> Decision {
    let token = format!("Bearer {}", token("a", &claims()));
    let headers = [("impersonate-user", "bob"), ("impersonate-group", "ops")];
    rig.decide(&bearer(&token, &headers), Attempt::default())
}

#[test]
fn reviews_take_the_configured_time_and_number() {
    let authorize = |reviews: Value| {
        let mut rig = Rig::new(json!({"clientImpersonation": "authorize", "reviews": reviews}));
        rig.serve(ISSUER, &key_set(&["a"]));
        rig
    };
    let mut rig = authorize(json!({"maximumValues": 1}));
    assert_eq!(refused(as_bob(&mut rig)), (431, "too_many_impersonated"));

    let mut rig = authorize(json!({"timeoutSeconds": 3, "cacheSeconds": 2}));
    assert!(matches!(as_bob(&mut rig), Decision::Wait(_)));
    for review in rig.lookups() {
        assert_eq!(review.timeout, Duration::from_secs(3));
        let answer = json!({"status": {"allowed": true}}).to_string();
        rig.answer(&review, Ok((201, answer.as_bytes())));
    }
    for (after, known) in [(1, true), (3, false)] {
        rig.now = NOW + Duration::from_secs(after);
        assert_eq!(matches!(as_bob(&mut rig), Decision::Forward(_)), known, "{after} s");
    }
}

#[test]
fn the_token_cache_is_as_large_and_lives_as_long_as_configured() {
    let caching = |policy: Value| {
        let mut rig = Rig::new(json!({"tokenCache": policy}));
        rig.serve(ISSUER, &key_set(&["a"]));
        rig
    };
    let mut rig = caching(json!({"maximumEntries": 3}));
    granted(&mut rig, 5);
    assert_eq!(rig.worker.cache.len(), 3);
    let mut rig = caching(json!({"maximumBytes": 65_536}));
    granted(&mut rig, 500);
    assert!(rig.worker.cache.bytes() <= 65_536 && rig.worker.cache.len() < 500);

    let mut rig = caching(json!({"timeToLiveSeconds": 5}));
    granted(&mut rig, 1);
    let mut first = claims();
    first["jti"] = json!("0");
    let first = token("a", &first);
    for (after, known) in [(5, true), (6, false)] {
        let epoch = rig.worker.issuers[0].epoch();
        let now = NOW + Duration::from_secs(after);
        let key = rig.worker.cache.key(first.as_bytes());
        let found = rig.worker.cache.get(key, now, |_| epoch);
        assert_eq!(found.is_some(), known, "{after} s");
    }
}

#[test]
fn key_sets_and_headers_are_bounded_as_configured() {
    let mut rig = Rig::new(json!({"keySets": {"maximumBytes": 1024}}));
    let large = format!("{}{}", key_set(&["a"]), " ".repeat(1024));
    rig.serve(ISSUER, &large);
    assert_eq!(refused(rig.present_again(&token("a", &claims()))), (503, "no_keys"));

    let mut rig = Rig::new(json!({"limits": {"headerBytes": 1024}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let mut many = claims();
    many["groups"] = json!((0..50).map(|n| format!("a-group-with-a-name-{n}")).collect::<Vec<_>>());
    assert_eq!(refused(rig.present(&token("a", &many))), (431, "identity_too_large"));
}

#[test]
fn answers_take_no_more_memory_than_configured() {
    let mut rig = Rig::new(json!({"reviews": {"maximumBytes": 1 << 20}}));
    for n in 0..50 {
        let lookup = Lookup::Groups {
            cluster: "issuers".to_owned(),
            authority: "groups.example".to_owned(),
            path: format!("/{n}"),
            access_token: String::new(),
        };
        let id = rig.worker.lookups.id(&lookup);
        rig.worker.lookups.start(id, lookup, None, NOW).unwrap();
        let response = Response { status: 200, headers: &[], body: &vec![b'x'; 60_000] };
        rig.worker.answered(Purpose::Groups(id), Ok(response), NOW, 0.0);
    }
    let bytes = rig.worker.lookups.bytes();
    assert!((900_000..=1 << 20).contains(&bytes), "{bytes}");
}
