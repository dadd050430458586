//! What package managers get of a release, of one list.
#![cfg(unix)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// sha256 of "a"
const DIGEST: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

fn render(archives: &Path, out: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/release/manifests.py");
    Command::new("python3").arg(script).arg("1.2.3").args([archives, out]).output().unwrap()
}

/// What deploy/project.env says.
fn project(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/project.env");
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap().to_owned()
}

/// The fields and their rules are krew's (`krew.googlecontainertools.github.com/v1alpha2`), Homebrew's and Scoop's.
#[test]
fn manifests_name_each_archive_with_its_digest() {
    let (dist, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, bytes) in [
        ("darwin-arm64.tar.gz", "a"),
        ("linux-amd64.tar.gz", "a"),
        ("linux-arm64.tar.gz", "b"),
        ("windows-amd64.zip", "a"),
    ] {
        fs::write(dist.path().join(format!("kubectl-oidc-{name}")), bytes).unwrap();
    }
    fs::write(dist.path().join("kube-oidc-gateway-linux-amd64.tar.gz"), "another program").unwrap();
    let output = render(dist.path(), out.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
    let base = format!("{}/releases/download/v1.2.3/kubectl-oidc", project("REPOSITORY"));

    let manifest: Value = serde_saphyr::from_str(&read("krew/oidc.yaml")).unwrap();
    assert_eq!(manifest["metadata"]["name"], "oidc");
    assert_eq!(manifest["spec"]["version"], "v1.2.3");
    assert_eq!(manifest["spec"]["homepage"], project("SITE"));
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
    assert_eq!(
        found,
        [
            format!("darwin arm64 {base}-darwin-arm64.tar.gz kubectl-oidc"),
            format!("linux amd64 {base}-linux-amd64.tar.gz kubectl-oidc"),
            format!("linux arm64 {base}-linux-arm64.tar.gz kubectl-oidc"),
            format!("windows amd64 {base}-windows-amd64.zip kubectl-oidc.exe"),
        ]
    );
    assert_eq!(platforms[0]["sha256"], DIGEST);

    let formula = read("homebrew/kubectl-oidc.rb");
    for line in [
        "  version \"1.2.3\"",
        "  on_macos do",
        &format!("      url \"{base}-darwin-arm64.tar.gz\""),
        &format!("      sha256 \"{DIGEST}\""),
    ] {
        assert!(formula.lines().any(|it| it == line), "{line}\n{formula}");
    }
    assert!(!formula.contains('@'), "a word was not replaced: {formula}");

    let bucket: Value = serde_json::from_str(&read("scoop/kubectl-oidc.json")).unwrap();
    let windows = &bucket["architecture"]["64bit"];
    assert_eq!(windows["url"], format!("{base}-windows-amd64.zip"));
    assert_eq!(windows["hash"], DIGEST);
}

#[test]
fn a_manifest_without_an_archive_is_none() {
    let (empty, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = render(empty.path(), out.path());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no archive"));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
