//! Requests that go on with their own token: ServiceAccounts' by TokenReview, everybody's without impersonation.

use oidc_provider::{Config, Preset, Provider};
use sandbox::{Cluster, Credential, realm};
use serde_json::{Value, json};

use super::{Settings, service_account_token};
use crate::harness::{Probe, until};

/// OpenUnison/helm-charts#112: ServiceAccounts' tokens pass, as what they are.
#[test]
fn tokens_of_service_accounts_pass_as_they_are() {
    for (account, audiences) in [
        ("token-review", json!([])),
        ("token-review-audience", json!(["https://kubernetes.default.svc"])),
        ("token-review-stranger", json!(["somebody-else"])),
    ] {
        let review = json!({"tokenReview": {"enabled": true, "audiences": audiences}});
        let mode = Settings::new(account, review).start();
        mode.whoami_at_last(&mode.token().mint(), &[]);
        let (token, name) = service_account_token();
        let got = mode.whoami(&token, &[]);
        if account == "token-review-stranger" {
            // The token is the API server's, and not for the audience that the gateway asks for.
            let message = mode.refusal(&token, &[]);
            assert!(got.is_err() && message.contains("Unauthorized"), "{message}");
            continue;
        }
        let got = got.unwrap_or_else(|message| panic!("{account}: {message}"));
        assert_eq!(got["username"], name, "{account}");

        let probe = Probe::new();
        mode.kubectl(token.as_str()).must(["get", "--raw", &probe.path()], "").unwrap();
        let event = probe.completed();
        assert_eq!(event.user.username, name);
        assert_eq!(event.impersonated_user, None);

        // Somebody's who is nobody here stays outside, and so does what our own rules refuse.
        for bad in
            ["not-a-jwt".to_owned(), mode.token().expires_in(-60).mint(), token.clone() + "x"]
        {
            let probe = Probe::new();
            let output = mode.kubectl(bad).run(["get", "--raw", &probe.path()]).unwrap();
            assert!(output.stderr.contains("Unauthorized"), "{output:?}");
            probe.assert_untouched();
        }
    }
}

/// jetstack/kube-oidc-proxy#73: verified, and then on with the token itself.
#[test]
fn without_impersonation_the_api_server_sees_the_token_itself() {
    let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let authentication = realm::authentication_of(&provider);
    let cluster = Cluster::builder().authentication_config(authentication.to_string());
    let cluster = cluster.start().unwrap();
    let mut settings = realm::configuration();
    settings["impersonation"] = json!("disabled");
    let gateway = cluster.gateway(authentication).configuration(settings).start().unwrap();
    let issuer = provider.issuer();
    let token = || issuer.token("k8s-user1", realm::CLIENT);
    let whoami = |token: String| {
        let kubectl = gateway.kubectl(Credential::Token(token)).unwrap();
        let output = kubectl.run(["auth", "whoami", "-o", "json"]).unwrap();
        let answer: Option<Value> = serde_json::from_str(&output.stdout).ok();
        answer.map(|answer| answer["status"]["userInfo"].clone()).ok_or(output.stderr)
    };
    let mark = cluster.audit().mark().unwrap();
    // kube-apiserver looks for an issuer's keys at its start, and again some seconds later.
    let user = until("the API server has the keys", || whoami(token().mint()).ok());
    assert_eq!(user["username"], format!("{}#k8s-user1", issuer.url()));
    let events = cluster.audit().since(mark).unwrap();
    let own =
        events.iter().filter(|event| event.user.username == user["username"].as_str().unwrap());
    assert!(own.clone().count() > 0, "{events:#?}");
    assert!(own.clone().all(|event| event.impersonated_user.is_none()), "{events:#?}");
    // What the gateway refuses never gets there.
    let message = whoami(token().claim("aud", "other").mint()).unwrap_err();
    assert!(message.contains("Unauthorized"), "{message}");
}
