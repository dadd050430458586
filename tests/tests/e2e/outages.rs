//! Issuers that answer nonsense, late, or now and then; keys that rotate under load; clients that make up key ids.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use oidc_provider::{Answer as Bad, Config, Endpoint, Issuer, Misbehaviour, Provider, Rotation};
use serde_json::json;

use crate::{
    faults::{ask, short_lives, under_load},
    harness::{LIMIT, until},
    target::{self, CLIENT, Target, USER},
    wire::{Ask, Connection, Version},
};

/// Waits until so many further fetches of the key set have begun.
fn fetched(issuer: &Issuer, count: u64) {
    let before = issuer.requests(Endpoint::Jwks);
    assert!(issuer.wait_for_requests(Endpoint::Jwks, before + count, LIMIT), "no fetch");
}

/// istio#58101, envoy#14557 and their kin: an answer that is no key set must not cost the keys that are there. Every kind of
/// it at the same time, each from an issuer of its own.
#[test]
fn bad_answers_leave_the_good_keys() {
    let answer = |bad| Misbehaviour::answer(bad);
    let odd = json!({"kty": "OKP", "crv": "X25519", "kid": "odd", "x": "AA"});
    let kinds = [
        ("status-500", answer(Bad::Status(500))),
        ("html", answer(Bad::Html)),
        ("no-keys", answer(Bad::NoKeys)),
        ("odd-key", answer(Bad::OddKeys(vec![odd]))),
        ("truncated", answer(Bad::Truncated)),
        ("huge", answer(Bad::HugeMib(40))),
        ("redirect", answer(Bad::Redirect("https://issuer.example/".to_owned()))),
        ("closed", answer(Bad::Close)),
        ("silent", answer(Bad::Hang)),
        ("slow", Misbehaviour::delay(Duration::from_secs(3))),
        ("flapping", answer(Bad::Status(503)).every(2)),
        ("wrong-issuer", answer(Bad::Status(404))),
    ];
    let config = kinds.iter().fold(Config::of(target::issuer("healthy")), |config, (name, _)| {
        config.issuer(target::issuer(name))
    });
    let target =
        Target::start_at(Provider::start(config).unwrap(), &short_lives(), |gateway| gateway);
    let issuers = target.provider.issuers();
    let token = |issuer: &Issuer| issuer.token(USER, CLIENT).mint();
    for issuer in &issuers {
        assert_eq!(ask(&target, &token(issuer)).status, 200, "{}", issuer.name());
    }
    let before: Vec<_> = issuers.iter().map(|issuer| issuer.requests(Endpoint::Jwks)).collect();
    for (name, bad) in kinds {
        let issuer = target.provider.issuer_named(name).unwrap();
        if name == "wrong-issuer" {
            let wrong = Misbehaviour::answer(Bad::WrongIssuer("https://issuer.example".to_owned()));
            issuer.misbehave(Endpoint::Discovery, wrong).unwrap();
        }
        issuer.misbehave(Endpoint::Jwks, bad).unwrap();
    }
    let next = AtomicUsize::new(0);
    let in_turn = || {
        let next = next.fetch_add(1, Ordering::Relaxed);
        token(&issuers[next % issuers.len()])
    };
    let count = under_load(&target, in_turn, || {
        for (issuer, before) in issuers.iter().zip(before) {
            let again = issuer.wait_for_requests(Endpoint::Jwks, before + 1, LIMIT);
            assert!(again, "{} was not asked again", issuer.name());
        }
        // The first answers have arrived by the time of the second fetch of an issuer that answers.
        fetched(&target.issuer(), 2);
    });
    assert!(count as usize > issuers.len(), "{count}");
    for issuer in &issuers {
        assert_eq!(ask(&target, &token(issuer)).status, 200, "{}", issuer.name());
    }
}

/// The realm was deleted, and its keys went on opening the cluster.
#[test]
fn break_in_13_an_issuer_that_is_gone_loses_its_keys() {
    let mut settings = short_lives();
    settings["keySets"]["maximumWithdrawnSeconds"] = json!(2);
    let target = Target::start(&settings);
    let token = target.token().expires_in(3600).mint();
    let user = target.identity(&token);
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
        target.issuer().misbehave(endpoint, Misbehaviour::answer(Bad::Status(404))).unwrap();
    }
    let gone = || ask(&target, &token).status == 503;
    until("the keys end", || gone().then_some(()));
    let refused = Ask::version().bearer(&token);
    // The token is in the caches, which end with the keys.
    target.assert_refused("gone", &refused, Version::H2, (503, "ServiceUnavailable"));
    let log = std::fs::read_to_string(target.gateway.log()).unwrap();
    assert!(log.contains("the last keys ended by keySets.maximumWithdrawnSeconds"), "{log}");
    target.issuer().behave();
    until("it is there again", || (ask(&target, &token).status == 200).then_some(()));
    assert_eq!(target.identity(&token), user);
}

/// An issuer that has never answered is the trouble of its own users only.
#[test]
fn a_sick_issuer_holds_nobody_else_up() {
    let config = Config::of(target::issuer("healthy")).issuer(target::issuer("sick"));
    let provider = Provider::start(config).unwrap();
    let sick = provider.issuer_named("sick").unwrap();
    sick.misbehave(Endpoint::Discovery, Misbehaviour::answer(Bad::Hang)).unwrap();
    let settings = json!({"limits": {"waitSeconds": 2}, "keySets": {"timeoutSeconds": 1}});
    let target = Target::start_at(provider, &settings, |gateway| gateway);
    let good = target.token().mint();
    assert_eq!(ask(&target, &good).status, 200);
    under_load(
        &target,
        || good.clone(),
        || {
            let answer = ask(&target, &sick.token(USER, CLIENT).mint());
            target::assert_status("no keys", &answer, (503, "ServiceUnavailable"));
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        },
    );
}

/// envoy#14557: new keys are found as soon as a token has one, also when the old ones are gone at the same moment. Tokens are
/// minted for each request, so that no cache answers for the keys.
#[test]
fn keys_rotate_under_load() {
    let target = Target::start(&short_lives());
    let old = target.token().mint();
    // An issuer that lets its keys overlap signs with the new one when the old key sets have expired.
    let current = Mutex::new(old.clone());
    let count = under_load(
        &target,
        || current.lock().unwrap().clone(),
        || {
            for _ in 0..2 {
                target.issuer().rotate(Rotation::Overlap);
                fetched(&target.issuer(), 2);
                *current.lock().unwrap() = target.token().mint();
                fetched(&target.issuer(), 1);
            }
            assert_eq!(ask(&target, &old).status, 200, "the old keys are still published");
        },
    );
    assert!(count > 20, "{count}");
}

/// Without an overlap a token of the old key may be refused on its way, and nothing else.
#[test]
fn keys_are_replaced_under_load() {
    let target = Target::start(&short_lives());
    let old = target.token().mint();
    assert_eq!(ask(&target, &old).status, 200);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut connection = Connection::open(&target.gateway).unwrap();
            loop {
                let answer = connection.ask(&Ask::version().bearer(&old)).unwrap();
                match answer.status {
                    200 => {}
                    401 => return,
                    _ => panic!("{answer:?}"),
                }
            }
        });
        target.issuer().rotate(Rotation::Replace);
        let fresh = target.token().mint();
        until("the new key is found", || (ask(&target, &fresh).status == 200).then_some(()));
        load.join().expect("the old key is refused with 401 in the end");
    });
    under_load(&target, || target.token().mint(), || fetched(&target.issuer(), 1));
}

/// go-oidc#482, kubernetes#139769: whoever sends random key ids makes the gateway fetch. Honest requests at the same time are
/// all served.
#[test]
fn ten_thousand_random_key_ids_cause_no_more_fetches_than_the_interval_allows() {
    const CLIENTS: usize = 4;
    const EACH: usize = 2_500;
    let target = Target::start(&json!({"keySets": {"minimumRefetchSeconds": 2}}));
    let good = target.token().mint();
    assert_eq!(ask(&target, &good).status, 200);
    let issuer = target.issuer();
    // With a signature of a key that nobody has, and so at no cost.
    let forged = |client: usize, number: usize| {
        let token = target.token().header("kid", format!("random-{client}-{number}"));
        token.signature(vec![7; 256]).mint()
    };
    let (before, start) = (issuer.requests(Endpoint::Jwks), Instant::now());
    let served = under_load(
        &target,
        || good.clone(),
        || {
            thread::scope(|scope| {
                for client in 0..CLIENTS {
                    let (target, forged) = (&target, &forged);
                    scope.spawn(move || {
                        let mut connection = Connection::open(&target.gateway).unwrap();
                        for number in 0..EACH {
                            let ask = Ask::version().bearer(&forged(client, number));
                            assert_eq!(connection.ask(&ask).unwrap().status, 401);
                        }
                    });
                }
            });
        },
    );
    let took = start.elapsed();
    let fetches = issuer.requests(Endpoint::Jwks) - before;
    let allowed = took.as_secs() / 2 + 1;
    println!("{fetches} fetches in {took:?}, {served} honest requests served");
    assert!(fetches <= allowed, "{fetches} fetches, {allowed} allowed");
    assert_eq!(
        Ask::version().bearer(&good).send(&target.gateway, Version::H2).unwrap().status,
        200
    );
}
