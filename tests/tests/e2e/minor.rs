//! Which Kubernetes the tests of this program run against. `make e2e-older` runs some of them with another one, by the environment.

use std::env;

use sandbox::assets::{self, Kubernetes};
use serde_json::Value;

use crate::harness::Rig;

/// The minor of kubectl, as `1.37`.
pub fn kubectl() -> String {
    let server = || Kubernetes::from_environment().unwrap().to_string();
    env::var(assets::KUBECTL).unwrap_or_else(|_| server())
}

#[test]
fn kube_apiserver_and_kubectl_are_of_the_minor_that_was_asked_for() {
    let rig = Rig::shared();
    let server = Kubernetes::from_environment().unwrap().to_string();
    let client = kubectl();
    let answer = rig.kubectl(rig.token().mint()).must(["version", "-o", "json"], "").unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    for (side, minor) in [("serverVersion", server), ("clientVersion", client)] {
        let wanted = format!("v{minor}.");
        let version = answer[side]["gitVersion"].as_str().unwrap();
        println!("{side}: {version}");
        assert!(version.starts_with(&wanted), "{side}: {version}, not {wanted}");
    }
}
