//! The `EnvoyFilter`: what of the gateway Istio has no words for.
//!
//! Istio merges patches as the protobuf library does (istio.io/api, `networking/v1alpha3/envoy_filter.proto`): lists are
//! appended to, a `false` does not overwrite a `true`, and an entry of a map is replaced as a whole.

use serde_json::{Map, Value, json};

use super::{Istio, PORT, Place, Registered};
use crate::{
    flat::{FlatError, manager, untyped},
    pod::{self, Names},
    rendered::Rendered,
};

const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";
/// What Istio puts beside the filter. Between the doors there must be nothing.
const ISTIOS_OWN: [&str; 6] = [
    "istio.metadata_exchange",
    "envoy.filters.http.grpc_stats",
    "istio.alpn",
    "envoy.filters.http.fault",
    "envoy.filters.http.cors",
    "istio.stats",
];
/// What a cluster of istiod's lacks. Protocol options come whole: with the credential goes its door, or neither.
const LACKING: [&str; 2] =
    ["per_connection_buffer_limit_bytes", "typed_extension_protocol_options"];

impl Istio {
    pub(super) fn filter(
        &self,
        rendered: &Rendered,
        registered: &Registered,
    ) -> Result<Value, FlatError> {
        let mut patches = self.of_clusters(rendered, registered)?;
        patches.extend(match self.place {
            Place::Gateway { .. } => self.of_gateway(rendered, registered.names())?,
            Place::Sidecar { .. } => self.of_sidecar(rendered, registered.names())?,
        });
        patches.extend(self.of_filters(rendered)?);
        let selector = json!({"labels": self.labels()});
        let spec = json!({"workloadSelector": selector, "configPatches": patches});
        Ok(self.object("networking.istio.io/v1alpha3", "EnvoyFilter", json!({"spec": spec})))
    }

    fn of_clusters(
        &self,
        rendered: &Rendered,
        registered: &Registered,
    ) -> Result<Vec<Value>, FlatError> {
        let context = match self.place {
            Place::Gateway { .. } => "GATEWAY",
            Place::Sidecar { .. } => "SIDECAR_OUTBOUND",
        };
        let mut patches = Vec::new();
        for cluster in rendered.clusters()? {
            let cluster = untyped(cluster);
            let made = registered.made_of(cluster["name"].as_str().unwrap_or_default());
            if made.is_empty() {
                patches.push(patch("CLUSTER", &json!({"context": context}), "ADD", Some(cluster)));
                continue;
            }
            let lacking: Map<String, Value> = LACKING
                .map(|field| (field.to_owned(), cluster[field].clone()))
                .into_iter()
                .collect();
            for name in made {
                let place = json!({"context": context, "cluster": {"name": name}});
                patches.push(patch("CLUSTER", &place, "MERGE", Some(json!(lacking))));
            }
        }
        Ok(patches)
    }

    /// In a gateway the routes are in the place of those that it asks istiod for.
    fn of_gateway(&self, rendered: &Rendered, names: &Names) -> Result<Vec<Value>, FlatError> {
        let envoy = rendered.parsed("envoy.yaml")?;
        let listener = &envoy["static_resources"]["listeners"][0];
        let of_listener: Map<String, Value> =
            ["per_connection_buffer_limit_bytes", "tcp_keepalive"]
                .map(|field| (field.to_owned(), listener[field].clone()))
                .into_iter()
                .collect();
        let mut manager = settings(rendered)?;
        manager.insert("route_config".to_owned(), pod::routes(rendered, names)?);
        Ok(vec![
            patch("LISTENER", &self.place(None), "MERGE", Some(json!(of_listener))),
            self.of_manager(&manager),
        ])
    }

    /// In a sidecar one listener holds all ports of the pod, and its limits are left alone. The port's own chain has routes,
    /// with one virtual host, which leads to the port; ours takes its place.
    fn of_sidecar(&self, rendered: &Rendered, names: &Names) -> Result<Vec<Value>, FlatError> {
        let envoy = rendered.parsed("envoy.yaml")?;
        let chain = &envoy["static_resources"]["listeners"][0]["filter_chains"][0];
        let of_chain: Map<String, Value> = ["transport_socket", "transport_socket_connect_timeout"]
            .map(|field| (field.to_owned(), chain[field].clone()))
            .into_iter()
            .collect();
        let hosts = pod::routes(rendered, names)?["virtual_hosts"].take();
        let routes = json!({"name": format!("inbound|{PORT}||")});
        let routes = json!({"context": self.listeners(), "routeConfiguration": routes});
        let exchange = self.place(Some(json!({"name": "istio.metadata_exchange"})));
        Ok(vec![
            patch("FILTER_CHAIN", &self.place(None), "MERGE", Some(json!(of_chain))),
            patch("NETWORK_FILTER", &exchange, "REMOVE", None),
            self.of_manager(&settings(rendered)?),
            patch("VIRTUAL_HOST", &routes, "REPLACE", Some(hosts[0].clone())),
        ])
    }

    fn of_manager(&self, manager: &Map<String, Value>) -> Value {
        let manager = json!({"name": CONNECTION_MANAGER, "typed_config": manager});
        let place = self.place(Some(json!({"name": CONNECTION_MANAGER})));
        patch("NETWORK_FILTER", &place, "MERGE", Some(manager))
    }

    fn of_filters(&self, rendered: &Rendered) -> Result<Vec<Value>, FlatError> {
        let http = |name: &str| {
            self.place(Some(json!({"name": CONNECTION_MANAGER, "subFilter": {"name": name}})))
        };
        let mut patches: Vec<Value> = ISTIOS_OWN
            .iter()
            .map(|name| patch("HTTP_FILTER", &http(name), "REMOVE", None))
            .collect();
        let (strip, gate) = (pod::door(rendered, "strip")?, pod::door(rendered, "gate")?);
        let first = self.place(Some(json!({"name": CONNECTION_MANAGER})));
        patches.push(patch("HTTP_FILTER", &first, "INSERT_FIRST", Some(strip)));
        patches.push(patch("HTTP_FILTER", &http(ROUTER), "INSERT_BEFORE", Some(gate)));
        Ok(patches)
    }

    fn listeners(&self) -> &'static str {
        match self.place {
            Place::Gateway { .. } => "GATEWAY",
            Place::Sidecar { .. } => "SIDECAR_INBOUND",
        }
    }

    /// The gateway's listener, or its chain in a sidecar's, and something in it.
    fn place(&self, filter: Option<Value>) -> Value {
        let mut listener = json!({"portNumber": PORT});
        if let Some(filter) = filter {
            listener["filterChain"] = json!({"filter": filter});
        }
        json!({"context": self.listeners(), "listener": listener})
    }
}

/// The connection manager's settings, as far as they can be merged.
fn settings(rendered: &Rendered) -> Result<Map<String, Value>, FlatError> {
    let envoy = rendered.parsed("envoy.yaml")?;
    let chain = &envoy["static_resources"]["listeners"][0]["filter_chains"][0];
    let mut manager = manager(chain).as_object().cloned().unwrap_or_default();
    // Istio's own, or in patches of their own. A `false` would have no effect.
    for field in ["stat_prefix", "rds", "http_filters"] {
        manager.remove(field);
    }
    manager.retain(|_, value| *value != json!(false));
    // Istio's list has the other one, and Envoy takes none twice.
    manager.insert("upgrade_configs".to_owned(), json!([{"upgrade_type": "SPDY/3.1"}]));
    Ok(manager)
}

fn patch(apply_to: &str, place: &Value, operation: &str, value: Option<Value>) -> Value {
    let mut patch = json!({"operation": operation});
    if let Some(value) = value {
        patch["value"] = value;
    }
    json!({"applyTo": apply_to, "match": place, "patch": patch})
}
