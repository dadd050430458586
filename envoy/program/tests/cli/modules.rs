//! Which module of the filter Envoy is told to load.

use std::{fs, path::Path, process::Command};

use crate::{APISERVER, AUTHENTICATION, fake_envoy, install, render, rendered, support};

#[test]
fn the_module_that_counts_connections_is_missed_by_its_name() {
    let root = tempfile::tempdir().unwrap();
    assert!(render(root.path(), AUTHENTICATION, &APISERVER).status.success());
    let module = root.path().join("connections.wasm");
    fs::remove_file(&module).unwrap();
    let again = rendered(root.path(), &APISERVER);
    let envoy = fake_envoy(root.path(), "1.40.0");
    let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .args(["run", "--oidc-issuer-url=https://a.example", "--oidc-client-id=a"])
        .args(["--server=https://127.0.0.1:1", "--token=a", "--insecure-skip-tls-verify"])
        .arg(format!("--filter={}", root.path().join("filter.wasm").display()))
        .arg(format!("--cert-dir={}", root.path().display()))
        .arg(format!("--envoy-binary={}", envoy.display()))
        .arg("--bind-address=127.0.0.1")
        .output()
        .unwrap();
    for output in [output, again] {
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(module.to_str().unwrap()), "{said}");
        assert!(said.contains("--max-undecided-connections-per-address=0"), "the way out: {said}");
    }
    assert!(!root.path().join("started").exists());
}

/// A module that is missing, is for another processor or another kind, and an Envoy it was not tested with: each is refused before
/// Envoy starts, with the way out.
#[test]
fn a_native_filter_that_envoy_could_not_load_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let module = root.path().join("libkube_oidc_gateway.so");
    let other = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    // The head of a shared library for that processor (elf(5)).
    let library = |machine: u8| {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(16, 0);
        head.extend([3, 0, machine, 0]);
        head
    };
    let own = if other == 62 { 183 } else { 62 };
    for (content, version, want) in [
        (None, "1.40.0", "put the libkube_oidc_gateway.so of the same release there"),
        (Some(b"\0asm\x01\0\0\0".to_vec()), "1.40.0", "is no shared library of 64 bits"),
        (Some(library(other)), "1.40.0", "and Envoy for "),
        (Some(library(own)), "1.41.0", "tested with Envoy 1.39 and 1.40 alone, and this is 1.41.0"),
        (Some(library(own)), "1.40.0-dev", "this one does not say of which release it is"),
    ] {
        match &content {
            Some(content) => fs::write(&module, content).unwrap(),
            None => assert!(!module.exists()),
        }
        let envoy = fake_envoy(root.path(), version);
        let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
            .args(["run", "--oidc-issuer-url=https://a.example", "--oidc-client-id=a"])
            .args(["--server=https://127.0.0.1:1", "--token=a", "--insecure-skip-tls-verify"])
            .args(["--filter-form=native", "--bind-address=127.0.0.1"])
            .arg(format!("--native-filter={}", module.display()))
            .arg(format!("--cert-dir={}", root.path().display()))
            .arg(format!("--envoy-binary={}", envoy.display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(want) && said.contains("--filter-form=wasm"), "{said}");
        assert!(!root.path().join("started").exists(), "{said}");
    }
}

#[test]
fn render_takes_the_form_of_the_filter() {
    let root = tempfile::tempdir().unwrap();
    let native = ["--filter-form=native", "--native-filter=/a/libkube_oidc_gateway.so"];
    let flags = [&APISERVER[..], &native, &["--envoy-version=1.40.0"]].concat();
    let output = render(root.path(), AUTHENTICATION, &flags);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let read = |name| fs::read_to_string(root.path().join("out").join(name)).unwrap();
    // It counts connections itself.
    assert!(read("filter-connections.yaml").contains("\"/a/libkube_oidc_gateway.so\""));
    assert!(read("filter-gateway.yaml").contains("\"/a/libkube_oidc_gateway.so\""));
    assert!(read("envoy.yaml").contains("dynamic_modules.v3.DynamicModuleFilter"));
    fs::remove_dir_all(root.path().join("out")).unwrap();
    let flags = [&APISERVER[..], &native, &["--envoy-version=1.41.0"]].concat();
    let output = render(root.path(), AUTHENTICATION, &flags);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alone, and this is 1.41.0: "), "{said}");
    assert!(!output.status.success() && !root.path().join("out").exists(), "{said}");
}

/// `portal` and `render` wanted `--filter` though the module lay beside the program.
#[test]
fn the_module_beside_the_program_is_found() {
    let root = tempfile::tempdir().unwrap();
    let inputs = support::inputs(root.path());
    support::make_files(&inputs);
    fs::write(root.path().join("authentication.yaml"), AUTHENTICATION).unwrap();
    fs::write(root.path().join("secret"), "a secret that is long enough for every check").unwrap();
    let folder = root.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("kube-oidc-gateway");
    install(Path::new(env!("CARGO_BIN_EXE_kube-oidc-gateway")), &program);
    let run = |words: &[&str]| {
        Command::new(&program).current_dir(root.path()).env_clear().args(words).output().unwrap()
    };
    let render = [
        "render",
        "--out=out",
        "--authentication-config=authentication.yaml",
        "--tls-cert-file=serving/tls.crt",
        "--tls-private-key-file=serving/tls.key",
        "--apiserver=https://10.96.0.1",
        "--apiserver-ca-file=serviceaccount/ca.crt",
        "--apiserver-token-file=serviceaccount/token",
        "--system-ca-file=ssl/ca-certificates.crt",
    ];
    let portal = ["portal", "--secret-file=secret", "--run-dir=portal", "--envoy-binary=/none"];
    for words in [&render[..], &portal[..]] {
        let output = run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("no filter.wasm beside this program: name one with --filter"),
            "{said}"
        );
    }
    let module = folder.join("filter.wasm");
    fs::write(&module, "").unwrap();
    fs::write(folder.join("connections.wasm"), "").unwrap();
    let output = run(&render);
    assert!(output.status.success(), "{output:?}");
    let filter = fs::read_to_string(root.path().join("out/filter-gateway.yaml")).unwrap();
    assert!(filter.contains(module.to_str().unwrap()), "{filter}");
    let said = String::from_utf8(run(&portal).stderr).unwrap();
    assert!(said.contains("cannot run \"/none\""), "{said}");
}
