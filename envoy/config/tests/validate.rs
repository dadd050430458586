//! The real Envoy takes what is rendered, and finds what is wrong with what the inputs name.

mod support;

use std::{fs, path::PathBuf};

use gateway_config::{Inputs, render};
use gateway_control::check;

#[test]
fn envoy_takes_every_variant() {
    let envoy = support::envoy();
    let root = tempfile::tempdir().unwrap();
    for (name, inputs) in support::variants(root.path()) {
        support::make_files(&inputs);
        let rendered = render(&inputs).unwrap();
        check(&rendered, &envoy, &inputs.directory)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!inputs.directory.join(".check.json").exists(), "left behind");
    }
}

/// `--mode validate` on its own reads envoy.yaml only: each of these would pass.
#[test]
fn envoy_finds_what_is_wrong() {
    type File = fn(&Inputs) -> &PathBuf;
    let envoy = support::envoy();
    let cases: [(&str, File, Option<&str>, &str); 7] = [
        ("no token", support::token, None, "Invalid path"),
        ("no CA", support::apiserver_ca, None, "Invalid path"),
        ("bad CA", support::apiserver_ca, Some("x"), "Failed to load trusted CA"),
        ("bad system CA", |i| &i.system_ca, Some("x"), "Failed to load trusted CA"),
        ("bad chain", |i| &i.serving.chain, Some("x"), "Failed to load certificate chain"),
        ("bad key", |i| &i.serving.key, Some("x"), "Failed to load private key"),
        ("bad module", |i| &i.options.filter, Some("x"), "Unable to create Wasm"),
    ];
    for (name, file, content, want) in cases {
        let root = tempfile::tempdir().unwrap();
        let inputs = support::inputs(root.path());
        support::make_files(&inputs);
        match content {
            Some(content) => fs::write(file(&inputs), content).unwrap(),
            None => fs::remove_file(file(&inputs)).unwrap(),
        }
        let got = check(&render(&inputs).unwrap(), &envoy, &inputs.directory).unwrap_err();
        assert!(got.to_string().contains(want), "{name}: {got}");
        assert_eq!(got.to_string().lines().count(), 1, "{name}: {got}");
    }
}

/// A module that Envoy cannot load as one.
#[test]
fn envoy_refuses_a_native_module_that_is_none() {
    let root = tempfile::tempdir().unwrap();
    let variants = support::variants(root.path());
    let (_, inputs) = variants.into_iter().find(|(name, _)| *name == "native").unwrap();
    support::make_files(&inputs);
    fs::write(&inputs.options.filter, support::least_filter()).unwrap();
    let got = check(&render(&inputs).unwrap(), &support::envoy(), &inputs.directory).unwrap_err();
    assert!(got.to_string().contains("Failed to load dynamic module"), "{got}");
}
