//! The keyring of a desktop: GNOME's Secret Service on a D-Bus of the test's own.
//!
//! Needs Debian's packages `dbus-daemon` and `gnome-keyring`; without them the tests fail, they are not left out.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use common::{Plugin, World};

/// A bus with a keyring on it; both end with it.
struct Desktop<'a> {
    world: &'a World,
    bus: Child,
    keyring: Option<Child>,
    address: String,
}

fn start(program: &str, command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        panic!("{program}: {error}; install the packages dbus-daemon and gnome-keyring")
    })
}

impl<'a> Desktop<'a> {
    /// A bus alone.
    fn bus(world: &'a World) -> Self {
        // No service file may start another keyring than ours.
        let config = world.path("bus.conf");
        fs::write(
            &config,
            r#"<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
               <policy context="default"><allow send_destination="*" eavesdrop="true"/>
               <allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#,
        )
        .unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg("--config-file").arg(&config).args(["--nofork", "--print-address"]);
        let mut bus = start("dbus-daemon", command.stdout(Stdio::piped()));
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { world, bus, keyring: None, address: address.trim().to_owned() }
    }

    /// A bus with an unlocked keyring.
    fn unlocked(world: &'a World) -> Self {
        let mut desktop = Self::bus(world);
        desktop.start_keyring(Some("login password"));
        desktop
    }

    /// Starts the keyring daemon, unlocked if it gets the password, and waits until it is on the bus.
    fn start_keyring(&mut self, password: Option<&str>) {
        let mut command = Command::new("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets"]);
        if password.is_some() {
            command.arg("--unlock");
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.world.home.path());
        command.env("XDG_RUNTIME_DIR", self.world.home.path());
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut keyring = start("gnome-keyring-daemon", &mut command);
        let mut stdin = keyring.stdin.take().unwrap();
        stdin.write_all(password.unwrap_or_default().as_bytes()).unwrap();
        drop(stdin);
        self.keyring = Some(keyring);
        // Blocks until the name is owned.
        let waited = Command::new("gdbus")
            .args(["wait", "--session", "--timeout=60", "org.freedesktop.secrets"])
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .status()
            .expect("gdbus (package libglib2.0-bin)");
        assert!(waited.success());
    }

    fn stop_keyring(&mut self) {
        if let Some(mut keyring) = self.keyring.take() {
            let _ = keyring.kill();
            let _ = keyring.wait();
        }
    }

    fn plugin(&self, plugin: Plugin) -> Plugin {
        plugin.env("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }

    fn get_token(&self) -> Plugin {
        self.plugin(self.world.get_token())
    }

    /// Calls a method of the Secret Service.
    fn call(&self, path: &str, method: &str, arguments: &[&str]) -> String {
        let mut child = Command::new("gdbus")
            .args(["call", "--session", "--dest=org.freedesktop.secrets"])
            .args([&format!("--object-path={path}"), &format!("--method={method}")])
            .args(arguments)
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .stdout(Stdio::piped())
            .spawn()
            .expect("gdbus (package libglib2.0-bin)");
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{method}");
        text
    }
}

impl Drop for Desktop<'_> {
    fn drop(&mut self) {
        self.stop_keyring();
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

const SERVICE: &str = "/org/freedesktop/secrets";
const LOGIN: &str = "/org/freedesktop/secrets/collection/login";

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
    let items = desktop.call(
        SERVICE,
        "org.freedesktop.Secret.Service.SearchItems",
        &["{'service': 'kubectl-oidc'}"],
    );
    assert_eq!(items.matches("/collection/login/").count(), 1, "{items}");

    let renewed = desktop.get_token().arg("--force-refresh").run().credential();
    assert_ne!(renewed.token, first.token);
    assert_eq!(desktop.get_token().arg("--token-store=keyring").run().credential(), renewed);
    let status = desktop.plugin(world.plugin()).arg("status").run();
    assert!(status.stdout.contains("keyring  valid until"), "{}", status.stdout);

    let flags = world.flags();
    let logout = desktop.plugin(world.plugin()).arg("logout").args(flags).arg("--local").run();
    assert!(logout.stderr.contains("is forgotten"), "{}", logout.stderr);
    let items = desktop.call(
        SERVICE,
        "org.freedesktop.Secret.Service.SearchItems",
        &["{'service': 'kubectl-oidc'}"],
    );
    assert_eq!(items.matches("/collection/login/").count(), 0, "{items}");
}

#[test]
fn a_token_survives_the_keyrings_restart() {
    let world = World::new();
    let mut desktop = Desktop::unlocked(&world);
    let first = world.log_in(desktop.get_token()).credential();
    desktop.stop_keyring();
    desktop.start_keyring(Some("login password"));
    assert_eq!(desktop.get_token().run().credential(), first);
}

/// What the person locked does not go into a file behind their back.
#[test]
fn a_locked_keyring_is_named() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    world.log_in(desktop.get_token());
    desktop.call(SERVICE, "org.freedesktop.Secret.Service.Lock", &[&format!("['{LOGIN}']")]);
    // Nobody is there to be asked for the password, so the prompt is dismissed.
    let outcome = desktop.get_token().run();
    outcome.fails_with("the keyring is locked");
    outcome.fails_with("--token-store=file");
    assert!(!world.path(".local/share/kubectl-oidc/tokens").exists());
    world.log_in(desktop.get_token().arg("--token-store=file")).credential();
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
    desktop.start_keyring(Some("login password"));
    assert_eq!(desktop.get_token().run().credential(), first);
    let renewed = desktop.get_token().arg("--force-refresh").run().credential();
    let tokens = world.path(".local/share/kubectl-oidc/tokens");
    assert_eq!(fs::read_dir(tokens).unwrap().count(), 0, "no copy stays in a file");
    assert_eq!(desktop.get_token().arg("--token-store=keyring").run().credential(), renewed);
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
fn a_corrupt_entry_is_replaced() {
    let world = World::new();
    let desktop = Desktop::unlocked(&world);
    world.log_in(desktop.get_token());
    let items = desktop.call(
        SERVICE,
        "org.freedesktop.Secret.Service.SearchItems",
        &["{'service': 'kubectl-oidc'}"],
    );
    let item = items.split('\'').find(|part| part.starts_with(LOGIN)).unwrap();
    // A plain session, and a secret that is no record.
    let session =
        desktop.call(SERVICE, "org.freedesktop.Secret.Service.OpenSession", &["plain", "<''>"]);
    assert!(session.contains("/session/"), "{session}");
    desktop.call(
        item,
        "org.freedesktop.DBus.Properties.Set",
        &["org.freedesktop.Secret.Item", "Label", "<'renamed by the person'>"],
    );
    // A label of the person's own changes nothing.
    desktop.get_token().run().credential();
    desktop.call(item, "org.freedesktop.Secret.Item.Delete", &[]);
    world.log_in(desktop.get_token()).credential();
}
