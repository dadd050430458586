//! What istiod does with an `EnvoyFilter`: the patches applied to a listener and a list of clusters.
//!
//! The rules are those of istio.io/api, `networking/v1alpha3/envoy_filter.proto`: "proto merge semantics". Messages merge
//! by field, lists are appended to, a member of a oneof takes the place of the other, and a value that is its type's
//! default (`false`, `0`, empty) is no value, so that it changes nothing. A duration is replaced as a whole.

use serde_json::{Map, Value};

/// A proxy's configuration, as far as patches are for it.
pub struct Proxy {
    /// The listener.
    pub listener: Value,
    /// The clusters.
    pub clusters: Vec<Value>,
}

/// Fields of which a message has one at most.
const ONE_OF: [&str; 3] = ["rds", "route_config", "scoped_routes"];

impl Proxy {
    /// Applies every patch, in istiod's order: first what is removed, then the rest as it stands.
    pub fn apply(&mut self, filter: &Value) {
        let patches = filter["spec"]["configPatches"].as_array().expect("patches");
        let removes = |patch: &&Value| patch["patch"]["operation"] == "REMOVE";
        for patch in patches.iter().filter(removes) {
            self.patch(patch);
        }
        for patch in patches.iter().filter(|patch| !removes(patch)) {
            self.patch(patch);
        }
    }

    fn patch(&mut self, patch: &Value) {
        assert_eq!(patch["match"]["context"], "GATEWAY");
        let (operation, value) = (patch["patch"]["operation"].as_str(), &patch["patch"]["value"]);
        let place = &patch["match"]["listener"];
        if !place.is_null() {
            assert_eq!(
                place["portNumber"],
                self.listener["address"]["socket_address"]["port_value"]
            );
        }
        let manager = &mut self.listener["filter_chains"][0]["filters"][0];
        let sub_filter = place["filterChain"]["filter"]["subFilter"]["name"].as_str();
        match (patch["applyTo"].as_str(), operation) {
            (Some("CLUSTER"), Some("ADD")) => self.clusters.push(value.clone()),
            (Some("LISTENER"), Some("MERGE")) => merge(&mut self.listener, value),
            (Some("NETWORK_FILTER"), Some("MERGE")) => {
                assert_eq!(place["filterChain"]["filter"]["name"], manager["name"]);
                merge(manager, value);
            }
            (Some("HTTP_FILTER"), operation) => {
                let filters = manager["typed_config"]["http_filters"].as_array_mut();
                let filters = filters.expect("HTTP filters");
                let found = filters.iter().position(|it| it["name"].as_str() == sub_filter);
                match (operation, found) {
                    (Some("REMOVE"), Some(index)) => drop(filters.remove(index)),
                    (Some("REMOVE"), None) => {}
                    (Some("INSERT_FIRST"), _) => filters.insert(0, value.clone()),
                    (Some("INSERT_BEFORE"), Some(index)) => filters.insert(index, value.clone()),
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge_field(target, key, value);
            }
        }
        (Value::Array(target), Value::Array(patch)) => target.extend(patch.iter().cloned()),
        (target, patch) if !is_default(patch) => *target = patch.clone(),
        _ => {}
    }
}

fn merge_field(target: &mut Map<String, Value>, key: &str, value: &Value) {
    if ONE_OF.contains(&key) {
        target.retain(|other, _| other == key || !ONE_OF.contains(&other.as_str()));
    }
    match target.get_mut(key) {
        Some(old) => merge(old, value),
        None => drop(target.insert(key.to_owned(), value.clone())),
    }
}

fn is_default(value: &Value) -> bool {
    *value == Value::Bool(false) || *value == 0 || *value == "" || value.is_null()
}
