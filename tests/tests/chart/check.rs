//! The documents are checked before an install or upgrade: the chart's hook, its command run on what it mounts.

use std::{collections::HashMap, fs, process::Command};

use gateway_tests::built;
use serde_json::{Value, json};

use crate::helm::rendered;

/// What the hook's command says about some values: none without a hook.
fn checked(values: &Value) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    fs::write(&file, values.to_string()).unwrap();
    let manifest = rendered(&file);
    let objects: Vec<Value> = manifest
        .split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .filter(|object: &Value| {
            object["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        })
        .collect();
    let job = objects.iter().find(|object| object["kind"] == "Job")?;
    let spec = &job["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    let mut mounts = HashMap::new();
    for volume in spec["volumes"].as_array().unwrap() {
        let name = &volume["configMap"]["name"];
        let map =
            objects.iter().find(|it| it["kind"] == "ConfigMap" && it["metadata"]["name"] == *name);
        let into = folder.path().join(volume["name"].as_str().unwrap());
        fs::create_dir(&into).unwrap();
        for (key, text) in map.unwrap()["data"].as_object().unwrap() {
            fs::write(into.join(key), text.as_str().unwrap()).unwrap();
        }
        mounts.insert(volume["name"].clone().to_string(), into);
    }
    let mut arguments: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
    for mount in container["volumeMounts"].as_array().unwrap() {
        let into = mounts[&mount["name"].to_string()].to_str().unwrap();
        for argument in &mut arguments {
            *argument = argument.replace(mount["mountPath"].as_str().unwrap(), into);
        }
    }
    let output = Command::new(built::program()).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8(said).unwrap()))
}

fn authentication(expression: &str) -> Value {
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{
        "issuer": {"url": "https://i.example", "audiences": ["a"]},
        "claimMappings": {"username": {"expression": expression}},
    }]})
}

/// A typo in a document installed happily.
#[test]
fn what_the_schema_cannot_see_the_hook_refuses() {
    let gateway =
        json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration"});
    let good = json!({"authenticationConfiguration": authentication("claims.sub"), "gatewayConfiguration": gateway});
    let (success, said) = checked(&good).unwrap();
    assert!(success && said.contains("1 issuer: https://i.example"), "{said}");
    assert!(said.contains("a GatewayConfiguration"), "{said}");

    let bad = json!({"authenticationConfiguration": authentication("claims.sub +"), "gatewayConfiguration": gateway});
    let (success, said) = checked(&bad).unwrap();
    assert!(!success && said.contains("jwt[0].claimMappings.username.expression"), "{said}");

    let text = json!({"authenticationConfig": {"content": authentication("claims.sub").to_string().replace("audiences", "audience")}});
    let (success, said) = checked(&text).unwrap();
    assert!(!success && said.contains("unknown field \"jwt[0].issuer.audience\""), "{said}");
}

#[test]
fn there_is_no_hook_without_a_document_or_when_it_is_off() {
    let flags = json!({"oidc": {"clientId": "c", "issuerUrl": "https://i.example"}});
    assert_eq!(checked(&flags), None);
    let off = json!({"authenticationConfiguration": authentication("claims.sub"), "checkHook": {"enabled": false}});
    assert_eq!(checked(&off), None);
}
