//! Group sources: the token of a request that waited for them is not verified once more, unless something has changed.

use std::cell::Cell;

use kube_authn::{
    crypto::{Algorithm, CryptoError, SignatureVerifier},
    jwks::PublicKey,
};
use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::token_hash::TokenHash;

use super::{
    sources::{JANE, authorization, groups, of, path, rig, serve, source, sourced, with},
    *,
};

const ANSWER: &str = r#"{"value": ["dev"]}"#;

/// Counts what [`FakeVerifier`] is asked.
struct Counting(Rc<Cell<u32>>);

impl SignatureVerifier for Counting {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        self.0.set(self.0.get() + 1);
        FakeVerifier.verify(algorithm, key, input, signature)
    }

    fn is_costly(&self, algorithm: Algorithm) -> bool {
        FakeVerifier.is_costly(algorithm)
    }
}

/// Has no hash of any token.
struct Broken;

impl TokenHash for Broken {
    fn hash(&self, _token: &[u8]) -> Option<u128> {
        None
    }
}

/// A rig that counts its checks of signatures.
fn counting() -> (Rig, Rc<Cell<u32>>) {
    counting_of(Instance::new(2, String::new(), [7; 16]))
}

fn counting_of(instance: Instance) -> (Rig, Rc<Cell<u32>>) {
    let mut rig = rig(&json!({}), &json!({}));
    let checks = Rc::<Cell<u32>>::default();
    let source = source(&json!({"requestsPerSecond": 1000}));
    let configuration = sourced(&[ISSUER], with(&[source], &json!({}))).unwrap();
    let verifier = Box::new(Counting(Rc::clone(&checks)));
    rig.worker = Worker::new(instance, verifier, configuration, Rc::clone(&rig.memory) as _);
    rig.worker.sync(rig.now);
    (rig, checks)
}

#[test]
fn a_token_is_verified_once_though_its_request_waits_for_groups() {
    let (mut rig, checks) = counting();
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    rig.waits(&asked, Attempt::default());
    serve(&mut rig, &[(JANE, 200, ANSWER)]);
    let attempt = rig.settled();
    assert_eq!(groups(rig.decide(&asked, attempt)), ["dev"]);
    assert_eq!(checks.get(), 1);
    // It is remembered for one decision, and for no other token.
    let mut other = of("jane");
    other["jti"] = json!("j2");
    let other = authorization(&other);
    assert_eq!(groups(rig.decide(&bearer(&other, &[]), attempt)), ["dev"]);
    assert_eq!(checks.get(), 2);
}

/// All of them would be one token.
#[test]
fn tokens_without_a_hash_are_not_remembered() {
    let instance = Instance::new(2, String::new(), [7; 16]);
    let (mut rig, checks) = counting_of(Instance { tokens: Rc::new(Broken), ..instance });
    let asked = authorization(&of("jane"));
    rig.waits(&bearer(&asked, &[]), Attempt::default());
    serve(&mut rig, &[(JANE, 200, ANSWER)]);
    let attempt = rig.settled();
    let bad = format!("Bearer {}", token("nobody's", &of("jane")));
    assert_eq!(refused(rig.decide(&bearer(&bad, &[]), attempt)).0, 401);
    assert_eq!(groups(rig.decide(&bearer(&asked, &[]), attempt)), ["dev"]);
    assert_eq!(checks.get(), 2);
}

/// Among many who wait, the first are verified once more.
#[test]
fn so_many_tokens_are_remembered_and_no_more() {
    let (mut rig, checks) = counting();
    let users: Vec<_> = (0..70).map(|number| format!("user-{number}")).collect();
    let asked: Vec<_> = users.iter().map(|user| authorization(&of(user))).collect();
    for asked in &asked {
        rig.waits(&bearer(asked, &[]), Attempt::default());
    }
    let paths: Vec<_> = users.iter().map(|user| path(user)).collect();
    let answers: Vec<_> = paths.iter().map(|path| (path.as_str(), 200, ANSWER)).collect();
    serve(&mut rig, &answers);
    let attempt = rig.ready()[0].attempt;
    assert_eq!(checks.get(), 70);
    for asked in &asked {
        assert_eq!(groups(rig.decide(&bearer(asked, &[]), attempt)), ["dev"]);
    }
    assert_eq!(checks.get(), 70 + 6);
}

#[test]
fn a_token_that_ended_or_whose_key_is_gone_while_it_waited_is_refused() {
    for (lives, is_replaced) in [(60, false), (3600, true)] {
        let cache = json!({"groupCache": {"lifetimeSeconds": 3600}});
        let mut rig = rig(&json!({}), &cache);
        let mut claims = of("jane");
        claims["exp"] = json!(NOW.as_secs() + lives);
        let asked = authorization(&claims);
        let asked = bearer(&asked, &[]);
        rig.waits(&asked, Attempt::default());
        serve(&mut rig, &[(JANE, 200, ANSWER)]);
        let attempt = rig.settled();
        rig.now += Duration::from_secs(11);
        if is_replaced {
            rig.waits(
                &bearer(&format!("Bearer {}", token("b", &of("joe"))), &[]),
                Attempt::default(),
            );
            rig.serve(ISSUER, &key_set(&["b"]));
            rig.now += Duration::from_secs(300);
            rig.serve(ISSUER, &key_set(&["b"]));
        } else {
            rig.now += Duration::from_secs(lives);
        }
        let attempt = Attempt { keys: 1, ..attempt };
        assert_eq!(refused(rig.decide(&asked, attempt)), (401, "verify"), "{lives}");
    }
}
