//! What `render` writes, and what it refuses.

use std::fs;

use crate::{APISERVER, AUTHENTICATION, render, support};

#[test]
fn render_writes_what_envoy_takes() {
    let root = tempfile::tempdir().unwrap();
    let envoy = support::envoy();
    let flags = [&APISERVER[..], &["--check", "--envoy", envoy.to_str().unwrap()]].concat();
    let output = render(root.path(), AUTHENTICATION, &flags);
    assert!(output.status.success(), "{output:?}");
    let out = root.path().join("out");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "envoy --config-path {}/envoy.yaml --disable-hot-restart --file-flush-interval-msec 500\n",
            out.display()
        )
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 14);
    let filter = fs::read_to_string(out.join("filter-gateway.yaml")).unwrap();
    assert!(
        filter.contains(r#"\"issuerClusters\":{\"https://issuer.example\":\"issuers_system\"}"#)
    );

    let again = render(root.path(), AUTHENTICATION, &APISERVER);
    assert!(again.stderr.is_empty(), "nothing has changed");
}

#[test]
fn modes_come_from_the_gateway_configuration() {
    let root = tempfile::tempdir().unwrap();
    let header = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: GatewayConfiguration\n";
    for (settings, own, review, strip) in [
        ("", false, true, false),
        ("clientImpersonation: strip\n", false, false, true),
        ("clientImpersonation: reject\n", false, false, false),
        ("clientImpersonation: authorize\n", false, true, false),
        ("tokenReview: {enabled: true}\n", true, true, false),
        ("impersonation: disabled\n", true, true, false),
    ] {
        fs::write(root.path().join("gateway.yaml"), format!("{header}{settings}")).unwrap();
        let flags = [&APISERVER[..], &["--gateway-config", "gateway.yaml"]].concat();
        let output = render(root.path(), AUTHENTICATION, &flags);
        assert!(output.status.success(), "{settings}: {output:?}");
        let read = |name| fs::read_to_string(root.path().join("out").join(name)).unwrap();
        let clusters = read("clusters.yaml");
        assert_eq!(clusters.contains("apiserver_own_h2"), own, "{settings}");
        assert_eq!(clusters.contains("\"apiserver_review\""), review, "{settings}");
        assert_eq!(read("filter-strip.yaml").contains("prefix: impersonate,"), strip, "{settings}");
    }
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let two_words = AUTHENTICATION.replace("audiences", "audience");
    let not_yaml = AUTHENTICATION.replace("sub", "su b: c");
    let twice = format!("{AUTHENTICATION}kind: AuthenticationConfiguration\n");
    for (authentication, flags, want) in [
        (AUTHENTICATION, &[][..], "--apiserver is needed outside of a pod of the cluster"),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--authentication-config", "none.yaml"],
            "cannot be used multiple times",
        ),
        (&two_words, &APISERVER, "authentication.yaml: strict decoding error: unknown field"),
        (&not_yaml, &APISERVER, "line 6"),
        (&twice, &APISERVER, "line 7"),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--gateway-config", "none.yaml"],
            "cannot read \"none.yaml\": No such file",
        ),
        (
            AUTHENTICATION,
            &[
                "--apiserver",
                "https://a",
                "--gateway-config",
                "none.yaml",
                "--kubernetes-rules=1.36",
            ],
            "--gateway-config and --kubernetes-rules exclude each other",
        ),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--undecided-timeout", "5s"],
            "--undecided-timeout must be longer than limits.waitSeconds of the GatewayConfiguration (10)",
        ),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--max-request-headers-kib", "64"],
            "--max-request-headers-kib must be more than limits.tokenBytes",
        ),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--check", "--envoy", "none"],
            "cannot run \"none\": No such file",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        let output = render(root.path(), authentication, flags);
        assert!(!output.status.success(), "{want}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(want), "{want}: {errors}");
        if output.status.code() == Some(1) {
            assert_eq!(errors.lines().count(), 1, "{errors}");
        }
        assert!(!root.path().join("out/envoy.yaml").exists(), "{want}: files were written");
    }
}
