//! What clients without a good token can make the gateway do: compute, for a bounded time.

use oidc_provider::{Algorithm, Config, Provider, SignWith, TokenBuilder};
use serde_json::json;

use crate::{
    harness::until,
    target::{self, Target},
    wire::{Ask, Version},
};

const TOO_MANY: (u16, &str) = (429, "TooManyRequests");
const UNAUTHORIZED: (u16, &str) = (401, "Unauthorized");

/// A PS256 signature costs half a millisecond in Wasm, and Envoy's own cryptography has none. Who sends forged ones is put off;
/// who is known already notices nothing.
#[test]
fn break_in_7_forged_signatures_that_cost_much_are_put_off() {
    let issuer = target::issuer("main").algorithms([Algorithm::Rs256, Algorithm::Ps256]);
    let provider = Provider::start(Config::of(issuer)).unwrap();
    let settings = json!({"limits": {"signatureChecksPerSecond": 2}});
    // Each worker has a cache of its own.
    let target = Target::start_at(provider, &settings, |gateway| gateway.workers(1));
    let by = |algorithm: Algorithm| target.token().sign(SignWith::Algorithm(algorithm));
    let forged = |token: TokenBuilder| token.signature(vec![7; 256]).mint();

    let good = by(Algorithm::Ps256).claim("jti", "known").mint();
    let user = target.identity(&good);
    let known = || {
        let ask = Ask::version().bearer(&good);
        assert_eq!(target.assert_served("known", &ask, Version::H2, &user).status, 200);
    };
    let put_off = until("a forged token is put off", || {
        let ask = Ask::version().bearer(&forged(by(Algorithm::Ps256)));
        let answer = ask.send(&target.gateway, Version::H2).unwrap();
        match answer.status {
            401 => None,
            _ => Some(answer),
        }
    });
    target::assert_status("forged", &put_off, TOO_MANY);
    assert_eq!(put_off.header("retry-after"), Some("1"));
    known();
    // What Envoy itself checks is not counted, however much of it comes.
    for _ in 0..20 {
        let ask = Ask::version().bearer(&forged(by(Algorithm::Rs256)));
        target.assert_refused("RS256", &ask, Version::H2, UNAUTHORIZED);
    }
    let new = by(Algorithm::Ps256).claim("jti", "new").mint();
    until("a new token is taken", || {
        let answer = Ask::version().bearer(&new).send(&target.gateway, Version::H2).unwrap();
        (answer.status == 200).then_some(())
    });
    known();
}

/// A key set of ten keys and a token that names none of them.
#[test]
fn break_in_7_a_token_without_key_id_tries_four_keys() {
    let target = Target::start(&json!({}));
    for _ in 0..9 {
        target.issuer().publish(target.issuer().new_key(Algorithm::Rs256));
    }
    // The gateway learns of the new keys by a token that names the last of them.
    let last = target.issuer().new_key(Algorithm::Rs256).with_kid("last");
    target.issuer().publish(last);
    let by_last = || target.token().sign(SignWith::Kid("last".to_owned()));
    until("the keys are known", || {
        let ask = Ask::version().bearer(&by_last().mint());
        let answer = ask.send(&target.gateway, Version::H2).unwrap();
        (answer.status == 200).then_some(())
    });
    let unnamed = Ask::version().bearer(&by_last().without_header("kid").mint());
    target.assert_refused("the eleventh key", &unnamed, Version::H2, UNAUTHORIZED);
    target.identity(&target.token().without_header("kid").mint());
}
