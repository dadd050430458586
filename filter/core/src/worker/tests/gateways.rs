//! Several workers in one proxy: of gateways that have nothing to do with each other, and of one whose configuration changes.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const OTHER: &str = "https://other.example";
const DISCOVERY: &str = "https://issuer.example/tenant/.well-known/openid-configuration";

/// Break-in 1: the last configuration was that of all gateways.
#[test]
fn break_in_1_each_gateway_decides_by_its_own_configuration() {
    let memory = Rc::<Memory>::default();
    let masters = json!({"allowedReserved": {"groups": ["system:masters"]}});
    let mut dev = Rig::beside(memory.clone(), 1, "dev", configuration(&[OTHER], masters));
    let mut prod = Rig::beside(memory, 2, "prod", configuration(&[ISSUER], json!({})));
    dev.serve(OTHER, &key_set(&["a"]));
    prod.serve(ISSUER, &key_set(&["a"]));
    let mut claims = claims();
    claims["groups"] = json!(["system:masters"]);
    let at_prod = token("a", &claims);
    claims["iss"] = json!(OTHER);
    let at_dev = token("a", &claims);
    for _ in 0..2 {
        assert_eq!(forwarded(dev.present(&at_dev))[1].1, "system:masters");
        assert_eq!(refused(prod.present(&at_dev)), (401, "unknown_issuer"));
        assert_eq!(refused(dev.present(&at_prod)), (401, "unknown_issuer"));
        assert_eq!(refused(prod.present(&at_prod)), (403, "guard"));
    }
}

#[test]
fn gateways_share_an_issuers_keys_only_where_it_is_reached_alike() {
    let memory = Rc::<Memory>::default();
    let mut first = Rig::beside(memory.clone(), 1, "a", configuration(&[ISSUER], json!({})));
    assert_eq!(first.serve(ISSUER, &key_set(&["a"])), 2);
    let mut same = Rig::beside(memory.clone(), 2, "b", configuration(&[ISSUER], json!({})));
    assert_eq!(same.serve(ISSUER, &key_set(&["b"])), 0, "the keys are there");
    assert_eq!(forwarded(same.present(&token("a", &claims())))[0].1, "jane");

    let variant = |change: &dyn Fn(&mut Value)| {
        let mut document = json!({
            "authenticationConfiguration": configuration_json(&[ISSUER]),
            "defaultIssuerCluster": "issuers",
            "reviewCluster": "review",
        });
        change(&mut document);
        Configuration::parse(document.to_string().as_bytes()).unwrap()
    };
    let authority = include_str!("authority.pem");
    let issuer = |document: &mut Value, name: &str, value: &str| {
        document["authenticationConfiguration"]["jwt"][0]["issuer"][name] = json!(value);
    };
    let variants = [
        variant(&|document| document["defaultIssuerCluster"] = json!("others")),
        variant(&|document| issuer(document, "certificateAuthority", authority)),
        variant(&|document| issuer(document, "discoveryURL", DISCOVERY)),
    ];
    for (n, configuration) in (3..).zip(variants) {
        let mut other = Rig::beside(memory.clone(), n, "c", configuration);
        assert!(matches!(other.present(&token("a", &claims())), Decision::Wait(_)), "{n}");
        assert_eq!(other.serve(ISSUER, &key_set(&["b"])), 2, "{n}");
    }
    assert_eq!(forwarded(first.present(&token("a", &claims())))[0].1, "jane");
}

#[test]
fn gateways_have_limits_of_their_own() {
    let memory = Rc::<Memory>::default();
    let gateway = json!({
        "tokenReview": {"enabled": true}, "reviews": {"tokenReviewsPerSecond": 5},
    });
    let limited = |id, name| {
        let configuration = configuration(&[ISSUER], gateway.clone());
        let mut rig = Rig::beside(memory.clone(), id, name, configuration);
        (0..100).filter(|n| matches!(rig.present(&format!("bad{n}")), Decision::Refuse(_))).count()
    };
    assert_eq!((limited(1, "a"), limited(2, "b"), limited(3, "a")), (50, 50, 100));
}

#[test]
fn a_new_configuration_has_the_keys_and_may_end_the_fetch_of_the_old() {
    let mut old = Rig::new(json!({}));
    old.serve(ISSUER, &key_set(&["a"]));
    let next = |id, issuers: &[&str]| {
        Rig::beside(old.memory.clone(), id, "", configuration(issuers, json!({})))
    };
    let mut new = next(2, &[ISSUER, OTHER]);
    assert_eq!(forwarded(new.present(&token("a", &claims())))[0].1, "jane");

    assert_eq!(new.worker.poll(new.now, 0.0).len(), 1, "the other issuer is asked");
    let mut newest = next(3, &[OTHER]);
    assert!(newest.worker.poll(newest.now, 0.0).is_empty(), "it is being asked");
    new.worker.retire();
    assert_eq!(newest.serve(OTHER, &key_set(&["a"])), 2, "at once, and not when the lease ends");
}

#[test]
fn what_retires_takes_its_part_of_the_gauges_along() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    forwarded(rig.present(&token("a", &claims())));
    let gauges = |changes: Vec<Change>| -> Vec<i64> {
        let name = |change: &Change| change.stat == "gateway_token_cache_entries";
        changes.iter().filter(|change| name(change)).map(|change| change.value).collect()
    };
    assert_eq!(gauges(rig.worker.take_metrics()), [1]);
    assert_eq!(gauges(rig.worker.retire()), [-1]);
}

/// Its streams may last for hours, and its issuers be gone.
#[test]
fn what_rests_fetches_no_keys_until_a_request_comes() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let good = token("a", &claims());
    forwarded(rig.present(&good));
    rig.worker.rest();
    let outcome = rig.outcome(&[("authorization", &format!("Bearer {good}"))], Attempt::default());
    assert!(outcome.authenticated, "the cache is empty");
    assert_eq!(forwarded(outcome.decision)[0].1, "jane", "and the keys are fresh");

    rig.now += Duration::from_secs(24 * 3600);
    let mut claims = claims();
    claims["exp"] = json!(rig.now.as_secs() + 60);
    let late = token("a", &claims);
    let wait = rig.waits(&[("authorization", &format!("Bearer {late}"))], Attempt::default());
    assert!(matches!(wait, Wait::Keys { newer_than: Some(_), .. }));
    assert_eq!(rig.serve(ISSUER, &key_set(&["b"])), 1);
    let attempt = rig.settled();
    let decision = rig.decide(&[("authorization", &format!("Bearer {late}"))], attempt);
    assert_eq!(refused(decision), (401, "verify"), "its key was taken away meanwhile");
}
