//! The volumes of a pod as folders, filled from the cluster as the kubelet fills them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_tests::mount::Mount;
use sandbox::Cluster;
use serde_json::Value;

use crate::helm::NAMESPACE;

type Files = Vec<(String, Vec<u8>)>;

/// Makes one. What may change later is given back.
pub fn make(cluster: &Cluster, spec: &Value, volume: &Value, folder: &Path) -> Option<Mount> {
    let group = number(&spec["securityContext"]["fsGroup"]);
    let (source, files) = if let Some(source) = volume.get("configMap") {
        (source, config_map(cluster, source))
    } else if let Some(source) = volume.get("secret") {
        (source, secret(cluster, source))
    } else if let Some(source) = volume.get("projected") {
        (source, projected(cluster, spec, source))
    } else {
        assert!(volume.get("emptyDir").is_some(), "a kind of volume that is not known: {volume}");
        fs::create_dir(folder).unwrap();
        chown(folder, Some(0), Some(group)).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o2777)).unwrap();
        return None;
    };
    let mut mount = Mount::new(folder).with_access(group, number(&source["defaultMode"]));
    mount.swap(&borrowed(&files));
    Some(mount)
}

/// The files of a projected volume, with a new token.
pub fn projected(cluster: &Cluster, spec: &Value, volume: &Value) -> Files {
    let mut files = Files::new();
    for source in volume["sources"].as_array().unwrap() {
        if let Some(map) = source.get("configMap") {
            files.extend(config_map(cluster, map));
        } else if let Some(token) = source.get("serviceAccountToken") {
            let account = spec["serviceAccountName"].as_str().unwrap();
            let seconds = number(&token["expirationSeconds"]);
            let text = cluster.service_account_token(NAMESPACE, account, seconds).unwrap();
            files.push((token["path"].as_str().unwrap().to_owned(), text.into_bytes()));
        } else {
            for item in source["downwardAPI"]["items"].as_array().unwrap() {
                assert_eq!(item["fieldRef"]["fieldPath"], "metadata.namespace");
                files.push((item["path"].as_str().unwrap().to_owned(), NAMESPACE.into()));
            }
        }
    }
    files
}

/// For [`Mount::swap`].
pub fn borrowed(files: &Files) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect()
}

fn config_map(cluster: &Cluster, source: &Value) -> Files {
    let name = source["name"].as_str().unwrap();
    let data = object(cluster, "configmaps", name)["data"].clone();
    let text = |key: &str| data[key].as_str().unwrap().as_bytes().to_vec();
    if let Some(items) = source["items"].as_array() {
        let file = |item: &Value| {
            (item["path"].as_str().unwrap().to_owned(), text(item["key"].as_str().unwrap()))
        };
        return items.iter().map(file).collect();
    }
    data.as_object().unwrap().keys().map(|key| (key.clone(), text(key))).collect()
}

fn secret(cluster: &Cluster, source: &Value) -> Files {
    let data = object(cluster, "secrets", source["secretName"].as_str().unwrap())["data"].clone();
    let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    data.as_object().unwrap().iter().map(|(key, value)| (key.clone(), decoded(value))).collect()
}

/// An object of the namespace.
pub fn object(cluster: &Cluster, resource: &str, name: &str) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/{resource}/{name}");
    cluster.admin_client().get_json(&path).unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a number")
}
