//! Which feature needs which rule. That the rules are enough, and none too many, the end-to-end tests show.

use kube_authn::config::{LoadOptions, load};
use serde_json::{Value, json};

use super::*;

fn role(mappings: &Value, gateway: &Value, form: Form) -> Role {
    let mut authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": "https://issuer.example", "audiences": ["a"]},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        }],
    });
    let target = authentication["jwt"][0]["claimMappings"].as_object_mut().unwrap();
    target.extend(mappings.as_object().unwrap().clone());
    let text = authentication.to_string();
    let authentication = load(text.as_bytes(), &LoadOptions::default()).unwrap();
    let mut whole =
        json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration"});
    whole.as_object_mut().unwrap().extend(gateway.as_object().unwrap().clone());
    let gateway = GatewayConfiguration::from_value(whole).unwrap();
    Role::least(authentication.raw(), &gateway, &["example.org/asked".to_owned()], form)
}

/// `GROUP/RESOURCE[NAMES]:VERB`, one for each resource and verb.
fn rights(role: &Role) -> Vec<String> {
    let mut rights = Vec::new();
    for rule in &role.rules {
        for resource in rule.resources.iter().chain(&rule.non_resource_urls) {
            let group = rule.api_groups.first().map_or("", String::as_str);
            let names = if rule.resource_names.is_empty() {
                String::new()
            } else {
                format!("[{}]", rule.resource_names.join(","))
            };
            for verb in &rule.verbs {
                rights.push(format!("{group}/{resource}{names}:{verb}"));
            }
        }
    }
    rights
}

#[test]
fn each_feature_brings_its_own_rights_and_no_others() {
    const CREDENTIAL: &str =
        "authentication.k8s.io/userextras/authentication.kubernetes.io/credential-id:impersonate";
    let no_credential = json!({"extras": {"credentialId": false}});
    let claim = |claim: &str| json!({"claim": claim, "prefix": ""});
    for (mappings, gateway, want) in [
        (json!({}), json!({}), vec!["/users:impersonate", CREDENTIAL]),
        (json!({}), no_credential.clone(), vec!["/users:impersonate"]),
        (
            json!({"groups": claim("groups"), "uid": {"claim": "sub"}}),
            no_credential.clone(),
            vec![
                "/users:impersonate",
                "/groups:impersonate",
                "authentication.k8s.io/uids:impersonate",
            ],
        ),
        (
            json!({"extra": [{"key": "example.org/team", "valueExpression": "claims.team"}]}),
            no_credential.clone(),
            vec![
                "/users:impersonate",
                "authentication.k8s.io/userextras/example.org/team:impersonate",
            ],
        ),
        (
            json!({}),
            json!({"extras": {"credentialId": false, "clientIP": true, "headers": {"cluster": ["a", "b"]}}}),
            vec![
                "/users:impersonate",
                "authentication.k8s.io/userextras/remote-client-ip:impersonate",
                "authentication.k8s.io/userextras/cluster[a,b]:impersonate",
            ],
        ),
        (
            json!({}),
            json!({"extras": {"credentialId": false}, "tokenReview": {"enabled": true}}),
            vec!["/users:impersonate", "authentication.k8s.io/tokenreviews:create"],
        ),
        (
            json!({}),
            json!({"extras": {"credentialId": false}, "allowedReserved": {"users": ["system:serviceaccount:ci:builder"]}}),
            vec!["/users:impersonate", "/serviceaccounts[builder]:impersonate"],
        ),
        (json!({}), json!({"impersonation": "disabled"}), vec![]),
        // A gateway that authorizes may meet any group, uid and ServiceAccount; of extras those that were named.
        (
            json!({}),
            json!({"clientImpersonation": "authorize"}),
            vec![
                "/users:impersonate",
                "/groups:impersonate",
                "authentication.k8s.io/uids:impersonate",
                "/serviceaccounts:impersonate",
                CREDENTIAL,
                "authentication.k8s.io/userextras/example.org/asked:impersonate",
                "authentication.k8s.io/userextras/originaluser.jetstack.io-extra:impersonate",
                "authentication.k8s.io/userextras/originaluser.jetstack.io-user:impersonate",
                "authorization.k8s.io/subjectaccessreviews:create",
            ],
        ),
    ] {
        let mut gateway = gateway;
        let fields = gateway.as_object_mut().unwrap();
        fields.entry("clientImpersonation").or_insert_with(|| json!("strip"));
        assert_eq!(rights(&role(&mappings, &gateway, Form::Plain)), want, "{mappings} {gateway}");
    }
    let by_default = role(&json!({}), &json!({}), Form::Plain);
    let authorizing = json!({"clientImpersonation": "authorize"});
    assert_eq!(rights(&by_default), rights(&role(&json!({}), &authorizing, Form::Plain)));
}

#[test]
fn the_constrained_form_says_what_it_refuses() {
    let gateway = json!({"extras": {"clientIP": true}, "clientImpersonation": "authorize"});
    let role =
        role(&json!({"groups": {"claim": "groups", "prefix": ""}}), &gateway, Form::Constrained);
    let rights = rights(&role);
    for right in [
        "authentication.k8s.io/users:impersonate:user-info",
        "authentication.k8s.io/groups:impersonate:user-info",
        "authentication.k8s.io/userextras/authentication.kubernetes.io/credential-id:impersonate:user-info",
        "*/*:impersonate-on:user-info:deletecollection",
        "/*:impersonate-on:user-info:head",
    ] {
        assert!(rights.iter().any(|it| it == right), "{right}: {rights:?}");
    }
    assert!(!rights.iter().any(|it| it.ends_with(":impersonate")), "{rights:?}");
    let notes = role.notes.join("\n");
    for word in
        ["system:masters", "\"remote-client-ip\"", "originalUser.prefix", "ServiceAccounts", "1.36"]
    {
        assert!(notes.contains(word), "{word}: {notes}");
    }
    assert!(!notes.contains("\"authentication.kubernetes.io/credential-id\""), "{notes}");
}

#[test]
fn the_manifest_is_yaml_with_the_reasons() {
    let gateway =
        json!({"clientImpersonation": "strip", "extras": {"headers": {"cluster": ["a: b"]}}});
    let role = role(&json!({}), &gateway, Form::Plain);
    let text = role.to_yaml("kube-oidc-gateway", Some(("kube-system", "gateway")));
    assert_eq!(
        text,
        r#"apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: kube-oidc-gateway}
rules:
# everybody who signs in
- apiGroups: [""]
  resources: [users]
  verbs: [impersonate]
# extras that requests carry, by their keys
- apiGroups: [authentication.k8s.io]
  resources: [userextras/authentication.kubernetes.io/credential-id]
  verbs: [impersonate]
# extras.headers
- apiGroups: [authentication.k8s.io]
  resources: [userextras/cluster]
  resourceNames: ["a: b"]
  verbs: [impersonate]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-oidc-gateway}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kube-oidc-gateway}
subjects:
- {kind: ServiceAccount, namespace: kube-system, name: gateway}
"#
    );
}
