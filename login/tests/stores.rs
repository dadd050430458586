//! Where the token is kept, and what happens when it is not whole.

mod common;

use std::{fs, path::PathBuf};

use common::{World, only_file};

fn tokens(world: &World) -> PathBuf {
    world.path(".local/share/kubectl-oidc/tokens")
}

#[test]
fn without_a_keyring_it_is_a_private_file_and_that_is_said_once() {
    let world = World::new();
    let outcome = world.log_in(world.get_token());
    assert!(outcome.stderr.contains("The token is kept in "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("there is no keyring here"), "{}", outcome.stderr);
    let again = world.get_token().arg("--force-refresh").run();
    assert_eq!(again.stderr, "");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&only_file(&tokens(&world))), 0o600);
        assert_eq!(mode(&tokens(&world)), 0o700);
    }
}

#[test]
fn a_keyring_that_is_demanded_and_absent_is_an_error() {
    let world = World::new();
    let outcome = world.get_token().arg("--token-store=keyring").run();
    outcome.fails_with("there is no keyring here");
    outcome.fails_with("--token-store=file");
}

#[test]
fn corrupt_entries_are_replaced() {
    let world = World::new();
    world.log_in(world.get_token());
    let file = only_file(&tokens(&world));
    let good = fs::read(&file).unwrap();
    for bad in [Vec::new(), b"{}".to_vec(), b"\xff".to_vec(), good[..good.len() / 2].to_vec()] {
        fs::write(&file, &bad).unwrap();
        world.log_in(world.get_token()).credential();
        assert_eq!(world.get_token().run().stderr, "", "{bad:?}");
    }
}

/// A token that is no longer this login's, for whatever reason, is not handed on.
#[test]
fn an_entry_of_another_client_is_corrupt() {
    let world = World::new();
    world.log_in(world.get_token());
    let file = only_file(&tokens(&world));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(r#""client_id":"kube""#, r#""client_id":"other""#)).unwrap();
    let outcome = world.log_in(world.get_token().arg("-v"));
    assert!(outcome.stderr.contains("another client or issuer"), "{}", outcome.stderr);
}

#[test]
fn an_encrypted_store() {
    let world = World::new();
    let with = |name: &str| {
        let path = world.path(name);
        if !path.exists() {
            let key = age::x25519::Identity::generate().to_string();
            fs::write(&path, age::secrecy::ExposeSecret::expose_secret(&key)).unwrap();
        }
        world.get_token().env("KUBECTL_OIDC_TOKEN_STORE_KEY_FILE", path)
    };
    let first = world.log_in(with("one")).credential();
    assert_eq!(with("one").run().credential(), first);
    let bytes = fs::read(only_file(&tokens(&world))).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1\n"));
    let part = &first.token.as_bytes()[..40];
    assert!(!bytes.windows(part.len()).any(|window| window == part));
    // Another key cannot read it: a login replaces it.
    let second = world.log_in(with("two")).credential();
    assert_eq!(with("two").run().credential(), second);
}

#[test]
fn a_folder_of_the_persons_choice_under_kubelogins_names() {
    let world = World::new();
    let folder = world.path("cache");
    let kubelogins =
        || world.get_token().args(["--token-cache-storage=disk", "--token-cache-dir=~/cache"]);
    let first = world.log_in(kubelogins()).credential();
    assert_eq!(kubelogins().run().credential(), first);
    only_file(&folder.join("tokens"));
    assert!(!tokens(&world).exists(), "nothing but the list of logins is in the user's own folder");
}

#[test]
fn none_keeps_nothing() {
    let world = World::new();
    for _ in 0..2 {
        world.log_in(world.get_token().arg("--token-store=none")).credential();
    }
    assert!(!tokens(&world).exists());
}

/// Another user could put a token of their own there, and kubectl would present it.
#[test]
#[cfg(unix)]
fn break_in_12_a_store_that_everybody_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let folder = world.path("store");
    let plugin = |kind: &str| {
        world.get_token().args(["--token-store-dir=~/store", &format!("--token-store={kind}")])
    };
    world.log_in(plugin("file")).credential();
    for (path, mode) in [(folder.clone(), 0o777), (folder.join("tokens"), 0o1777)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = plugin("file").run();
        outcome.fails_with("can be written by other users of this machine");
        outcome.fails_with(&format!("chmod go-w {}", path.display()));
        world.plugin().args(["status", "--token-store-dir=~/store"]).run().fails_with("chmod go-w");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    plugin("file").run().credential();
}

/// A home that cannot be written is no reason not to log in.
#[test]
fn a_store_that_cannot_be_written() {
    let world = World::new();
    fs::write(world.path("file"), "in the way").unwrap();
    let outcome = world.log_in(world.get_token().arg("--token-store-dir=~/file"));
    assert!(
        outcome.stderr.contains("This login is not kept for the next command"),
        "{}",
        outcome.stderr
    );
    outcome.credential();
}
