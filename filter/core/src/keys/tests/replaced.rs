//! Sets that were replaced before their time was over.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// coreos/go-oidc#175: the replicas of an issuer had keys of their own each, and whoever was behind the other one was refused.
#[test]
fn an_issuer_whose_replicas_publish_different_sets_is_served() {
    for lifetime in [300, 86_400] {
        let mut rig = Rig::new();
        rig.policy.default_lifetime_seconds = lifetime;
        let (mut one, mut two) = (rig.issuer(), rig.issuer());
        // Which replica answers is chance; xorshift, so that it is the same at each run.
        let mut random = 0x2545_f491_u32;
        let mut replica = || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            if random & 0x100 == 0 { "a" } else { "b" }
        };
        let (mut fetches, mut served, mut asked) = (0, 0, 0);
        let mut told = 0;
        for second in 0..7200 {
            rig.pass(1);
            for worker in [1, 2] {
                let issuer = if worker == 1 { &mut one } else { &mut two };
                issuer.sync(rig.now, &rig.memory);
                let mut next = issuer.fetch(FetchReason::Due, &rig.step(worker));
                for kid in ["a", "b"] {
                    let missing = !kids(issuer, rig.now).iter().any(|it| it == kid);
                    let version = issuer.record.version();
                    if next.is_none()
                        && missing
                        && issuer.may_refetch(rig.now, version, Some(kid), &rig.policy)
                    {
                        let why = FetchReason::UnknownKey { version };
                        next = issuer.fetch(why, &rig.step(worker));
                    }
                }
                fetches += u32::from(next.is_some());
                while let Some(Action::Call(callout)) = next {
                    let body = if callout.path.contains("well-known") {
                        discovery_document()
                    } else {
                        key_set(&[replica()])
                    };
                    next = issuer.answered(Ok(ok(&body)), &rig.step(worker));
                }
                if let Some(Action::Broadcast { alternates: true, .. }) = next {
                    told += 1;
                }
                // The first minutes may pass until the second replica is seen.
                if second > 300 {
                    asked += 2;
                    served += kids(issuer, rig.now).len();
                }
            }
        }
        assert!(served * 100 >= asked * 98, "{served} of {asked} with {lifetime}");
        assert!(fetches < 7200 / 10, "{fetches}");
        assert!((1..10).contains(&told), "{told}");
    }
}

/// A stolen key: the issuer has taken it out, and a token of the new one has shown that to the gateway.
#[test]
fn a_key_that_was_replaced_serves_no_longer_than_its_set_was_fresh_and_never_longer_than_five_minutes()
 {
    for (lifetime, serves) in [(60, 49), (300, 289), (86_400, 300)] {
        let mut rig = Rig::new();
        rig.policy.default_lifetime_seconds = lifetime;
        let (mut one, mut two) = (rig.issuer(), rig.issuer());
        assert!(rig.fetch(&mut one, 1, FetchReason::Due, &key_set(&["a"])));
        rig.pass(11);
        two.sync(rig.now, &rig.memory);
        let unknown = FetchReason::UnknownKey { version: 1 };
        assert!(rig.fetch(&mut one, 1, unknown, &key_set(&["b"])));
        two.sync(rig.now, &rig.memory);
        let epoch = two.epoch();
        assert_eq!(kids(&two, rig.now), ["b", "a"]);
        // The fetches meanwhile bring it no new time.
        let end = rig.now + Duration::from_secs(serves);
        while one.due() < end {
            rig.now = one.due();
            assert!(rig.fetch(&mut one, 1, FetchReason::Due, &key_set(&["b"])));
        }
        rig.now = end - Duration::from_millis(1);
        two.sync(rig.now, &rig.memory);
        assert_eq!(kids(&two, rig.now), ["b", "a"], "{lifetime}");
        assert_eq!(two.epoch(), epoch);
        rig.now = end;
        assert_eq!(kids(&two, rig.now), ["b"], "without a tick");
        assert!(
            two.epoch() == epoch && {
                two.sync(rig.now, &rig.memory);
                two.epoch() > epoch
            }
        );
        assert_eq!(kids(&rig.issuer(), rig.now), ["b"], "a worker that begins now");
    }
}

/// A server that writes the same keys in another order each time has replaced nothing.
#[test]
fn the_same_keys_in_another_order_are_the_same_set() {
    let mut rig = Rig::new();
    let mut issuer = rig.issuer();
    assert!(rig.fetch(&mut issuer, 1, FetchReason::Due, &key_set(&["a", "b"])));
    rig.pass(11);
    let unknown = FetchReason::UnknownKey { version: 1 };
    assert!(rig.fetch(&mut issuer, 1, unknown, &key_set(&["b", "a"])));
    assert_eq!(kids(&issuer, rig.now), ["b", "a"]);
    assert_eq!(issuer.due() - rig.now, Duration::from_secs(300));
    assert_eq!(issuer.epoch(), 0);
}
