//! CEL in the filter's VM: what kube-apiserver takes must not end the stack of a Wasm module.

use oidc_provider::{Config, Preset, Provider};
use sandbox::{Credential, realm};

use crate::harness;

/// kube-apiserver takes 249 expressions inside another, and so does the filter: when its VM starts, and for each token in a worker.
#[test]
fn expressions_nest_as_deep_as_kube_apiserver_lets_them() {
    let around = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    for (name, username) in [
        ("parentheses", around("(", "claims.sub", ")", 249)),
        ("calls", around("string(", "claims.sub", ")", 240)),
        ("conditionals", around("true ? claims.sub : ", "claims.sub", "", 240)),
        ("lists", around("[", "claims.sub", "]", 240) + ".size() == 1 ? claims.sub : ''"),
        ("signs", around("!(", "true", ")", 240) + " ? claims.sub : ''"),
    ] {
        let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
        let mut authentication = realm::authentication_of(&provider);
        authentication["jwt"][0]["claimMappings"]["username"] =
            serde_json::json!({"expression": username});
        let gateway = harness::gateway(authentication).configuration(realm::configuration());
        let gateway = gateway.start().unwrap_or_else(|error| panic!("{name}: {error}"));
        let token = provider.issuer().token("k8s-user1", realm::CLIENT).mint();
        let kubectl = gateway.kubectl(Credential::Token(token)).unwrap();
        for _ in 0..2 {
            let who = kubectl
                .must(["auth", "whoami", "-o", "jsonpath={.status.userInfo.uid}"], "")
                .unwrap();
            assert!(!who.is_empty(), "{name}");
        }
    }
}
