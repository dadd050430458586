//! The keyring of a desktop: GNOME's Secret Service on a D-Bus of the test's own.
//!
//! Needs Debian's packages `dbus-daemon` and `gnome-keyring`; without them the tests fail, they are not left out.
#![cfg(target_os = "linux")]

mod common;

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{Plugin, World};
use secret_service::{EncryptionType, blocking::SecretService};
use zbus::blocking::{Connection, fdo::DBusProxy};

/// Ten times the budget, for a binary without optimization on a busy machine; `login/bench.sh` holds a released one to it.
const BEYOND: Duration = Duration::from_millis(150);

/// A bus, with a keyring on it or without; both end with it.
struct Desktop<'a> {
    world: &'a World,
    bus: Child,
    keyring: Option<Child>,
    address: String,
}

fn start(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; install the packages dbus-daemon and gnome-keyring")
    })
}

impl<'a> Desktop<'a> {
    /// A bus alone.
    fn bus(world: &'a World) -> Self {
        Self::bus_with(world, "")
    }

    /// A bus with more configuration.
    fn bus_with(world: &'a World, more: &str) -> Self {
        // Without service files: nothing starts another keyring than ours.
        let config = world.path("bus.conf");
        let folder = world.home.path().display();
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:dir={folder}</listen><auth>EXTERNAL</auth>
               <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/>
               <allow own="*"/></policy>{more}</busconfig>"#
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg("--config-file").arg(&config).args(["--nofork", "--print-address"]);
        let mut bus = start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { world, bus, keyring: None, address: address.trim().to_owned() }
    }

    /// A bus with an unlocked keyring.
    fn unlocked(world: &'a World) -> Self {
        let mut desktop = Self::bus(world);
        desktop.start_keyring();
        desktop
    }

    /// Starts the keyring daemon with the login password, and waits until it is on the bus.
    fn start_keyring(&mut self) {
        let connection = self.connect();
        let bus = DBusProxy::new(&connection).unwrap();
        let mut changes =
            bus.receive_name_owner_changed_with_args(&[(0, "org.freedesktop.secrets")]).unwrap();
        let mut command = Command::new("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets", "--unlock"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.world.home.path());
        command.env("XDG_RUNTIME_DIR", self.world.home.path());
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keyring = start(&mut command);
        keyring.stdin.take().unwrap().write_all(b"login password").unwrap();
        self.keyring = Some(keyring);
        changes.find(|change| change.args().unwrap().new_owner.is_some());
    }

    fn stop_keyring(&mut self) {
        if let Some(mut keyring) = self.keyring.take() {
            let _ = keyring.kill();
            let _ = keyring.wait();
        }
    }

    /// Sends the keyring daemon a signal.
    fn signal(&self, name: &str) {
        let pid = self.keyring.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([format!("-{name}"), pid]).status().unwrap();
        assert!(sent.success());
    }

    fn plugin(&self, plugin: Plugin) -> Plugin {
        plugin.env("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }

    fn get_token(&self) -> Plugin {
        self.plugin(self.world.get_token())
    }

    fn connect(&self) -> Connection {
        zbus::blocking::connection::Builder::address(&*self.address).unwrap().build().unwrap()
    }

    /// The keyring as another program sees it.
    fn secrets(&self) -> SecretService<'static> {
        SecretService::connect_with_existing(EncryptionType::Plain, self.connect()).unwrap()
    }

    /// How many entries of ours it holds.
    fn entries(&self) -> usize {
        self.secrets().search_items(ours()).unwrap().unlocked.len()
    }
}

impl Drop for Desktop<'_> {
    fn drop(&mut self) {
        self.stop_keyring();
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

fn ours() -> HashMap<&'static str, &'static str> {
    HashMap::from([("service", "kubectl-oidc")])
}

#[test]
fn a_token_is_stored_read_renewed_and_removed() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    let outcome = world.log_in(desktop.get_token());
    assert!(
        !outcome.stderr.contains("is kept in"),
        "the keyring needs no remark: {}",
        outcome.stderr
    );
    let first = outcome.credential();
    assert_eq!(desktop.get_token().run().credential(), first);
    assert!(!world.path(".local/share/kubectl-oidc/tokens").exists(), "no file holds the token");

    // It is one item, which a person finds by its name.
    assert_eq!(desktop.entries(), 1);

    let renewed = desktop.get_token().arg("--force-refresh").run().credential();
    assert_ne!(renewed.token, first.token);
    assert_eq!(desktop.get_token().arg("--token-store=keyring").run().credential(), renewed);
    let status = desktop.plugin(world.plugin()).arg("status").run();
    assert!(status.stdout.contains("keyring  valid until"), "{}", status.stdout);

    let flags = world.flags();
    let logout = desktop.plugin(world.plugin()).arg("logout").args(flags).arg("--local").run();
    assert!(logout.stderr.contains("is forgotten"), "{}", logout.stderr);
    assert_eq!(desktop.entries(), 0);
}

/// kubelogin#1474: with a keyring, which is one for all folders, each account has a token of its own, however it is told apart.
#[test]
fn kubelogin_1474_two_accounts_at_once_in_a_keyring() {
    let world = World::of_two();
    let desktop = Desktop::unlocked(&world);
    let scope = "--oidc-extra-scope=profile";
    for how in ["--account=", "--token-cache-dir=~/cache-"] {
        let plugin = |user: &str| desktop.get_token().args([scope, &format!("{how}{user}")]);
        for (user, (asked, mut credentials)) in
            ["alice", "bob"].into_iter().zip(world.twenty_of_two(plugin))
        {
            assert_eq!(asked, 1, "{how}{user}");
            credentials.dedup();
            assert_eq!(credentials.len(), 1, "{how}{user}");
            assert_eq!(credentials[0].claims()["preferred_username"], user);
        }
    }
    assert_eq!(desktop.entries(), 4);
    // One account in two folders is one entry of the keyring, and its lock is one for both.
    let mut first = desktop.get_token().args(["--account=c", "--token-store-dir=~/a"]).spawn();
    let url = first.login_url();
    let mut second = desktop.get_token().args(["--account=c", "--token-store-dir=~/b"]).spawn();
    second.line_with("Waiting for another kubectl");
    world.sign_in(&url);
    assert_eq!(first.finish().credential(), second.finish().credential());

    // From any folder, and also what no list knows.
    fs::remove_dir_all(world.path(".local/share/kubectl-oidc/logins")).unwrap();
    let status = desktop.plugin(world.plugin()).arg("status").run();
    assert_eq!(status.stdout.lines().count(), 5, "{}", status.stdout);
    let elsewhere = "--token-store-dir=~/elsewhere";
    assert_eq!(desktop.plugin(world.plugin()).args(["clean", elsewhere]).run().code, Some(0));
    assert_eq!(desktop.entries(), 0);
}

#[test]
fn a_token_survives_the_keyrings_restart() {
    let world = World::new();
    let mut desktop = Desktop::unlocked(&world);
    let first = world.log_in(desktop.get_token()).credential();
    desktop.stop_keyring();
    desktop.start_keyring();
    assert_eq!(desktop.get_token().run().credential(), first);
}

/// What the person locked does not go into a file behind their back.
#[test]
fn a_locked_keyring_is_named() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    world.log_in(desktop.get_token());
    desktop.secrets().get_default_collection().unwrap().lock().unwrap();
    // Nobody is there to be asked for the password, so the prompt is dismissed.
    let outcome = desktop.get_token().run();
    outcome.fails_with("the keyring is locked");
    outcome.fails_with("--token-store=file");
    assert!(!world.path(".local/share/kubectl-oidc/tokens").exists());
    world.log_in(desktop.get_token().arg("--token-store=file")).credential();
}

/// Kept in a file for some minutes, which is said once; and nowhere but in the keyring where that is demanded.
#[test]
fn a_keyring_that_does_not_answer_is_left_alone() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    let old = world.log_in(desktop.get_token()).credential();
    desktop.signal("STOP");
    let outcome = world.log_in(desktop.get_token());
    let said = "the keyring does not answer";
    assert_eq!(outcome.stderr.matches(said).count(), 1, "{}", outcome.stderr);
    let new = outcome.credential();
    assert_ne!(new, old);
    let again = desktop.get_token().run();
    assert_eq!((again.credential(), again.stderr.as_str()), (new.clone(), ""));
    let only = desktop.get_token().arg("--token-store=keyring").run();
    only.fails_with(said);
    only.fails_with("--token-store=file");
    // A token that may still be there is not said to be gone.
    let flags = world.flags();
    let logout = || desktop.plugin(world.plugin()).arg("logout").args(&flags).arg("--local");
    logout().run().fails_with(said);

    // It answers again: at first nobody looks, then what lasts longer counts, and what it had is replaced.
    desktop.signal("CONT");
    let world_again = desktop.get_token().run();
    assert_eq!(world_again.credential(), new);
    let memory = world.path(".local/share/kubectl-oidc/keyring-does-not-answer.json");
    fs::remove_file(memory).unwrap();
    assert_eq!(desktop.get_token().run().credential(), new);
    let renewed = desktop.get_token().arg("--force-refresh").run().credential();
    assert_eq!(desktop.get_token().arg("--token-store=keyring").run().credential(), renewed);
    let tokens = world.path(".local/share/kubectl-oidc/tokens");
    assert_eq!(fs::read_dir(tokens).unwrap().count(), 0, "no copy stays in a file");
    assert_eq!(logout().run().code, Some(0));
    assert_eq!(desktop.entries(), 0);
}

/// D-Bus starts it and waits two minutes for it to come.
#[test]
fn a_keyring_that_never_starts_is_left_alone() {
    let world = World::new();
    let services = world.path("services");
    fs::create_dir(&services).unwrap();
    let service = "[D-BUS Service]\nName=org.freedesktop.secrets\nExec=/bin/sleep 600\n";
    fs::write(services.join("org.freedesktop.secrets.service"), service).unwrap();
    let desktop =
        Desktop::bus_with(&world, &format!("<servicedir>{}</servicedir>", services.display()));
    let outcome = world.log_in(desktop.get_token());
    assert!(outcome.stderr.contains("the keyring does not answer"), "{}", outcome.stderr);
    let first = outcome.credential();
    assert_eq!(desktop.get_token().run().credential(), first);
    let only = desktop.get_token().arg("--token-store=keyring").run();
    only.fails_with("the keyring does not answer");
}

#[test]
fn a_bus_without_a_keyring_leaves_the_file() {
    let world = World::new();
    let desktop = Desktop::bus(&world);
    let outcome = world.log_in(desktop.get_token());
    assert!(outcome.stderr.contains("there is no keyring here"), "{}", outcome.stderr);
    let first = outcome.credential();
    assert_eq!(desktop.get_token().run().credential(), first);
    desktop.get_token().arg("--token-store=keyring").run().fails_with("there is no keyring here");
}

/// A login made while there was no keyring is found, and moves there with its next renewal.
#[test]
fn a_token_moves_into_a_keyring_that_comes_later() {
    let world = World::new();
    let mut desktop = Desktop::bus(&world);
    let first = world.log_in(desktop.get_token()).credential();
    desktop.start_keyring();
    assert_eq!(desktop.get_token().run().credential(), first);
    let renewed = desktop.get_token().arg("--force-refresh").run().credential();
    let tokens = world.path(".local/share/kubectl-oidc/tokens");
    assert_eq!(fs::read_dir(tokens).unwrap().count(), 0, "no copy stays in a file");
    assert_eq!(desktop.get_token().arg("--token-store=keyring").run().credential(), renewed);
}

/// What kubectl waits for beyond what any program waits for that asks this keyring: a connection, a session, a search and the
/// secret. The smallest of many, so that a busy machine measures the program and not itself.
#[test]
fn a_stored_token_costs_little_beyond_the_keyrings_own_answer() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    world.log_in(desktop.get_token()).credential();
    world.provider.go_down().unwrap();
    let (mut ours_took, mut its_own) = (Duration::MAX, Duration::MAX);
    for _ in 0..30 {
        let start = Instant::now();
        desktop.get_token().run().credential();
        ours_took = ours_took.min(start.elapsed());
        let start = Instant::now();
        let secrets =
            SecretService::connect_with_existing(EncryptionType::Dh, desktop.connect()).unwrap();
        secrets.search_items(ours()).unwrap().unlocked[0].get_secret().unwrap();
        its_own = its_own.min(start.elapsed());
    }
    println!("get-token {ours_took:?}, the keyring's own answer {its_own:?}");
    assert!(ours_took < its_own + BEYOND, "{ours_took:?}, the keyring alone {its_own:?}");
}

/// Entra ID's tokens with 200 groups are some 10 KiB.
#[test]
fn large_tokens_are_kept() {
    let world = World::new();
    world
        .issuer
        .set_groups("alice", (0..600).map(|i| format!("a-group-with-a-long-name-{i}")))
        .unwrap();
    let desktop = Desktop::unlocked(&world);
    let get_token = || desktop.get_token().arg("--oidc-extra-scope=groups");
    let first = world.log_in(get_token()).credential();
    assert!(first.token.len() > 20_000);
    assert_eq!(get_token().run().credential(), first);
}

#[test]
fn corrupt_entries_are_replaced() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    world.log_in(desktop.get_token());
    for bad in [&b""[..], b"{}", b"2:AAAAAAAAAAAAAAAAAAAAAA:half a record", b"\xff\xfe"] {
        let secrets = desktop.secrets();
        let found = secrets.search_items(ours()).unwrap();
        found.unlocked[0].set_secret(bad, "text/plain").unwrap();
        world.log_in(desktop.get_token()).credential();
        assert_eq!(desktop.get_token().run().stderr, "", "{bad:?}");
    }
}

/// Another program's entry under our name: neither is believed, and a login puts it right.
#[test]
fn two_entries_of_one_name() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    world.log_in(desktop.get_token());
    let secrets = desktop.secrets();
    let found = secrets.search_items(ours()).unwrap();
    let attributes = found.unlocked[0].get_attributes().unwrap();
    let mut attributes: HashMap<&str, &str> =
        attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    attributes.insert("other", "program");
    let collection = secrets.get_default_collection().unwrap();
    collection.create_item("theirs", attributes, b"x", false, "text/plain").unwrap();
    assert_eq!(desktop.entries(), 2);
    world.log_in(desktop.get_token()).credential();
    assert_eq!(desktop.entries(), 1);
}
