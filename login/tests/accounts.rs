//! Several people or roles at one issuer and client: whose token it is.

mod common;

use std::{fs, time::Duration};

use common::{Credential, Plugin, World, query};
use oidc_provider::Endpoint;
use serde_json::Value;

/// A login of this user's own, told apart as the flags say.
fn account(world: &World, user: &str) -> Plugin {
    world.get_token().args([
        &format!("--account={user}"),
        "--oidc-extra-scope=profile,email",
        "--token-store=file",
    ])
}

/// As kubelogin's users tell them apart.
fn folder(world: &World, user: &str) -> Plugin {
    let folder = format!("--token-cache-dir=~/cache-{user}");
    world.get_token().args([&*folder, "--oidc-extra-scope=profile,email"])
}

fn each_has_the_own(found: [(usize, Vec<Credential>); 2], logins: usize) {
    for (user, (asked, mut credentials)) in ["alice", "bob"].into_iter().zip(found) {
        assert_eq!(asked, logins, "{user}");
        assert_eq!(credentials.len(), 20);
        credentials.dedup();
        assert_eq!(credentials.len(), 1, "all of {user} have the one token");
        assert_eq!(credentials[0].claims()["preferred_username"], user);
    }
}

/// kubelogin#1474, kubelogin#29: one issuer and client, two people, forty kubectl.
#[test]
fn kubelogin_1474_two_accounts_at_once_in_files() {
    for how in [account, folder] {
        let world = World::of_two();
        each_has_the_own(world.twenty_of_two(|user| how(&world, user)), 1);
        assert_eq!(world.issuer.requests(Endpoint::Token), 2, "each logged in once");
        // And each renews once: a rotated refresh token that is used twice ends the login.
        world.issuer.set_token_lifetime(Duration::from_secs(5));
        for user in ["alice", "bob"] {
            how(&world, user).arg("--force-refresh").run().credential();
        }
        world.issuer.set_token_lifetime(Duration::from_secs(300));
        world.issuer.reset_requests();
        each_has_the_own(world.twenty_of_two(|user| how(&world, user)), 0);
        assert_eq!(world.issuer.requests(Endpoint::Token), 2, "each was renewed once");
    }
}

/// Without a store nobody gets another's token either.
#[test]
fn two_accounts_without_a_store() {
    let world = World::of_two();
    for user in ["alice", "bob"] {
        let plugin = account(&world, user).arg("--token-store=none");
        let credential = world.log_in_as(user, plugin).credential();
        assert_eq!(credential.claims()["preferred_username"], user);
    }
}

#[test]
fn another_persons_login_is_refused_with_both_names() {
    let world = World::of_two();
    let plugin = || world.get_token().arg("--oidc-extra-scope=profile,email");
    let first = world.log_in_as("alice", plugin()).credential();
    world.issuer.end_logins("alice");
    let outcome = world.log_in_as("bob", plugin().arg("--force-refresh"));
    outcome.fails_with("bob logged in, but this login is alice's");
    outcome.fails_with("--account=NAME");
    assert_eq!(plugin().run().credential(), first, "what there was is kept");
    // A login of bob's own, or the place for him.
    world.log_in_as("bob", plugin().arg("--account=bob")).credential();
    assert_eq!(plugin().run().credential(), first);
    let flags = world.flags();
    let logout = world.plugin().arg("logout").args(flags).arg("--oidc-extra-scope=profile,email");
    assert_eq!(logout.arg("--local").run().code, Some(0));
    let second = world.log_in_as("bob", plugin()).credential();
    assert_eq!(second.claims()["preferred_username"], "bob");

    // However a person logs in.
    let password = |user: &str| {
        plugin()
            .args(["--account=p", "--grant-type=password", "--password=secret"])
            .env("KUBECTL_OIDC_USERNAME", user)
    };
    password("alice").run().credential();
    let device = || plugin().args(["--account=d", "--grant-type=device-code"]);
    for (user, good) in [("alice", true), ("bob", false)] {
        world.issuer.end_logins("alice");
        let mut running = device().arg("--force-refresh").spawn();
        let line = running.line_with("enter the code");
        let code = line.split_whitespace().last().unwrap().to_owned();
        assert!(world.issuer.approve_device(&code, user).unwrap());
        let outcome = running.finish();
        if good {
            outcome.credential();
        } else {
            outcome.fails_with("but this login is alice");
        }
    }
}

/// A browser in which several people are logged in takes the right one.
#[test]
fn the_issuer_is_told_who_is_expected() {
    let world = World::of_two();
    let hint = |plugin: Plugin| {
        let mut running = plugin.spawn();
        let (_, answer) = common::http::get(&running.login_url());
        query(common::http::header(&answer, "Location").unwrap()).get("login_hint").cloned()
    };
    let plugin = || world.get_token().arg("--oidc-extra-scope=profile,email");
    assert_eq!(hint(plugin()), None, "nobody is known");
    assert_eq!(hint(plugin().arg("--account=work")), None, "a name of the person's own");
    let by_mail = plugin().arg("--account=alice@example");
    assert_eq!(hint(by_mail).as_deref(), Some("alice@example"));
    world.log_in_as("alice", plugin()).credential();
    world.issuer.end_logins("alice");
    assert_eq!(hint(plugin().arg("--force-refresh")).as_deref(), Some("alice"));
    let own = "--oidc-auth-request-extra-params=login_hint=carol";
    assert_eq!(hint(plugin().arg(own)).as_deref(), Some("carol"));
}

/// Whatever folder they are in.
#[test]
fn status_clean_and_logout_see_all_logins_of_the_user() {
    let world = World::of_two();
    for user in ["alice", "bob"] {
        world.log_in_as(user, folder(&world, user)).credential();
    }
    world.log_in_as("bob", account(&world, "bob")).credential();
    let run = |words: &[&str]| world.plugin().args(words).run();
    let status: Value = serde_json::from_str(&run(&["status", "-o", "json"]).stdout).unwrap();
    let mut accounts: Vec<_> =
        status.as_array().unwrap().iter().map(|row| row["account"].as_str().unwrap()).collect();
    accounts.sort_unstable();
    let folders = ["alice", "bob"].map(|user| world.path(&format!("cache-{user}")));
    let mut want = vec!["bob", folders[0].to_str().unwrap(), folders[1].to_str().unwrap()];
    want.sort_unstable();
    assert_eq!(accounts, want);
    assert!(run(&["status"]).stdout.lines().all(|line| line.contains("valid until")));

    // One of them, from its own stanza.
    let flags = world.flags();
    let scope = "--oidc-extra-scope=profile,email";
    let logout = world.plugin().arg("logout").args(flags).args([scope, "--local", "--account=bob"]);
    assert!(logout.run().stderr.contains("is forgotten"));
    assert_eq!(run(&["status"]).stdout.lines().count(), 2);
    // And the rest, from any folder.
    assert_eq!(run(&["clean", "--token-store-dir=~/elsewhere"]).code, Some(0));
    for folder in &folders {
        assert_eq!(fs::read_dir(folder.join("tokens")).unwrap().count(), 0);
    }
    assert_eq!(run(&["status"]).stdout, "");
}

/// An earlier version told logins apart by their folder alone: what is in its files is that folder's, and moves once.
#[test]
fn a_login_of_an_earlier_version_is_taken_over_if_it_can_be_told_whose_it_is() {
    let world = World::of_two();
    let scope = "--oidc-extra-scope=profile,email";
    // As it was kept: under the key of no account, in the folder.
    let first = world.log_in_as("alice", world.get_token().arg(scope)).credential();
    let own = world.path(".local/share/kubectl-oidc");
    let before = world.path("cache-alice");
    fs::rename(&own, &before).unwrap();
    let again = folder(&world, "alice").run();
    assert_eq!(again.stderr, "");
    assert_eq!(again.credential(), first);
    common::only_file(&before.join("tokens"));
    assert_eq!(folder(&world, "alice").run().credential(), first);
    // A name is new: nobody can say whose the old one is.
    world.log_in_as("bob", account(&world, "bob")).credential();
    assert_eq!(world.plugin().arg("status").run().stdout.lines().count(), 2);
    world.log_in_as("bob", folder(&world, "bob")).credential();
}

#[test]
fn setup_writes_the_account_and_whoami_shows_it() {
    let world = World::of_two();
    let flags = world.flags();
    let setup = world.plugin().arg("setup").args(flags).args(common::any_port());
    let outcome = world.log_in_as("bob", setup.arg("--account=bob's own"));
    assert!(outcome.stdout.contains("--account=bob's own"), "{}", outcome.stdout);
    let flags = world.flags();
    let whoami =
        world.plugin().arg("whoami").args(flags).args(["--account=bob's own", "--offline"]);
    let outcome = whoami.run();
    let line = outcome.stdout.lines().find(|line| line.starts_with("Account"));
    assert!(line.is_some_and(|line| line.ends_with("bob's own")), "{outcome:?}");
}
