//! kubectl's built-in `auth-provider: oidc`, which the kubeconfigs of kube-oidc-proxy and kubernetes-sandbox have.

use std::{fs, time::Duration};

use oidc_provider::Endpoint;
use sandbox::{Credential, realm::Login};

use crate::harness::{Rig, until};

#[test]
fn kubectls_own_provider_refreshes_through_the_gateway() {
    let rig = Rig::new();
    let issuer = rig.issuer();
    issuer.set_token_lifetime(Duration::from_secs(2));
    let login = Login::by_password(&rig.provider, "k8s-user1").unwrap();
    issuer.set_token_lifetime(Duration::from_secs(300));
    let alone = rig.kubectl(&*login.id_token);
    until("the token expires", || {
        let output = alone.run(["get", "namespaces"]).unwrap();
        output.stderr.contains("You must be logged in").then_some(())
    });
    issuer.reset_requests();

    let kubectl = rig.gateway.kubectl(login.credential()).unwrap();
    let stored = || fs::read_to_string(kubectl.kubeconfig()).unwrap();
    assert!(stored().contains(&login.id_token));
    for _ in 0..2 {
        let table = kubectl.must(["get", "namespaces"], "").unwrap();
        assert!(table.contains("kube-system"), "{table}");
        assert!(!stored().contains(&login.id_token), "kubectl keeps the new token");
        assert_eq!(issuer.requests(Endpoint::Token), 1, "one refresh");
    }

    // Without a refresh token there is none.
    let Credential::Oidc { issuer: url, issuer_ca, client_id, id_token, .. } = login.credential()
    else {
        unreachable!("kubectl's provider")
    };
    let refresh_token = String::new();
    let expired = Credential::Oidc { issuer: url, issuer_ca, client_id, id_token, refresh_token };
    let output = rig.gateway.kubectl(expired).unwrap().run(["get", "namespaces"]).unwrap();
    assert!(output.stderr.contains("No valid id-token"), "{output:?}");
}
