//! Two commands from nothing to an answer.

use sandbox::{Credential, realm};

use super::{person, run_signing_in, sign_in};
use crate::harness::Rig;

#[test]
fn setup_and_then_an_answer() {
    let rig = Rig::shared();
    let person = person();
    let kubeconfig = person.path("config");
    let kubectl = rig.gateway.kubectl(Credential::None).unwrap();
    let kubectl =
        person.takes(kubectl).environment("KUBECONFIG", &kubeconfig.display().to_string());
    let flag = |name: &str, value: &str| format!("--{name}={value}");
    let setup = [
        "oidc".to_owned(),
        "setup".to_owned(),
        flag("server", &rig.gateway.url()),
        flag("cluster-certificate-authority", &person.file("gateway.crt", rig.gateway.ca())),
        flag("oidc-issuer-url", rig.issuer().url()),
        flag("certificate-authority", &person.file("issuer.crt", rig.provider.ca_pem())),
        flag("oidc-client-id", realm::CLIENT),
    ];
    assert!(!kubeconfig.exists());
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let output = run_signing_in(&kubectl, &setup, || {
        sign_in(&rig, &person, 1, "k8s-user1", &realm::password("k8s-user1"));
    });
    assert!(output.success(), "{output:?}");
    // What the cluster makes of the login.
    for said in [&*rig.user(), "system:viewers, system:authenticated", "Written: "] {
        assert!(output.stderr.contains(said), "no {said:?} in {}", output.stderr);
    }
    let table = kubectl.must(["get", "namespaces"], "").unwrap();
    assert!(table.contains("kube-system"), "{table}");
    assert_eq!(person.visits().len(), 1);
}
