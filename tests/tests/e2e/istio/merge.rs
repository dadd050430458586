//! What istiod does with an `EnvoyFilter`: the patches applied to a listener and a list of clusters.
//!
//! The rules are those of istio.io/api, `networking/v1alpha3/envoy_filter.proto`: "proto merge semantics". Messages merge
//! by field, lists are appended to, an entry of a map is replaced, a member of a oneof takes the place of the other, and a
//! value that is its type's default (`false`, `0`, empty) is no value, so that it changes nothing. A duration is replaced as a
//! whole.

use serde_json::{Map, Value};

/// A proxy's configuration, as far as patches are for it.
#[derive(Debug, PartialEq)]
pub struct Proxy {
    /// The listener.
    pub listener: Value,
    /// The clusters.
    pub clusters: Vec<Value>,
}

/// Fields of which a message has one at most.
const ONE_OF: [&str; 3] = ["rds", "route_config", "scoped_routes"];
/// Fields that are maps of messages.
const MAPS: [&str; 1] = ["typed_extension_protocol_options"];
/// A sidecar's listener for all ports, which its chains match.
const VIRTUAL: &str = "virtualInbound";

impl Proxy {
    /// Out of a fixture.
    pub fn read(dump: &str) -> Self {
        let mut dump: Value = serde_json::from_str(dump).expect("a fixture is JSON");
        let clusters = dump["clusters"].as_array().cloned().unwrap_or_default();
        Self { listener: dump["listeners"][0].take(), clusters }
    }

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
        let sidecar = self.listener["name"] == VIRTUAL;
        let apply_to = patch["applyTo"].as_str().expect("applyTo");
        let context = match (sidecar, apply_to) {
            (false, _) => "GATEWAY",
            (true, "CLUSTER") => "SIDECAR_OUTBOUND",
            (true, _) => "SIDECAR_INBOUND",
        };
        assert_eq!(patch["match"]["context"], context);
        let operation = patch["patch"]["operation"].as_str().expect("an operation");
        let (found, value) = (&patch["match"], &patch["patch"]["value"]);
        match (apply_to, operation) {
            ("CLUSTER", "ADD") => self.clusters.push(value.clone()),
            ("CLUSTER", "MERGE") => {
                let named = |cluster: &&mut Value| cluster["name"] == found["cluster"]["name"];
                self.clusters.iter_mut().filter(named).for_each(|cluster| merge(cluster, value));
            }
            ("LISTENER", "MERGE") if !sidecar => {
                if self.listener["address"]["socket_address"]["port_value"]
                    == found["listener"]["portNumber"]
                {
                    merge(&mut self.listener, value);
                }
            }
            ("VIRTUAL_HOST", "REPLACE") => {
                for manager in self.chains(&Value::Null).flat_map(managers) {
                    let routes = &mut manager["typed_config"]["route_config"];
                    if routes["name"] == found["routeConfiguration"]["name"] {
                        routes["virtual_hosts"].as_array_mut().expect("hosts").fill(value.clone());
                    }
                }
            }
            _ => {
                for chain in self.chains(&found["listener"]["portNumber"]) {
                    patch_chain(
                        chain,
                        apply_to,
                        operation,
                        &found["listener"]["filterChain"],
                        value,
                    );
                }
            }
        }
    }

    /// The chains of a port, or all.
    fn chains(&mut self, port: &Value) -> impl Iterator<Item = &mut Value> {
        let own = self.listener["address"]["socket_address"]["port_value"].clone();
        let sidecar = self.listener["name"] == VIRTUAL;
        let chains = self.listener["filter_chains"].as_array_mut().expect("chains").iter_mut();
        chains.filter(move |chain| {
            let of = if sidecar { &chain["filter_chain_match"]["destination_port"] } else { &own };
            port.is_null() || of == port
        })
    }
}

fn managers(chain: &mut Value) -> impl Iterator<Item = &mut Value> {
    let filters = chain["filters"].as_array_mut().expect("filters").iter_mut();
    filters.filter(|it| it["name"] == "envoy.filters.network.http_connection_manager")
}

fn patch_chain(chain: &mut Value, apply_to: &str, operation: &str, found: &Value, value: &Value) {
    let name = &found["filter"]["name"];
    match (apply_to, operation) {
        // istiod merges with a transport socket that is there in another way.
        ("FILTER_CHAIN", "MERGE") => {
            assert!(chain["transport_socket"].is_null());
            merge(chain, value);
        }
        ("NETWORK_FILTER", "REMOVE") => {
            chain["filters"].as_array_mut().expect("filters").retain(|it| it["name"] != *name);
        }
        ("NETWORK_FILTER", "MERGE") => {
            managers(chain).filter(|it| it["name"] == *name).for_each(|it| merge(it, value));
        }
        ("HTTP_FILTER", operation) => {
            let sub_filter = found["filter"]["subFilter"]["name"].as_str();
            for manager in managers(chain).filter(|it| it["name"] == *name) {
                let filters = manager["typed_config"]["http_filters"].as_array_mut();
                patch_filters(filters.expect("HTTP filters"), operation, sub_filter, value);
            }
        }
        other => panic!("{other:?}"),
    }
}

fn patch_filters(
    filters: &mut Vec<Value>,
    operation: &str,
    sub_filter: Option<&str>,
    value: &Value,
) {
    let found = filters.iter().position(|it| it["name"].as_str() == sub_filter);
    match (operation, found) {
        ("REMOVE", Some(index)) => drop(filters.remove(index)),
        ("REMOVE", None) => {}
        ("INSERT_FIRST", _) => filters.insert(0, value.clone()),
        ("INSERT_BEFORE", Some(index)) => filters.insert(index, value.clone()),
        other => panic!("{other:?}"),
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
        Some(Value::Object(old)) if MAPS.contains(&key) => {
            old.extend(value.as_object().cloned().unwrap_or_default());
        }
        Some(old) => merge(old, value),
        None => drop(target.insert(key.to_owned(), value.clone())),
    }
}

fn is_default(value: &Value) -> bool {
    *value == Value::Bool(false) || *value == 0 || *value == "" || value.is_null()
}

#[test]
fn patches_are_merged_as_istiod_merges_them() {
    use super::fixtures::{GATEWAY, GATEWAY_PATCHED, PATCHES, SIDECAR, SIDECAR_PATCHED};

    let filters = serde_saphyr::from_multiple::<Value>(PATCHES).unwrap();
    for (filter, plain, patched) in
        [(&filters[0], GATEWAY, GATEWAY_PATCHED), (&filters[1], SIDECAR, SIDECAR_PATCHED)]
    {
        let (mut proxy, mut want) = (Proxy::read(plain), Proxy::read(patched));
        assert_ne!(proxy, want);
        proxy.apply(filter);
        let by_name = |it: &Value| it["name"].as_str().unwrap().to_owned();
        proxy.clusters.sort_by_key(by_name);
        want.clusters.sort_by_key(by_name);
        assert_eq!(proxy, want);
    }
}
