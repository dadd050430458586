//! What `istio` prints is what stands in deploy/istio. `UPDATE_GOLDEN=1 cargo test` writes what is printed now.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const MODULE: [&str; 2] = ["--module", "registry.example/kube-oidc-gateway/plugin:0.1.0"];

fn print(issuers: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .args(["istio", "--authentication-config"])
        .arg(issuers)
        .args(MODULE)
        .args(flags)
        .output()
        .unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/istio")
}

#[test]
fn the_examples_are_what_the_program_prints() {
    let sidecar = [
        "--mode=sidecar",
        "--workload=kube-apiserver",
        "--namespace=tenant",
        "--apiserver=https://127.0.0.1:6443",
        "--apiserver-server-name=kubernetes.default.svc",
        "--account-secret=kube-oidc-gateway-account",
    ];
    for (name, flags) in [
        ("gateway.yaml", &[][..]),
        ("registry.yaml", &["--registry", "apiserver,issuers"]),
        ("sidecar.yaml", &sidecar),
    ] {
        let output = print(&folder().join("issuers.yaml"), flags);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (golden, got) = (folder().join(name), String::from_utf8(output.stdout).unwrap());
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        let want = fs::read_to_string(&golden).unwrap();
        let differing = want.lines().zip(got.lines()).find(|(want, got)| want != got);
        assert_eq!(differing, None, "{name}");
        assert_eq!(want.len(), got.len(), "{name}");
    }
}

/// What a registry cannot hold is refused, not left out.
#[test]
fn issuers_have_hosts_of_their_own() {
    let configuration = |issuers: &[&str]| {
        let issuers = issuers.iter().map(|issuer| {
            format!(
                "- issuer: {{{issuer}, audiences: [a]}}\n  claimMappings: {{username: {{claim: sub, prefix: \"\"}}}}\n"
            )
        });
        let head =
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n";
        format!("{head}{}", issuers.collect::<String>())
    };
    for (issuers, want) in [
        (
            &["url: https://a.example/1", "url: https://a.example/2"][..],
            Ok("outbound|443||a.example"),
        ),
        // Keys are where the discovery document is.
        (
            &["url: https://a.example, discoveryURL: \"https://b.example:8443/x\""],
            Ok("\"https://a.example\": outbound|8443||b.example"),
        ),
        (&["url: https://192.0.2.1"], Ok("outbound|443||issuer-1.kube-oidc-gateway.internal")),
        (
            &["url: https://a.example/1", "url: https://a.example:8443/2"],
            Err("a.example is both an issuer"),
        ),
        (&["url: https://api.example/issuer"], Err("api.example is both an issuer")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("issuers.yaml");
        fs::write(&file, configuration(issuers)).unwrap();
        let flags = ["--registry=apiserver,issuers", "--apiserver=https://api.example"];
        let output = print(&file, &flags);
        let (text, wanted) = match want {
            Ok(wanted) => (&output.stdout, wanted),
            Err(wanted) => (&output.stderr, wanted),
        };
        assert_eq!(output.status.success(), want.is_ok(), "{issuers:?}: {output:?}");
        assert!(String::from_utf8_lossy(text).contains(wanted), "{issuers:?}: {output:?}");
    }
}

#[test]
fn a_sidecar_is_of_a_workload() {
    let output = print(&folder().join("issuers.yaml"), &["--mode=sidecar"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--workload"), "{output:?}");
}
