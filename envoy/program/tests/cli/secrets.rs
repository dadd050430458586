//! `sharedSecret` without a `run` that hands it over.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use crate::{APISERVER, AUTHENTICATION, render, support};

/// kubehook's secrets may be short. The field says that it is known what that means.
#[test]
fn break_in_11_a_short_shared_secret_needs_its_field() {
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    fs::write(&secret, "s\n").unwrap();
    for (field, good) in [("", false), (", insecureShortSecret: true", true)] {
        let document = format!(
            "{{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: GatewayConfiguration, \
             sharedSecret: {{audience: kubehook, secretFiles: [{}]{field}}}}}",
            secret.display()
        );
        fs::write(root.path().join("gateway.yaml"), document).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"));
        command.current_dir(root.path()).args(["secrets", "--gateway-config", "gateway.yaml"]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), good, "{said}");
        assert_eq!(said.contains("the secret has 1 bytes"), !good, "{said}");
        assert!(good || said.contains("insecureShortSecret"), "the way out: {said}");
    }
}

/// What `sharedSecret` needs outside of `run`: it is said, printed, and found missing.
#[test]
fn a_shared_secret_with_an_envoy_of_ones_own() {
    const VARIABLE: &str = "KUBE_OIDC_GATEWAY_SHARED_SECRETS";
    let root = tempfile::tempdir().unwrap();
    let gateway = root.path().join("gateway.yaml");
    let secret = root.path().join("shared-secret");
    fs::write(&secret, "a-secret-that-nobody-may-see-which-has-thirty-two-bytes-and-more\n")
        .unwrap();
    let document = format!(
        "{{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: GatewayConfiguration, \
         sharedSecret: {{audience: kubehook, secretFiles: [{}]}}}}",
        secret.display()
    );
    fs::write(&gateway, document).unwrap();
    let flags =
        ["--gateway-config", "gateway.yaml", "--concurrency", "1", "--listen", "127.0.0.1:0"];
    let flags: Vec<_> = APISERVER.iter().chain(&flags).copied().collect();
    let output = render(root.path(), AUTHENTICATION, &flags);
    fs::write(root.path().join("filter.wasm"), support::filter()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(VARIABLE), "{said}");
    assert!(said.contains("kube-oidc-gateway secrets"), "the way out: {said}");

    let program = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"));
        command.current_dir(root.path()).args(words).output().unwrap()
    };
    let printed = program(&["secrets", "--gateway-config", "gateway.yaml"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let (name, value) = printed.trim_end().split_once('=').unwrap();
    assert!(name == VARIABLE && value.starts_with("{\"keys\":[{\"algorithm\":\"HS256\""), "{name}");

    // Envoy, as it was told to be started.
    let words = String::from_utf8(output.stdout).unwrap();
    let words = words.split_whitespace().skip(1);
    for (environment, want) in [
        (Some((name, value)), "all dependencies initialized"),
        (None, "sharedSecret: no KUBE_OIDC_GATEWAY_SHARED_SECRETS in the environment"),
    ] {
        let log = root.path().join("log");
        let mut envoy = Command::new(support::envoy())
            .args(words.clone())
            .args(["--log-level", "info", "--log-path", log.to_str().unwrap()])
            .env_clear()
            .envs(environment)
            .spawn()
            .unwrap();
        let start = Instant::now();
        let told = || fs::read_to_string(&log).unwrap_or_default();
        while !told().contains(want) && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        envoy.kill().unwrap();
        envoy.wait().unwrap();
        let told = told();
        assert!(told.contains(want), "{want}: {told}");
        assert_eq!(told.contains("configuration refused"), environment.is_none(), "{told}");
        fs::remove_file(&log).unwrap();
    }

    // Where no secret can be handed over, the field is named, and a way out.
    for words in [
        &["istio", "--module", "registry.example/filter:1"][..],
        &["envoy-gateway", "--module", "registry.example/filter:1"],
    ] {
        let files =
            ["--authentication-config", "authentication.yaml", "--gateway-config", "gateway.yaml"];
        let output = program(&[words, &files].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("sharedSecret: "), "{said}");
        assert!(said.contains("--signing-key-file") && said.lines().count() == 1, "{said}");
    }
}
