//! An Envoy with a known hole is neither started nor configured.

use std::{fs, process::Command};

use crate::{APISERVER, AUTHENTICATION, fake_envoy, render, run};

#[test]
fn cve_2026_73548_run_starts_no_envoy_that_has_it() {
    let root = tempfile::tempdir().unwrap();
    for (version, more, refused) in [
        ("1.39.0", &[][..], true),
        ("1.36.9", &["--allow-vulnerable-envoy=false"], true),
        ("1.35.13", &[], true),
        ("1.39.1", &[], false),
        ("1.39.0", &["--allow-vulnerable-envoy"], false),
        ("1.39.0-dev", &[], false),
    ] {
        let envoy = fake_envoy(root.path(), version);
        let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
            .args(["run", "--oidc-issuer-url=https://a.example", "--oidc-client-id=a"])
            .args(["--server=https://127.0.0.1:1", "--token=a", "--insecure-skip-tls-verify"])
            .args(["--filter=/filter.wasm", "--max-undecided-connections-per-address=0"])
            .args(["--bind-address=127.0.0.1", "--secure-port=1"])
            .arg(format!("--cert-dir={}", root.path().display()))
            .arg(format!("--envoy-binary={}", envoy.display()))
            // What comes after the version: a file in the way of the folder.
            .arg(format!("--run-dir={}/run", envoy.display()))
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{version} {more:?}: {said}");
        let refusal = format!("Envoy {version} has CVE-2026-73548: ");
        assert_eq!(said.contains(&refusal) && !said.contains(" WARN "), refused, "{said}");
        assert_eq!(said.contains(" WARN "), !refused && version != "1.39.1", "{said}");
        assert!(!root.path().join("started").exists(), "{version} {more:?}");
    }
}

#[test]
fn cve_2026_73548_render_writes_nothing_for_an_envoy_that_has_it() {
    let root = tempfile::tempdir().unwrap();
    let old = fake_envoy(root.path(), "1.39.0").display().to_string();
    for flags in [&["--envoy", &old][..], &["--envoy-version", "1.38.3"]] {
        let output = render(root.path(), AUTHENTICATION, &[&APISERVER[..], flags].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(" has CVE-2026-73548: "), "{said}");
        assert!(!output.status.success() && !root.path().join("out").exists(), "{said}");
    }
    let output = render(
        root.path(),
        AUTHENTICATION,
        &[&APISERVER[..], &["--envoy-version", "1.38.4"]].concat(),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("CVE"), "{said}");
    fs::remove_dir_all(root.path().join("out")).unwrap();
    let output = render(root.path(), AUTHENTICATION, &APISERVER);
    let said = String::from_utf8_lossy(&output.stderr);
    let note = "nothing tells the version of Envoy: it must not have CVE-2026-73548. Take 1.36.10 or a later 1.36, ";
    assert!(output.status.success() && said.contains(note), "{said}");
    let bad = render(
        root.path(),
        AUTHENTICATION,
        &[&APISERVER[..], &["--envoy-version", "1.40"]].concat(),
    );
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(said.contains("not of the form MAJOR.MINOR.PATCH"), "{said}");
}

#[test]
fn cve_2026_73548_lint_judges_the_version_that_it_is_told() {
    let root = tempfile::tempdir().unwrap();
    assert!(render(root.path(), AUTHENTICATION, &APISERVER).status.success());
    let old = fake_envoy(root.path(), "1.39.0").display().to_string();
    let finding = "out/envoy.yaml: : envoy-version: Envoy 1.39.0 has CVE-2026-73548: what a client sends behind an upgrade \
                   request reaches kube-apiserver as a request of its own; take 1.36.10 or a later 1.36, 1.37.6 or a later \
                   1.37, 1.38.4 or a later 1.38, 1.39.1 or a later 1.39, or 1.40.0 or later\n  way out: run a version of \
                   Envoy with the fix of CVE-2026-73548, with its switch left on: docs/envoy.md has the versions\n";
    for (flags, code, printed, warned) in [
        (&["--envoy", &old][..], 1, finding, false),
        (&["--envoy-version", "1.39.0"], 1, finding, false),
        (&["--envoy-version", "1.39.1"], 0, "", false),
        (&[], 0, "", true),
    ] {
        let output = run(root.path(), &[&["lint", "out/envoy.yaml"], flags].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{flags:?}");
        assert_eq!(output.status.code(), Some(code), "{flags:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("warning: nothing tells the version of Envoy"), warned, "{said}");
    }
}
