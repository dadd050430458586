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

/// Nobody runs beside the mesh's Envoy: the document is a part of the filter's configuration, and logout tokens are for `run`.
#[test]
fn whose_access_has_ended_stands_in_the_filters_configuration() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let head = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: ";
    let entry = "revocations: [{user: jane, until: 2040-01-01T00:00:00Z}]";
    let good = file("good.yaml", &format!("{head}Revocations\n{entry}\n"));
    let bad = file("bad.yaml", &format!("{head}Revocations\n{}\n", entry.replace("2040", "soon")));
    let logout = file(
        "logout.yaml",
        &format!("{head}GatewayConfiguration\nlogout: {{path: /oidc/logout}}\n"),
    );
    let print = |flags: &[&str]| print(&folder().join("issuers.yaml"), flags);
    let output = print(&["--revocations", &good]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("jane"), "{printed}");
    for (flags, want) in [
        (["--revocations", &bad], "revocations[0].until: Invalid value"),
        (["--gateway-config", &logout], "logout.path: Invalid value"),
    ] {
        let output = print(&flags);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(want), "{error}");
    }
}
