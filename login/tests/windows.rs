//! The plugin on Windows: `make test-windows` runs it under wine, the workflow on a machine with Windows.
#![cfg(windows)]

mod common;

use std::fs;

use common::{World, only_file};

/// `get-token` with its files in a folder whose name has blanks, as those of most people's have on Windows.
fn get_token(world: &World) -> common::Plugin {
    let folder = world.path("a folder of Ada's");
    world.get_token().arg(format!("--token-store-dir={}", folder.display()))
}

#[test]
fn a_login_by_code_is_kept_in_a_file() {
    let world = World::new();
    let plugin = || get_token(&world).arg("--token-store=file");
    let first = world.log_in(plugin()).credential();
    only_file(&world.path("a folder of Ada's").join("tokens"));
    assert_eq!(plugin().run().credential(), first);
    let renewed = plugin().arg("--force-refresh").run().credential();
    assert_ne!(renewed.token, first.token);
}

#[test]
fn a_login_by_device() {
    let world = World::new();
    let mut running =
        get_token(&world).args(["--token-store=none", "--grant-type=device-code"]).spawn();
    let line = running.line_with("enter the code");
    assert!(world.issuer.approve_device(line.split_whitespace().last().unwrap(), "alice").unwrap());
    running.finish().credential();
}

/// The Credential Manager, whose entries are small: a token of some kilobytes is kept in parts.
#[test]
fn a_login_is_kept_in_the_credential_manager() {
    let world = World::new();
    world
        .issuer
        .set_groups("alice", (0..200).map(|i| format!("a-group-with-a-long-name-{i}")))
        .unwrap();
    let plugin = || get_token(&world).args(["--token-store=keyring", "--oidc-extra-scope=groups"]);
    let first = world.log_in(plugin()).credential();
    assert!(first.token.len() > 6_000);
    assert_eq!(plugin().run().credential(), first);
    let flags = world.flags();
    let folder = format!("--token-store-dir={}", world.path("a folder of Ada's").display());
    let logout = world.plugin().arg("logout").args(flags).args([
        &folder,
        "--local",
        "--token-store=keyring",
        "--oidc-extra-scope=groups",
    ]);
    let outcome = logout.run();
    assert!(outcome.stderr.contains("is forgotten"), "{outcome:?}");
    world.log_in(plugin()).credential();
}

/// Many at once: the locks are Windows's, which nobody can read while they are held.
#[test]
fn a_waiter_sees_where_the_first_one_waits() {
    let world = World::new();
    let plugin = || get_token(&world).arg("--token-store=file");
    let mut first = plugin().spawn();
    let url = first.login_url();
    let mut second = plugin().spawn();
    let told = second.line_with("It waits for you at ");
    assert!(told.ends_with(&url), "{told}");
    assert_eq!(world.sign_in(&url).status, 200);
    assert_eq!(first.finish().credential(), second.finish().credential());
}

#[test]
fn convert_and_login_with_a_path_that_has_blanks() {
    let world = World::new();
    let kubeconfig = world.path("my kube config");
    let text = format!(
        "current-context: x\nclusters: [{{name: c, cluster: {{server: 'https://s.example'}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\nusers:\n- name: u\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: C:\\tools\\kubectl-oidc_login.exe\n      args: [get-token, --oidc-issuer-url={}, --oidc-client-id=kube, '--certificate-authority={}']\n",
        world.issuer.url(),
        world.path("ca.pem").display()
    );
    fs::write(&kubeconfig, text).unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let outcome = world.plugin().args(["convert", "--write", &flag]).run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let store = format!("--token-store-dir={}", world.path("store").display());
    let login = world
        .plugin()
        .args(["login", &flag, "--token-store=file", &store])
        .args(common::any_port());
    let outcome = world.log_in(login);
    assert!(outcome.stdout.starts_with("Logged in as alice"), "{outcome:?}");
}
