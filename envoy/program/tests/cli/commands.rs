//! What other commands print: logs, roles, findings, help.

use std::{fs, process::Command};

use crate::{APISERVER, AUTHENTICATION, render, run};

/// A log collector reads lines; a person reads them, too.
#[test]
fn the_log_of_run_and_portal_is_text_or_json() {
    let root = tempfile::tempdir().unwrap();
    let run = ["run", "--oidc-client-id=a", "--oidc-issuer-url=http://a", "--namespace=a"];
    let portal = ["portal", "--filter=/none", "--secret-file=/none"];
    for (words, level, text) in [
        (&run[..], "WARN", "--namespace has no effect: a gateway has no namespace"),
        (&run, "ERROR", "no API server: outside of a pod"),
        (&portal, "ERROR", "cannot read \"/none\""),
    ] {
        let lines = |format: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
                .env_remove("KUBERNETES_SERVICE_HOST")
                .env_remove("KUBECONFIG")
                .env("ENVOY_BIN", "/none")
                .env("GATEWAY_FILTER", "/none")
                .args(words)
                .args(format)
                .arg(format!(
                    "{}={}",
                    if words == portal { "--run-dir" } else { "--cert-dir" },
                    root.path().display()
                ))
                .output()
                .unwrap();
            assert!(!output.status.success(), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let plain = lines(&[]);
        let line =
            plain.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{plain}"));
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
        assert!(rest.trim_start().starts_with(level), "{line}");

        let json = lines(&["--log-format=json"]);
        let found = json.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["message"].as_str()?.contains(text).then_some(line)
        });
        let line = found.unwrap_or_else(|| panic!("{json}"));
        assert_eq!(line["level"], level);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}

#[test]
fn rbac_prints_the_role_and_its_binding() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("authentication.yaml"), AUTHENTICATION).unwrap();
    let flags = ["rbac", "--authentication-config", "authentication.yaml"];
    let output = run(root.path(), &[&flags[..], &["--service-account", "ns:name"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("kind: ClusterRole\n") && text.contains("namespace: ns, name: name"),
        "{text}"
    );
    assert!(text.contains("[impersonate]") && !text.contains("impersonate:user-info"), "{text}");
    // Its command line is that of `run`.
    let by_flags = [
        &[
            "rbac",
            "--oidc-issuer-url=https://a.example",
            "--oidc-client-id=a",
            "--oidc-groups-claim=g",
        ][..],
        &["--secure-port=443", "--token-passthrough=true", "--extra-user-headers=a=b"],
        &["--as-user-extra=asked", "--as-user-extra=other"],
    ];
    let output = run(root.path(), &by_flags.concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for right in [
        "subjectaccessreviews",
        "tokenreviews",
        "resources: [userextras/a]",
        "userextras/asked",
        "userextras/other",
    ] {
        assert!(
            text.contains(right),
            "{right}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let output = run(root.path(), &[&by_flags.concat()[..], &["--disable-impersonation"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("subjectaccessreviews") && !text.contains("[impersonate]"), "{text}");
    let output = run(root.path(), &[&flags[..], &["--constrained"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("# It needs") && text.contains("\"impersonate:user-info\""), "{text}");
}

/// 0 for clean, 1 for findings on standard output, 2 for files that cannot be read.
#[test]
fn lint_tells_by_its_exit_code() {
    let root = tempfile::tempdir().unwrap();
    let output = render(root.path(), AUTHENTICATION, &APISERVER);
    assert!(output.status.success(), "{output:?}");
    let clean = run(root.path(), &["lint", "out/envoy.yaml"]);
    assert_eq!((clean.status.code(), &*clean.stdout), (Some(0), &b""[..]), "{clean:?}");
    let routes = root.path().join("out/routes.yaml");
    let text = fs::read_to_string(&routes).unwrap();
    fs::write(&routes, text.replace("{status: 403}", "{status: 200}")).unwrap();
    let broken = run(root.path(), &["lint", "out/envoy.yaml"]);
    let text = String::from_utf8(broken.stdout).unwrap();
    assert_eq!(broken.status.code(), Some(1), "{text}");
    assert!(
        text.contains("routes.yaml: resources[0].virtual_hosts[0].routes[3]: last-route: "),
        "{text}"
    );
    let missing = run(root.path(), &["lint", "nothing.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(String::from_utf8(missing.stderr).unwrap().lines().count(), 1);
}

/// `--envoy` here and `--envoy-binary` there: each command that names an Envoy takes both.
#[test]
fn an_envoy_is_named_by_one_flag_and_its_former_name() {
    for command in ["run", "render", "lint", "portal"] {
        let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("--envoy-binary <FILE>"), "{command}: {help}");
        assert!(help.contains("--envoy]"), "{command}: {help}");
    }
}
