//! kubekey's example kubeconfig.

use sandbox::realm;
use serde_json::json;

use super::{kubectl, person, run_signing_in, sign_in};
use crate::harness::Rig;

/// Only client, issuer and command are replaced: no arguments, everything in the environment, and no `interactiveMode`,
/// which v1beta1 does not ask for.
#[test]
fn kubekeys_users_stanza_needs_another_command_only() {
    let rig = Rig::shared();
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "kubectl-oidc",
        "env": [
            {"name": "CLIENT_ID", "value": realm::CLIENT},
            {"name": "CLIENT_SECRET", "value": ""},
            {"name": "IDP_ISSUER_URL", "value": rig.issuer().url()},
        ],
    });
    let person = person();
    let kubectl = kubectl(&rig, &person, &exec);
    let output = run_signing_in(&kubectl, &["get", "namespaces"], || {
        sign_in(&rig, &person, 1, "k8s-user1", &realm::password("k8s-user1"));
    });
    assert!(output.success() && output.stdout.contains("kube-system"), "{output:?}");
    assert!(person.visits()[0].starts_with("http://127.0.0.1:"), "{:?}", person.visits());
    kubectl.must(["get", "namespaces"], "").unwrap();
    assert_eq!(person.visits().len(), 1);
}
