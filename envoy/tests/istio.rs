//! What `istio` prints is what stands in deploy/istio. `UPDATE_GOLDEN=1 cargo test` writes what is printed now.

use std::{env, fs, path::Path, process::Command};

#[test]
fn the_example_is_what_the_program_prints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/istio");
    let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .args(["istio", "--authentication-config"])
        .arg(folder.join("issuers.yaml"))
        .args(["--module", "registry.example/kube-oidc-gateway-filter:0.1.0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (golden, got) = (folder.join("gateway.yaml"), String::from_utf8(output.stdout).unwrap());
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &got).unwrap();
    }
    let want = fs::read_to_string(&golden).unwrap();
    let differing = want.lines().zip(got.lines()).find(|(want, got)| want != got);
    assert_eq!(differing, None);
    assert_eq!(want.len(), got.len());
}
