//! Providers as their own guides have kubectl configured.

use oidc_provider::{Preset, Provider};
use serde_json::{Value, json};

use super::{kubectl, person, run_signing_in, sign_in};
use crate::harness::{Rig, cluster};

/// The guide's exec section where only `oidc-login` became `oidc`.
fn kanidms_guide(issuer: &str) -> Value {
    json!({
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "args": [
            "oidc",
            "get-token",
            format!("--oidc-issuer-url={issuer}"),
            "--oidc-client-id=kubernetes",
            "--oidc-use-pkce",
            "--oidc-extra-scope",
            "openid profile groups email",
        ],
        "command": "kubectl",
        "env": null,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": false,
    })
}

fn authentication(provider: &Provider, audience: &str, mappings: &Value) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {
                "url": provider.issuer().url(),
                "audiences": [audience],
                "certificateAuthority": provider.ca_pem(),
            },
            "claimMappings": mappings,
        }],
    })
}

/// ES256, PKCE mandatory, refresh tokens that serve once, groups as `name@host`.
#[test]
fn kanidms_guide_leads_to_an_answer() {
    let rig = Rig::builder()
        .issuer(Preset::Kanidm.issuer())
        .authentication(|provider| {
            let claim = |name: &str| json!({"claim": name, "prefix": ""});
            let mappings =
                json!({"username": claim("preferred_username"), "groups": claim("groups")});
            authentication(provider, "kubernetes", &mappings)
        })
        .start();
    let group = "--group=k8s_users@idm.example.com";
    let words = ["create", "clusterrolebinding", "kanidm-users", "--clusterrole=view", group];
    cluster().admin().must(words, "").unwrap();
    let person = person();
    let kubectl = kubectl(&rig, &person, &kanidms_guide(rig.issuer().url()));

    let first = run_signing_in(&kubectl, &["get", "namespaces"], || {
        sign_in(&rig, &person, 1, "demo_user", "demo_user-password");
    });
    assert!(first.success() && first.stdout.contains("kube-system"), "{first:?}");
    let output = kubectl.must(["auth", "whoami", "-o", "json"], "").unwrap();
    let output: Value = serde_json::from_str(&output).unwrap();
    let user = &output["status"]["userInfo"];
    assert_eq!(user["username"], "demo_user@idm.example.com");
    assert_eq!(user["groups"][0], "k8s_users@idm.example.com");
    let renewing = kubectl.environment("KUBECTL_OIDC_FORCE_REFRESH", "true");
    for _ in 0..2 {
        renewing.must(["get", "namespaces"], "").unwrap();
    }
    assert_eq!(person.visits().len(), 1, "the refresh tokens serve, one after the other");
}

/// A refresh token comes for `access_type=offline` only.
#[test]
fn google_is_asked_for_offline_access() {
    let rig = Rig::builder()
        .issuer(Preset::Google.issuer())
        .authentication(|provider| {
            let mappings = json!({"username": {"claim": "email", "prefix": ""}});
            authentication(provider, "kubernetes.apps.example", &mappings)
        })
        .start();
    let exec = |more: Option<&str>| {
        let issuer = format!("--oidc-issuer-url={}", rig.issuer().url());
        let mut args = vec!["get-token", &issuer, "--oidc-client-id=kubernetes.apps.example"];
        args.push("--oidc-extra-scope=email profile");
        args.extend(more);
        json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "kubectl-oidc",
            "args": args,
            "env": [{"name": "KUBECTL_OIDC_CLIENT_SECRET", "value": "google-secret"}],
            "interactiveMode": "IfAvailable",
        })
    };
    let whoami = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    // Logins that are needed for a command and, with the token no longer wanted, for another one.
    for (more, logins) in
        [(None, 1), (Some("--oidc-auth-request-extra-params=access_type=online"), 2)]
    {
        let person = person();
        let mut kubectl = kubectl(&rig, &person, &exec(more));
        for number in 1..=2 {
            let output = run_signing_in(&kubectl, &whoami, || {
                if number <= logins {
                    sign_in(&rig, &person, number, "jane", "jane-password");
                }
            });
            assert_eq!(output.stdout, "jane@example.com", "{output:?}");
            kubectl = kubectl.environment("KUBECTL_OIDC_FORCE_REFRESH", "true");
        }
        assert_eq!(person.visits().len(), logins, "{more:?}");
    }
}
