//! A release of the images is made of what is named by digest: `deploy/image/release`. Docker itself is not asked: what stands
//! in its place keeps what it was told.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Runs the script with variables, in a folder where a `docker` writes down its words.
fn release(folder: &Path, variables: &[(&str, &str)], words: &[&str]) -> Output {
    let docker = folder.join("docker");
    let told = folder.join("told");
    fs::write(&docker, format!("#!/bin/sh\necho \"$@\" >>{}\n", told.display())).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/image/release");
    let mut command = Command::new(script);
    for name in ["RUST_IMAGE", "ENVOY_IMAGE", "FILES"] {
        command.env_remove(name);
    }
    command.env("PATH", path).envs(variables.iter().copied()).args(words).output().unwrap()
}

/// The script's variables and words, and what it says if it refuses them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], Option<&'a str>);

#[test]
fn break_in_13_a_release_is_made_of_images_with_digests() {
    let rust = format!("rust:1.95.0-bookworm@{DIGEST}");
    let envoy = format!("envoyproxy/envoy@{DIGEST}");
    let (rust, envoy) = (("RUST_IMAGE", &*rust), ("ENVOY_IMAGE", &*envoy));
    let short = format!("envoyproxy/envoy@{}", &DIGEST[..70]);
    let behind = format!("envoyproxy/envoy@{DIGEST}:latest");
    let cases: [Case; 9] = [
        (&[rust, envoy], &[], None),
        (&[], &[], Some("RUST_IMAGE is not set and has no digest")),
        (&[rust], &[], Some("ENVOY_IMAGE is not set and has no digest")),
        (
            &[rust, ("ENVOY_IMAGE", "envoyproxy/envoy:distroless-v1.40.0")],
            &[],
            Some("ENVOY_IMAGE is envoyproxy/envoy:distroless-v1.40.0 and has no digest"),
        ),
        (&[rust, ("ENVOY_IMAGE", &short)], &[], Some("has no digest")),
        (&[rust, ("ENVOY_IMAGE", &behind)], &[], Some("has no digest")),
        (&[rust, envoy, ("FILES", "files:local")], &[], Some("FILES is files:local")),
        (&[], &["--development"], None),
        (&[("ENVOY_IMAGE", "mine:latest")], &["--development"], None),
    ];
    for (variables, flags, refused) in cases {
        let folder = tempfile::tempdir().unwrap();
        let words = [flags, &["registry.example/gateway", "1.0"]].concat();
        let output = release(folder.path(), variables, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        let told = fs::read_to_string(folder.path().join("told")).unwrap_or_default();
        if let Some(refused) = refused {
            assert_eq!(output.status.code(), Some(1), "{variables:?}: {said}");
            assert!(said.contains(refused) && said.contains("NAME@sha256:DIGEST"), "{said}");
            assert_eq!(told, "", "{variables:?}");
            continue;
        }
        assert!(output.status.success(), "{variables:?}: {said}");
        let told: Vec<_> = told.lines().collect();
        assert_eq!(told.len(), 2, "{told:?}");
        for (line, tag) in told.iter().zip(["gateway:1.0 ", "gateway-plugin:1.0 "]) {
            assert!(line.contains(&format!("-t registry.example/{tag}")), "{line}");
            for (name, image) in variables {
                assert!(line.contains(&format!("--build-arg {name}={image}")), "{line}");
            }
        }
    }
}

#[test]
fn a_release_has_a_name_and_a_tag() {
    let folder = tempfile::tempdir().unwrap();
    for words in [&[][..], &["registry.example/gateway"], &["--development"], &["--help", "1.0"]] {
        let output = release(folder.path(), &[], words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("deploy/image/release"));
        assert!(!folder.path().join("told").exists(), "{words:?}");
    }
}
