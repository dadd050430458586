//! A login that must be of a kind, or young: what a gateway asks for (RFC 9470) and `--acr` and `--max-age` bring.

mod common;

use common::{World, any_port, http::get, query};
use oidc_provider::IssuerConfig;

fn with_second_factor(issuer: &mut IssuerConfig) {
    issuer.acr_values = vec!["mfa".to_owned(), "hardware".to_owned()];
}

/// `login` with these flags, by the world's issuer.
fn login(world: &World, flags: &[&str]) -> common::Plugin {
    world.plugin().arg("login").args(world.flags()).args(any_port()).args(flags)
}

/// What the gateway's answer tells to do, and kubectl's next call.
#[test]
fn a_login_that_is_asked_for_takes_the_place_of_the_one_that_is_kept() {
    let world = World::with(with_second_factor);
    let before = world.log_in(world.get_token()).credential();
    assert!(before.claims().get("acr").is_none());
    let asked = ["--acr=mfa,hardware", "--max-age=900"];
    let outcome = world.log_in(login(&world, &asked));
    assert!(
        outcome.stderr.contains("is another than --acr and --max-age ask for"),
        "{}",
        outcome.stderr
    );
    // kubectl asks without these flags, and nobody has to log in again.
    let after = world.get_token().run();
    assert_eq!(after.stderr, "");
    let after = after.credential();
    assert_ne!(after.token, before.token);
    assert_eq!(after.claims()["acr"], "mfa");
    assert!(after.claims()["auth_time"].is_number());
    // It is what is asked for, now.
    let again = login(&world, &asked).run();
    assert!(again.code == Some(0) && again.stdout.starts_with("Logged in as "), "{again:?}");
    assert_eq!(world.get_token().args(asked).run().credential(), after);
    // One that is renewed comes from the same login.
    let renewed = world.get_token().arg("--force-refresh").run().credential();
    assert_ne!(renewed.token, after.token);
    assert_eq!(renewed.claims()["acr"], "mfa");
}

#[test]
fn the_issuer_is_asked_for_it() {
    let world = World::with(with_second_factor);
    let mut running = login(&world, &["--acr", "hardware,mfa", "--max-age", "60"]).spawn();
    let start = running.login_url();
    let (_, answer) = get(&start);
    let sent = query(common::http::header(&answer, "Location").unwrap());
    assert_eq!(sent["acr_values"], "hardware mfa");
    assert_eq!(sent["max_age"], "60");
    let plain = World::new();
    let mut running = plain.get_token().spawn();
    let (_, answer) = get(&running.login_url());
    let sent = query(common::http::header(&answer, "Location").unwrap());
    assert!(!sent.contains_key("acr_values") && !sent.contains_key("max_age"), "{sent:?}");
}

/// On another device as in a browser.
#[test]
fn a_device_asks_for_it() {
    let world = World::with(with_second_factor);
    let before = world.log_in(world.get_token()).credential();
    let mut running =
        login(&world, &["--acr=hardware,mfa", "--max-age=900", "--grant-type=device-code"]).spawn();
    let line = running.line_with("enter the code");
    world.issuer.approve_device(line.split_whitespace().last().unwrap(), "alice").unwrap();
    let outcome = running.finish();
    assert!(outcome.stdout.starts_with("Logged in as "), "{outcome:?}");
    let after = world.get_token().run().credential();
    assert_ne!(after.token, before.token);
    assert_eq!(after.claims()["acr"], "hardware");
    // What the settings give goes before it, as with a browser.
    let mut running = world
        .get_token()
        .args(["--token-store=none", "--grant-type=device-code", "--acr=mfa"])
        .arg("--oidc-auth-request-extra-params=acr_values=hardware")
        .spawn();
    let line = running.line_with("enter the code");
    world.issuer.approve_device(line.split_whitespace().last().unwrap(), "alice").unwrap();
    running.finish().fails_with("log in with acr \"hardware\", and mfa is asked for (--acr)");
}

/// There is nothing to ask with: a password is what it is. What the issuer gives may do all the same.
#[test]
fn a_password_cannot_ask_for_it_and_says_what_can() {
    let world = World::with(with_second_factor);
    let password = |flags: &[&str]| {
        let flags =
            [&["--username=alice", "--password=secret", "--token-store=none"], flags].concat();
        world.get_token().args(flags).run()
    };
    let refused = password(&["--acr=mfa"]);
    refused.fails_with("log in with acr \"\", and mfa is asked for (--acr)");
    refused.fails_with("a login by a password cannot ask the issuer for that");
    refused.fails_with("--grant-type=device-code");
    assert!(password(&["--max-age=60"]).credential().claims()["auth_time"].is_number());
}

/// The claim is voluntary: an issuer may give any.
#[test]
fn a_token_of_another_login_is_refused_and_the_one_that_is_kept_stays() {
    let world = World::new();
    let before = world.log_in(world.get_token()).credential();
    let mut running = login(&world, &["--acr=mfa"]).spawn();
    world.sign_in(&running.login_url());
    running
        .finish()
        .fails_with("let this person log in with acr \"\", and mfa is asked for (--acr)");
    assert_eq!(world.get_token().run().credential(), before);
}

#[test]
fn an_old_login_is_made_anew() {
    let world = World::new();
    let before = world.log_in(world.get_token()).credential();
    // Young enough.
    assert_eq!(world.get_token().arg("--max-age=3600").run().credential(), before);
    // A renewal would keep the time of the login, so that none is tried.
    let requests = || world.issuer.requests(oidc_provider::Endpoint::Token);
    let asked = requests();
    let after = world.log_in(world.get_token().arg("--max-age=0")).credential();
    assert_ne!(after.token, before.token);
    assert_eq!(requests(), asked + 1);
}

#[test]
fn values_with_blanks_are_named() {
    let world = World::new();
    login(&world, &["--acr", "a b"])
        .run()
        .fails_with("--acr=\"a b\": several values have commas between");
    let outcome = login(&world, &["--max-age=15m"]).run();
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("invalid value '15m' for '--max-age <SECONDS>'"),
        "{outcome:?}"
    );
}
