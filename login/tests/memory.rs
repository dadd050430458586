//! What a crash of the plugin would leave behind.
#![cfg(target_os = "linux")]

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
};

/// Break-in row 13: a core dump of a program that holds tokens.
#[test]
fn break_in_13_a_crash_leaves_no_core() {
    let folder = tempfile::tempdir().unwrap();
    // An issuer that takes the connection and says nothing: the plugin waits for it.
    let issuer = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("--oidc-issuer-url=https://{}", issuer.local_addr().unwrap());
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_kubectl-oidc"))
        .args(["get-token", &url, "--oidc-client-id=a", "--token-store=file"])
        .env("HOME", folder.path())
        .env("XDG_CACHE_HOME", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let asked = issuer.accept();
    let limits = fs::read_to_string(format!("/proc/{}/limits", plugin.id()));
    plugin.kill().unwrap();
    plugin.wait().unwrap();
    asked.unwrap();
    let limits = limits.unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<_> = core.split_whitespace().collect();
    assert_eq!(words.get(4..6), Some(&["0", "0"][..]), "{core}");
}
