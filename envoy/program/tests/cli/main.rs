//! The program's command line.

mod commands;
mod modules;
mod render;
mod secrets;
#[path = "../../../config/tests/support/mod.rs"]
mod support;
mod versions;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const AUTHENTICATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: https://issuer.example, audiences: [kubernetes]}
  claimMappings: {username: {claim: sub, prefix: ""}}
"#;

const APISERVER: [&str; 2] = ["--apiserver", "https://10.96.0.1"];

/// Runs `render` in `root` with an `AuthenticationConfiguration` and more flags.
fn render(root: &Path, authentication: &str, flags: &[&str]) -> Output {
    let inputs = support::inputs(root);
    support::make_files(&inputs);
    fs::write(root.join("authentication.yaml"), authentication).unwrap();
    rendered(root, flags)
}

/// The same with the files as they are.
fn rendered(root: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .current_dir(root)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("ENVOY_BIN")
        .args(["render", "--out", "out", "--authentication-config", "authentication.yaml"])
        .args(["--filter", "filter.wasm", "--tls-cert-file", "serving/tls.crt"])
        .args(["--tls-private-key-file", "serving/tls.key"])
        .args(["--apiserver-ca-file", "serviceaccount/ca.crt"])
        .args(["--apiserver-token-file", "serviceaccount/token"])
        .args(["--system-ca-file", "ssl/ca-certificates.crt"])
        .args(flags)
        .output()
        .unwrap()
}

/// Runs the program in `root`.
fn run(root: &Path, words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_kube-oidc-gateway");
    Command::new(program).current_dir(root).args(words).output().unwrap()
}

/// An Envoy that says of itself what a test wants, and leaves a file behind when it is asked for more.
fn fake_envoy(folder: &Path, version: &str) -> PathBuf {
    let path = folder.join("fake-envoy");
    let started = folder.join("started").display().to_string();
    let told =
        format!("echo; echo '{}  version: 9aed/{version}/Clean/RELEASE/BoringSSL'", path.display());
    let script =
        format!("#!/bin/sh\nif [ \"$1\" = --version ]; then {told}; else : >{started}; fi\n");
    let plain = folder.join("fake-envoy.sh");
    fs::write(&plain, script).unwrap();
    install(&plain, &path);
    path
}

/// Makes a program of a file. Another process writes it: a child that a test beside this one starts would inherit the open file, and
/// what is open for writing cannot be executed (`ETXTBSY`, execve(2)).
fn install(from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap();
    assert!(status.success(), "{}", to.display());
}
