//! `kube-oidc-gateway migrate-values`: what it makes of the values of kube-oidc-proxy's charts is a file that this chart takes.

use std::{fs, io::Write, process::Command};

use gateway_tests::built;

use crate::helm::{chart, helm, values};

/// Every value of `RafPe`'s chart 1.4.0, with its default or with an example of its comments.
const NEWEST: &str = include_str!("migrate/newest.yaml");

/// The new values and what was said about the old ones.
fn migrated(old: &str) -> (String, String, bool) {
    let mut child = Command::new(built::program())
        .args(["migrate-values", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(old.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

/// What the chart makes of values, without what is new each time.
fn rendered(values: &str) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(values.as_bytes()).unwrap();
    let (chart, path) = (chart(), file.path().to_str().unwrap().to_owned());
    let output = helm(["template", "gateway", chart.to_str().unwrap(), "-f", &path]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{values}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_newest_fork_s_values_become_ours() {
    let (new, said, good) = migrated(NEWEST);
    assert!(good, "{said}");
    let named: Vec<_> = said.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        named,
        [
            "extraArgs.kube-client-qps",
            "image.repository",
            "image.tag",
            "resources.requests.memory",
            "resources.limits.memory",
            "ingress",
        ]
    );
    let objects = rendered(&new);
    for want in [
        "--oidc-tls-client-cert-file=/etc/kube-oidc-gateway/oidc-client/tls.crt",
        "secretName: oidc-client-tls",
        "- {key: \"client.crt\", path: tls.crt}",
        "internalTrafficPolicy: Local",
        "trafficDistribution: PreferClose",
        "sessionAffinity: ClientIP",
        "maxUnavailable: 1",
        "unhealthyPodEvictionPolicy: AlwaysAllow",
        "priorityClassName: system-cluster-critical",
    ] {
        assert!(objects.contains(want), "{want}: {objects}");
    }
}

/// README: the values of kube-oidc-proxy's charts have the same meaning here, unchanged.
#[test]
fn what_is_migrated_renders_as_the_file_itself() {
    let mut tried = 0;
    for (name, path) in values() {
        if !name.starts_with("proxy-") {
            continue;
        }
        let old = fs::read_to_string(&path).unwrap();
        let (new, said, good) = migrated(&old);
        assert!(good, "{name}: {said}");
        // The image and the memory alone are another: the old ones are for another program.
        let comparable = |text: &str| -> Vec<String> {
            let masked = ["image:", "memory:", "tls.crt:", "tls.key:", "ca.crt:"];
            let lines = text.lines().map(str::trim);
            lines
                .filter(|line| !masked.iter().any(|it| line.starts_with(it)))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(comparable(&rendered(&new)), comparable(&rendered(&old)), "{name}: {new}");
        tried += 1;
    }
    assert!(tried >= 7, "{tried}");
}
