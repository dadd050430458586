//! Many who ask: kubectl at once, and one kubectl again and again.

use sandbox::{Running, realm};
use serde_json::{Value, json};

use super::{kubectl, person, sign_in};
use crate::harness::{LIMIT, Rig};

/// As many as a shell loop or an editor with a cluster view starts.
const COMMANDS: usize = 20;

#[test]
fn twenty_kubectl_on_a_cold_store_ask_for_one_login() {
    let rig = Rig::shared();
    let exec = exec(&rig);
    let person = person();
    let kubectl = kubectl(&rig, &person, &exec);
    let mut all: Vec<Running> =
        (0..COMMANDS).map(|_| kubectl.start(["get", "namespaces"]).unwrap()).collect();
    // Nobody signs in before each of the others is known to wait.
    let start = person.visit(1, LIMIT);
    let mut waiting = 0;
    for running in &mut all {
        let says = |line: &str| line.contains("Log in") || line.contains("Waiting for another");
        waiting += usize::from(running.line(LIMIT, says).unwrap().contains("Waiting"));
    }
    assert_eq!(waiting, COMMANDS - 1);
    assert_eq!(person.visits(), [start]);
    sign_in(&rig, &person, 1, "k8s-user1", &realm::password("k8s-user1"));
    for running in &mut all {
        running.line(LIMIT, |line| line.starts_with("kube-system")).unwrap();
        assert_eq!(running.wait(LIMIT).unwrap(), Some(0));
    }
    assert_eq!(person.visits().len(), 1);
}

/// kubectl asks the API server five times what it offers, and the plugin for a token each time. A person who cancelled once
/// has cancelled.
#[test]
fn a_login_that_failed_is_not_asked_for_again_by_the_same_kubectl() {
    let rig = Rig::shared();
    let person = person();
    let kubectl = kubectl(&rig, &person, &exec(&rig));
    let kubectl = kubectl.environment("KUBECTL_OIDC_AUTHENTICATION_TIMEOUT_SEC", "1");
    let output = kubectl.run(["get", "namespaces"]).unwrap();
    assert!(output.stderr.contains("nobody logged in within 1 s"), "{output:?}");
    assert!(output.stderr.contains("a moment ago"), "{output:?}");
    assert_eq!(person.visits().len(), 1);
    // Another command is another question.
    let output = kubectl.run(["get", "namespaces"]).unwrap();
    assert_eq!(output.code, Some(1));
    assert_eq!(person.visits().len(), 2);
}

fn exec(rig: &Rig) -> Value {
    json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "kubectl-oidc",
        "args": [
            "get-token",
            format!("--oidc-issuer-url={}", rig.issuer().url()),
            format!("--oidc-client-id={}", realm::CLIENT),
        ],
        "interactiveMode": "IfAvailable",
    })
}
