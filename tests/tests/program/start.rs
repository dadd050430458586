//! Starts that fail say why in one line; flags that do nothing say so.

use std::process::Command;

use crate::harness::{Rig, binary, cluster};

#[test]
fn a_right_that_is_missing_makes_it_unready_and_is_named() {
    let mut rig = Rig::start(|_| vec!["--extra-user-headers=unheard=of".to_owned()], true);
    let probe = rig.probe();
    let rule = "{apiGroups: [\"authentication.k8s.io\"], resources: [\"userextras/unheard\"], \
                resourceNames: [\"of\"], verbs: [\"impersonate\"]}";
    let report = rig.program.wait_until(|| {
        let answer = probe.get("/readyz").map_err(|error| error.to_string())?;
        if answer.body.contains("[-]rights failed: the gateway's ClusterRole lacks ") {
            Ok(answer)
        } else {
            Err(answer.body)
        }
    });
    let report = report.unwrap();
    assert_eq!(report.status, 503);
    assert!(report.body.contains(rule), "{}", report.body);
    assert!(rig.log().contains(rule));
}

#[test]
fn a_proxy_that_cannot_be_used_is_named_with_its_issuer_and_its_password_is_not_told() {
    for (proxy, want) in [
        ("ftp://user:hunter2@proxy.example", "HTTPS_PROXY: a proxy of the kind \"ftp\""),
        ("http://user:hunter2@", "HTTPS_PROXY: it must be [http|https|socks5://]"),
    ] {
        let output = Command::new(binary())
            .args(["run", "--oidc-issuer-url=https://a.example", "--oidc-client-id=a"])
            .args(["--server=https://b.example", "--token=a", "--insecure-skip-tls-verify"])
            .arg(format!("--envoy-binary={}", cluster().assets().envoy.display()))
            .arg(format!("--filter={}", gateway_tests::built::filter().display()))
            .arg(format!("--run-dir={}", tempfile::tempdir().unwrap().path().display()))
            .arg(format!("--cert-dir={}", tempfile::tempdir().unwrap().path().display()))
            .env("HTTPS_PROXY", proxy)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(want), "{said}");
        assert!(said.contains("https://a.example") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn what_cannot_work_ends_with_one_line() {
    for (arguments, want) in [
        (&["--oidc-isuer-url=x"][..], "--oidc-issuer-url"),
        (&["--oidc-issuer-url=https://a"], "--oidc-issuer-url and --oidc-client-id are needed"),
        (
            &["--authentication-config=/x", "--oidc-client-id=a"],
            "--authentication-config and --oidc-client-id exclude each other",
        ),
        (
            &["--oidc-issuer-url=https://a.example", "--oidc-client-id=a"],
            "no API server: outside of a pod",
        ),
        (&["--tls-cert-file=/x"], "--tls-private-key-file"),
        (&["--disable-impersonation=maybe"], "must be true or false"),
        (
            &[
                "--oidc-issuer-url=https://a.example",
                "--oidc-client-id=a",
                "--gateway-config=/x",
                "--token-passthrough",
            ],
            "--gateway-config and --token-passthrough exclude each other",
        ),
    ] {
        let output = Command::new(binary())
            .arg("run")
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(said.contains(want), "{arguments:?}: {said}");
    }
}
