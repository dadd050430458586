//! What travels as extras beyond the claim mappings.

use serde_json::json;

use super::Settings;
use crate::{
    harness::until,
    wire::{Ask, Version},
};

#[test]
fn configured_extras_and_the_client_s_address_travel() {
    let extras = json!({
        "credentialId": false,
        "clientIP": true,
        "headers": {"cluster": ["blue"], "example.org/teams": ["a", "b"]},
    });
    let mode = Settings::new("extras", json!({"extras": extras})).start();
    let token = mode.token().mint();
    let got = mode.whoami_at_last(&token, &[]);
    assert_eq!(
        got["extra"],
        json!({"cluster": ["blue"], "example.org/teams": ["a", "b"], "remote-client-ip": ["127.0.0.1"]})
    );
}

/// RafPe/kube-oidc-proxy#75: what a client says of its address is believed as far as the hops that are trusted, no further.
#[test]
fn a_client_cannot_choose_its_address() {
    for (account, hops, want) in
        [("client-ip", 0, "127.0.0.1"), ("client-ip-hop", 1, "203.0.113.9")]
    {
        let extras = json!({"clientImpersonation": "strip", "extras": {"clientIP": true}});
        let mode = Settings::new(account, extras)
            .start_with(|gateway| gateway.inputs(move |inputs| inputs.options.trusted_hops = hops));
        let token = mode.token().mint();
        mode.whoami_at_last(&token, &[]);
        for version in Version::ALL {
            let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
            let ask = || {
                Ask::new("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews")
                    .bearer(&token)
                    .body(body)
                    .header("Content-Type", "application/json")
                    .header("X-Forwarded-For", "198.51.100.7, 203.0.113.9")
                    .header("X-Real-Ip", "198.51.100.8")
                    .header("Impersonate-Extra-Remote-Client-Ip", "198.51.100.9")
            };
            let answer = until("an answer", || ask().send(&mode.gateway, version).ok());
            let extra = &answer.json()["status"]["userInfo"]["extra"];
            assert_eq!(extra["remote-client-ip"], json!([want]), "{account}: {answer:?}");
        }
    }
}
