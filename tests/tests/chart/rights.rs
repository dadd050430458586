//! The rights that the chart grants are those that `kube-oidc-gateway rbac` prints for what it configures, no more, no fewer.

use std::collections::BTreeSet;

use gateway_config::{
    Documents,
    rbac::{Form, PolicyRule, Role},
};
use serde_json::{Value, json};

/// Compares the `ClusterRole` among a rendering's objects with the least for its documents.
pub fn assert_least(name: &str, objects: &[Value]) {
    let kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind);
    // Beside it there may be those that the gateway follows.
    let has = |map: &&Value, key: &str| map["data"][key].is_string();
    let mut maps = objects.iter().filter(|object| object["kind"] == "ConfigMap");
    let map = maps.find(|it| has(it, "authentication.yaml") || has(it, "gateway.yaml"));
    let Some(documents) = documents(map, kind("Deployment").unwrap()) else {
        return; // The user's own ConfigMaps: nobody knows what they need.
    };
    let (authentication, gateway) = documents;
    let keys = vec!["scopes".to_owned()];
    let documents = Documents::parse(authentication.as_bytes(), Some(gateway.as_bytes())).unwrap();
    let (authentication, gateway) = (documents.authentication(), documents.gateway());
    let least = Role::least(authentication, gateway, &keys, Form::Plain);
    let least: Vec<Value> = least.rules.iter().map(|rule| json!(rule)).collect();
    let granted = kind("ClusterRole").unwrap()["rules"].as_array().unwrap();
    assert_eq!(rights(granted), rights(&least), "{name}");
}

/// The two documents of a rendering, as the program will have them.
fn documents(map: Option<&Value>, deployment: &Value) -> Option<(String, String)> {
    let arguments: Vec<_> = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let flag = |name: &str| {
        arguments.iter().find_map(|it| it.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    };
    if ["authentication", "gateway"].iter().any(|folder| {
        arguments.iter().any(|it| it.contains(&format!("/etc/kube-oidc-gateway/{folder}/")))
    }) {
        return None;
    }
    let data = |key: &str| map.and_then(|map| map["data"][key].as_str()).map(str::to_owned);
    let by_flags = || {
        let mut mappings = json!({"username": {"claim": flag("oidc-username-claim").unwrap_or("sub"), "prefix": ""}});
        if let Some(claim) = flag("oidc-groups-claim") {
            mappings["groups"] = json!({"claim": claim, "prefix": ""});
        }
        let issuer = json!({"url": flag("oidc-issuer-url"), "audiences": [flag("oidc-client-id")]});
        json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{"issuer": issuer, "claimMappings": mappings}]})
        .to_string()
    };
    let has = |flag: &str| arguments.contains(&flag);
    let defaults = || {
        let mut headers = json!({});
        for pair in flag("extra-user-headers").unwrap_or_default().split(',') {
            let Some((key, value)) = pair.split_once('=') else { continue };
            match headers[key].as_array_mut() {
                Some(values) => values.push(json!(value)),
                None => headers[key] = json!([value]),
            }
        }
        json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration",
            "tokenReview": {"enabled": has("--token-passthrough")},
            "extras": {"headers": headers, "clientIP": has("--extra-user-header-client-ip"),
                "credentialId": flag("oidc-issuer-url").is_none()}})
        .to_string()
    };
    Some((
        data("authentication.yaml").unwrap_or_else(by_flags),
        data("gateway.yaml").unwrap_or_else(defaults),
    ))
}

/// `GROUP/RESOURCE[NAMES]:VERB`, one for each resource and verb of each rule.
fn rights(rules: &[Value]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        let list = |key: &str| rule[key].as_array().cloned().unwrap_or_default();
        for resource in list("resources") {
            for verb in list("verbs") {
                let names = json!(list("resourceNames"));
                rights.insert(format!("{}/{resource}{names}:{verb}", rule["apiGroups"][0]));
            }
        }
    }
    rights
}

/// Rules serialise as the API server spells them, so that both sides can be compared as JSON.
#[test]
fn a_right_too_many_shows() {
    let rule = |resource: &str| PolicyRule {
        api_groups: vec![String::new()],
        resources: vec![resource.to_owned()],
        verbs: vec!["impersonate".to_owned()],
        ..PolicyRule::default()
    };
    let more = [json!(rule("users")), json!(rule("groups"))];
    assert_ne!(rights(&more[..1]), rights(&more));
    assert_eq!(rights(&more[..1]), rights(&[json!(rule("users"))]));
}
