//! What `envoy-gateway` prints is what stands in deploy/envoy-gateway. `UPDATE_GOLDEN=1 cargo test` writes what is printed now.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn print(module: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .args(["envoy-gateway", "--authentication-config"])
        .arg(folder().join("issuers.yaml"))
        .arg("--module")
        .args(module)
        .output()
        .unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/envoy-gateway")
}

#[test]
fn the_example_is_what_the_program_prints() {
    let output = print(&["registry.example/kube-oidc-gateway/plugin:0.1.0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (golden, got) = (folder().join("gateway.yaml"), String::from_utf8(output.stdout).unwrap());
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &got).unwrap();
    }
    let want = fs::read_to_string(&golden).unwrap();
    let differing = want.lines().zip(got.lines()).find(|(want, got)| want != got);
    assert_eq!(differing, None);
    assert_eq!(want.len(), got.len());
}

/// Envoy Gateway runs what a web server gives it, so it must know what that is.
#[test]
fn a_module_is_named_by_what_it_is() {
    let hash = "0123456789abcdef".repeat(4);
    for (module, want) in [
        (vec!["https://files.example/filter.wasm", "--module-sha256", &hash], Ok(&hash[..])),
        (vec!["https://files.example/filter.wasm"], Err("needs --module-sha256")),
        (
            vec!["https://files.example/filter.wasm", "--module-sha256", "abc"],
            Err("64 hexadecimal"),
        ),
        (vec!["registry.example/filter:1", "--module-sha256", &hash], Err("by its digest")),
    ] {
        let output = print(&module);
        let (text, wanted) = match want {
            Ok(wanted) => (&output.stdout, wanted),
            Err(wanted) => (&output.stderr, wanted),
        };
        assert_eq!(output.status.success(), want.is_ok(), "{module:?}");
        assert!(String::from_utf8_lossy(text).contains(wanted), "{module:?}: {output:?}");
    }
}

/// Objects change one after the other. A patch that is still the old one, with the credential in it, must not find the cluster
/// for issuers under the name that it knows.
#[test]
fn a_clusters_name_stays_its_own() {
    let patched = |settings: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.yaml");
        let head = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: GatewayConfiguration\n";
        fs::write(&file, format!("{head}{settings}")).unwrap();
        let flags = ["registry.example/filter:1", "--gateway-config", file.to_str().unwrap()];
        let output = print(&flags);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let objects = serde_saphyr::from_multiple::<Value>(&text).unwrap();
        let policy = objects.iter().find(|it| it["kind"] == "EnvoyPatchPolicy").unwrap();
        let patches = policy["spec"]["jsonPatches"].as_array().unwrap();
        let options = patches
            .iter()
            .filter(|it| it["operation"]["path"] == "/typed_extension_protocol_options");
        let by_name =
            options.map(|it| (it["name"].to_string(), it["operation"]["value"].to_string()));
        by_name.collect::<BTreeMap<_, _>>()
    };
    let (few, many) =
        (patched("clientImpersonation: strip\n"), patched("clientImpersonation: authorize\n"));
    assert!(few.len() < many.len());
    for (name, options) in &few {
        assert_eq!(many.get(name), Some(options), "{name}");
    }
}
