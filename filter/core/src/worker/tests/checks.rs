//! What signature checks a client can cause that has no token of its own.

use std::cell::Cell;

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::testing::token_with;

/// The rate of one address in these tests.
const RATE: usize = 5;

fn rig(keys: &[&str]) -> Rig {
    let mut rig = Rig::new(json!({"limits": {"signatureChecksPerSecond": RATE}}));
    rig.serve(ISSUER, &key_set(keys));
    rig
}

/// A token of `user` with this header, which the key of this id signed.
fn of(header: &Value, kid: &str, user: usize) -> String {
    let mut claims = claims();
    claims["jti"] = json!(user.to_string());
    token_with(header, kid, &claims)
}

fn ask(rig: &mut Rig, address: &str, token: &str) -> Decision {
    let headers = [("authorization".to_owned(), format!("Bearer {token}").into_bytes())];
    let peer = Peer {
        address: &|| address.to_owned(),
        protocol: &|| "HTTP/1.1".to_owned(),
        has_body: false,
    };
    rig.worker.decide(&RequestHead::read(&headers), peer, Attempt::default(), rig.now).decision
}

/// PS256 costs Wasm half a millisecond, ES512 a whole one, and anybody may ask for it.
#[test]
fn break_in_7_a_client_may_cause_few_costly_checks() {
    let mut rig = rig(&["a"]);
    let header = json!({"alg": "PS256", "kid": "a"});
    let mut answers = [0; 2];
    for n in 0..1000 {
        let address = format!("2001:db8::{n:x}");
        match refused(ask(&mut rig, &address, &of(&header, "b", n))) {
            (401, "verify") => answers[0] += 1,
            (429, "too_many_checks") => answers[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answers, [RATE, 1000 - RATE]);
    let Decision::Refuse(refusal) = ask(&mut rig, "2001:db8::1", &of(&header, "b", 0)) else {
        panic!()
    };
    assert_eq!(refusal.reply().retry_after, Some(1));
    // Others are served, and it is itself a second later.
    let good = of(&header, "a", 1);
    forwarded(ask(&mut rig, "2001:db8:0:1::1", &good));
    rig.now += Duration::from_secs(1);
    forwarded(ask(&mut rig, "2001:db8::1", &of(&header, "a", 2)));
}

/// Only what is not known yet is checked.
#[test]
fn break_in_7_a_token_in_the_cache_meets_no_bound() {
    let mut rig = rig(&["a"]);
    let header = json!({"alg": "PS256", "kid": "a"});
    let good = of(&header, "a", 0);
    let address = "192.0.2.1";
    forwarded(ask(&mut rig, address, &good));
    for n in 0..100 {
        let _ = ask(&mut rig, address, &of(&header, "b", n));
    }
    assert_eq!(refused(ask(&mut rig, address, &of(&header, "a", 1))), (429, "too_many_checks"));
    for _ in 0..100 {
        forwarded(ask(&mut rig, address, &good));
    }
    // Nor does what Envoy itself checks, good or bad.
    let header = json!({"alg": "RS256", "kid": "a"});
    for n in 0..100 {
        assert_eq!(refused(ask(&mut rig, address, &of(&header, "b", n))), (401, "verify"));
        forwarded(ask(&mut rig, address, &of(&header, "a", n)));
    }
}

/// Without a `kid` each key costs a check: the first is free where Envoy makes it, the others are not.
#[test]
fn break_in_7_a_token_without_key_id_pays_for_every_further_key() {
    let mut rig = rig(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    let header = json!({"alg": "RS256"});
    let address = "192.0.2.1";
    // Two more keys beside the first, then three.
    forwarded(ask(&mut rig, address, &of(&header, "c", 0)));
    forwarded(ask(&mut rig, address, &of(&header, "d", 1)));
    assert_eq!(refused(ask(&mut rig, address, &of(&header, "z", 2))), (429, "too_many_checks"));
    forwarded(ask(&mut rig, address, &of(&header, "a", 3)));
    assert_eq!(refused(ask(&mut rig, "192.0.2.2", &of(&header, "e", 4))), (401, "verify"));
}

/// The address is a host call, which a request of a known token does not pay for.
#[test]
fn the_address_is_asked_for_only_where_it_counts() {
    let mut rig = rig(&["a"]);
    let asked = Cell::new(0);
    let address = || {
        asked.set(asked.get() + 1);
        "192.0.2.1".to_owned()
    };
    for (algorithm, times, want) in [("RS256", 3, 0), ("PS256", 3, 1)] {
        let token = of(&json!({"alg": algorithm, "kid": "a"}), "a", 0);
        let headers = [("authorization".to_owned(), format!("Bearer {token}").into_bytes())];
        for _ in 0..times {
            let head = RequestHead::read(&headers);
            let peer =
                Peer { address: &address, protocol: &|| "HTTP/1.1".to_owned(), has_body: false };
            forwarded(rig.worker.decide(&head, peer, Attempt::default(), rig.now).decision);
        }
        assert_eq!(asked.get(), want, "{algorithm}");
    }
}
