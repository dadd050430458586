//! Renewing a token: silently while the issuer allows it, by a login when it no longer does.

mod common;

use std::time::Duration;

use common::World;
use oidc_provider::{Answer, Endpoint, Misbehaviour};

/// A world whose tokens are to be renewed at each call, and a login in it.
fn short_lived() -> World {
    let world = World::with(|issuer| {
        issuer.token_lifetime_seconds = 8; // within the margin of 10 s
        issuer.clients[0].rotate_refresh_tokens = true;
    });
    world.log_in(world.get_token()).credential();
    world
}

#[test]
fn a_token_about_to_expire_is_renewed_silently() {
    let world = short_lived();
    // Rotated each time: the old refresh token used again would end the login.
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let outcome = world.get_token().run();
        assert_eq!(outcome.stderr, "");
        tokens.push(outcome.credential().token);
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
    world.issuer.set_token_lifetime(Duration::from_secs(300));
    let fresh = world.get_token().run().credential();
    assert_eq!(world.get_token().run().credential(), fresh);
    assert_ne!(world.get_token().arg("--force-refresh").run().credential(), fresh);
}

#[test]
fn groups_changed_at_the_issuer_arrive_with_the_next_token() {
    let world = World::new();
    let before = world.log_in(world.get_token().arg("--oidc-extra-scope=groups")).credential();
    assert_eq!(before.claims()["groups"], serde_json::json!(["dev"]));
    world.issuer.set_groups("alice", ["ops"]).unwrap();
    let after = world.get_token().args(["--oidc-extra-scope=groups", "--force-refresh"]).run();
    assert_eq!(after.credential().claims()["groups"], serde_json::json!(["ops"]));
}

#[test]
fn a_revoked_refresh_token_leads_to_a_login() {
    let world = short_lived();
    world.issuer.end_logins("alice");
    let outcome = world.log_in(world.get_token().arg("-v"));
    assert!(outcome.stderr.contains("the refresh token is of no use"), "{}", outcome.stderr);
    outcome.credential();
    world.get_token().run().credential();
}

#[test]
fn an_issuer_that_is_down_is_named_and_nobody_is_asked_to_log_in() {
    // Without rotation: an answer that is lost on its way takes a rotated token with it, whatever a client does.
    let world = World::with(|issuer| issuer.token_lifetime_seconds = 8);
    world.log_in(world.get_token()).credential();
    // A proxy's or a rate limit's no is not the issuer's.
    for answer in
        [503, 429, 403].map(Answer::Status).into_iter().chain([Answer::Close, Answer::Html])
    {
        world.issuer.misbehave(Endpoint::Token, Misbehaviour::answer(answer.clone())).unwrap();
        let outcome = world.get_token().run();
        assert!(!outcome.stderr.contains("Log in"), "{answer:?} {}", outcome.stderr);
        // The token still has some seconds: better than none.
        if outcome.code == Some(0) {
            outcome.credential();
        }
        world.issuer.behave();
    }
    world.get_token().run().credential();

    // Without any token left, the reason is said.
    let world = World::new();
    world.provider.go_down().unwrap();
    let outcome = world.get_token().run();
    outcome.fails_with("gives no discovery document");
    outcome.fails_with("cannot be reached");
}

#[test]
fn a_refreshed_token_of_another_subject_is_not_taken() {
    let world = short_lived();
    let first = world.get_token().run().credential();
    world.issuer.change_user("alice", |user| user.sub = Some("somebody-else".to_owned())).unwrap();
    let mut running = world.get_token().arg("-v").spawn();
    running.line_with("another subject");
    let url = running.login_url();
    world.sign_in(&url);
    // Nor is a login as that one: whoever is told apart by nothing is the person who was there first.
    running.finish().fails_with("but this login is");
    let flags = world.flags();
    world.plugin().arg("logout").args(flags).arg("--local").run();
    let second = world.log_in(world.get_token()).credential();
    assert_ne!(first.claims()["sub"], second.claims()["sub"]);
}

#[test]
fn a_client_without_refresh_tokens_logs_in_again() {
    let world = World::with(|issuer| {
        issuer.clients[0].refresh_tokens = oidc_provider::RefreshTokens::Never;
        issuer.token_lifetime_seconds = 5;
    });
    world.log_in(world.get_token()).credential();
    world.log_in(world.get_token()).credential();
}
