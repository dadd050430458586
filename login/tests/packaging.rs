//! The krew manifest that a release gets.
#![cfg(unix)]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// The fields and their rules are krew's (`krew.googlecontainertools.github.com/v1alpha2`).
#[test]
fn the_krew_manifest_names_each_archive_with_its_digest() {
    let dist = tempfile::tempdir().unwrap();
    for (name, bytes) in [("linux-amd64", "a"), ("linux-arm64", "b"), ("windows-amd64", "c")] {
        fs::write(dist.path().join(format!("kubectl-oidc-{name}.tar.gz")), bytes).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/krew/render.sh");
    let output = Command::new(&script)
        .args(["v1.2.3", "https://example.com", "https://example.com/v1.2.3/"])
        .arg(dist.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let manifest: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(manifest["metadata"]["name"], "oidc");
    assert_eq!(manifest["spec"]["version"], "v1.2.3");
    assert_eq!(manifest["spec"]["homepage"], "https://example.com");
    let short = manifest["spec"]["shortDescription"].as_str().unwrap();
    assert!(short.len() <= 80, "krew's limit");
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    let found: Vec<_> = platforms
        .iter()
        .map(|platform| {
            let labels = &platform["selector"]["matchLabels"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            [
                text(&labels["os"]),
                text(&labels["arch"]),
                text(&platform["uri"]),
                text(&platform["bin"]),
            ]
            .join(" ")
        })
        .collect();
    let base = "https://example.com/v1.2.3/kubectl-oidc";
    assert_eq!(
        found,
        [
            format!("linux amd64 {base}-linux-amd64.tar.gz kubectl-oidc"),
            format!("linux arm64 {base}-linux-arm64.tar.gz kubectl-oidc"),
            format!("windows amd64 {base}-windows-amd64.tar.gz kubectl-oidc.exe"),
        ]
    );
    // sha256 of "a"
    let digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    assert_eq!(platforms[0]["sha256"], digest);
    assert!(!Command::new(&script).output().unwrap().status.success(), "arguments are needed");
    let empty = tempfile::tempdir().unwrap();
    let nothing = Command::new(&script).args(["v1", "h", "b"]).arg(empty.path()).output().unwrap();
    assert!(!nothing.status.success(), "a manifest without a platform is none");
}
