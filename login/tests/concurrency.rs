//! Many kubectl at once: one person is asked once.

mod common;

use std::{sync::mpsc, thread};

use common::{Outcome, World};
use oidc_provider::Endpoint;

const PROCESSES: usize = 20;

/// Starts the plugin many times at once. Whoever says "Log in" is answered; the number of those is returned.
fn at_once(world: &World, arguments: &[&str]) -> (usize, Vec<Outcome>) {
    let (asked, asks) = mpsc::channel();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..PROCESSES)
            .map(|_| {
                let asked = asked.clone();
                scope.spawn(move || {
                    let mut running = world.get_token().args(arguments).spawn();
                    if let Some(url) = running.login_url_or_end() {
                        asked.send(()).unwrap();
                        world.sign_in(&url);
                    }
                    running.finish()
                })
            })
            .collect();
        drop(asked);
        let outcomes = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        (asks.iter().count(), outcomes)
    })
}

#[test]
fn a_cold_store_asks_the_person_once() {
    let world = World::new();
    let (asked, outcomes) = at_once(&world, &[]);
    assert_eq!(asked, 1);
    let mut credentials: Vec<_> = outcomes.iter().map(Outcome::credential).collect();
    credentials.dedup();
    assert_eq!(credentials.len(), 1, "all have the one token");
    assert_eq!(world.issuer.requests(Endpoint::Token), 1);
}

/// Rotated refresh tokens serve once: two processes that used the same one would end the login.
#[test]
fn an_expired_token_is_refreshed_once() {
    let world = World::with(|issuer| {
        issuer.token_lifetime_seconds = 5;
        issuer.clients[0].rotate_refresh_tokens = true;
    });
    world.log_in(world.get_token()).credential();
    world.issuer.set_token_lifetime(std::time::Duration::from_secs(300));
    world.issuer.reset_requests();
    let (asked, outcomes) = at_once(&world, &[]);
    assert_eq!(asked, 0);
    for outcome in outcomes {
        outcome.credential();
    }
    assert_eq!(world.issuer.requests(Endpoint::Token), 1);
}

/// A person who cancels must not be asked nineteen times more.
#[test]
fn a_failed_login_fails_for_all_that_wait() {
    let world = World::new();
    let (ended, ends) = mpsc::channel();
    thread::scope(|scope| {
        let mut first = world.get_token().arg("--authentication-timeout-sec=5").spawn();
        first.login_url();
        for _ in 0..3 {
            let ended = ended.clone();
            let mut waiting = world.get_token().spawn();
            waiting.line_with("Waiting for another kubectl");
            scope.spawn(move || ended.send(waiting.finish()).unwrap());
        }
        drop(ended);
        first.finish().fails_with("nobody logged in");
    });
    for outcome in ends {
        outcome.fails_with("another kubectl tried to log in at the same time and failed: nobody");
    }
    // The next one begins anew.
    world.log_in(world.get_token()).credential();
}
