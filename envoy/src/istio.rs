//! The gateway as an Istio ingress gateway: the rendered configuration, cut into the pieces that Istio takes.
//!
//! Nothing is written twice: filters, routes, clusters and secrets are those of the templates. The module goes into the chain
//! by a `WasmPlugin`; everything around it, the doors above all, by an `EnvoyFilter`, whose patches Istio merges as the
//! protobuf library does (istio.io/api, `networking/v1alpha3/envoy_filter.proto`): lists are appended to, and a `false`
//! does not overwrite a `true`.

use serde_json::{Map, Value, json};

use crate::{
    FlatError, Rendered,
    flat::untyped,
    inputs::Inputs,
    pod::{self, Names, PodError},
};

const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";
/// Patches are for gateways, not for sidecars.
const CONTEXT: &str = "GATEWAY";
/// What Istio puts beside the filter. Between the doors there must be nothing.
const ISTIOS_OWN: [&str; 6] = [
    "istio.metadata_exchange",
    "envoy.filters.http.grpc_stats",
    "istio.alpn",
    "envoy.filters.http.fault",
    "envoy.filters.http.cors",
    "istio.stats",
];

/// What the objects are made for.
#[derive(Debug, Clone)]
pub struct Istio {
    /// Name of every object.
    pub name: String,
    /// Their namespace.
    pub namespace: String,
    /// The module as an OCI image, without the scheme.
    pub module: String,
    /// The host that clients use; `*` for any.
    pub host: String,
    /// The Secret of type kubernetes.io/tls with the serving certificate.
    pub certificate: String,
}

/// The port that the pods listen on.
const PORT: u16 = 8443;

impl Istio {
    /// The objects, in the order in which to create them. The paths in `inputs` that are not its documents' are replaced by
    /// those of the pod.
    ///
    /// # Errors
    /// If the configuration cannot be rendered.
    pub fn objects(&self, inputs: &Inputs) -> Result<Vec<Value>, PodError> {
        let rendered = pod::rendered(inputs)?;
        Ok(vec![
            self.object("v1", "ServiceAccount", json!({"automountServiceAccountToken": false})),
            self.secrets(&rendered),
            self.deployment(),
            self.service(),
            self.gateway(),
            self.plugin(&rendered)?,
            self.filter(&rendered)?,
        ])
    }

    fn object(&self, version: &str, kind: &str, rest: Value) -> Value {
        let metadata = json!({"name": self.name, "namespace": self.namespace});
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
        if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
            object.extend(rest);
        }
        object
    }

    fn labels(&self) -> Value {
        json!({"app": self.name})
    }

    fn secrets(&self, rendered: &Rendered) -> Value {
        let prefixes = ["secret-token-", "secret-apiserver-ca", "secret-system-ca"];
        let secrets = pod::secrets(rendered, &prefixes);
        self.object("v1", "ConfigMap", json!({"data": secrets}))
    }

    /// Istio's injection puts the proxy in the place of the image `auto`.
    fn deployment(&self) -> Value {
        let mut labels = self.labels();
        labels["sidecar.istio.io/inject"] = json!("true");
        let template = json!({
            "metadata": {"labels": labels, "annotations": {"inject.istio.io/templates": "gateway"}},
            "spec": {
                "serviceAccountName": self.name,
                "containers": [{"name": "istio-proxy", "image": "auto", "volumeMounts": pod::mounts()}],
                "volumes": pod::volumes(&self.name),
            },
        });
        let spec = json!({"replicas": 2, "selector": {"matchLabels": self.labels()}, "template": template});
        self.object("apps/v1", "Deployment", json!({"spec": spec}))
    }

    fn service(&self) -> Value {
        let ports = json!([{"name": "https", "port": 443, "targetPort": PORT}]);
        let spec = json!({"type": "LoadBalancer", "selector": self.labels(), "ports": ports});
        self.object("v1", "Service", json!({"spec": spec}))
    }

    fn gateway(&self) -> Value {
        let tls = json!({"mode": "SIMPLE", "credentialName": self.certificate, "minProtocolVersion": "TLSV1_2"});
        let port = json!({"number": 443, "name": "https", "protocol": "HTTPS"});
        let server = json!({"port": port, "hosts": [self.host], "tls": tls});
        let spec = json!({"selector": self.labels(), "servers": [server]});
        self.object("networking.istio.io/v1", "Gateway", json!({"spec": spec}))
    }

    fn plugin(&self, rendered: &Rendered) -> Result<Value, FlatError> {
        let spec = json!({
            "selector": {"matchLabels": self.labels()},
            "url": format!("oci://{}", self.module),
            // The root of the module.
            "pluginName": "gateway",
            "phase": "AUTHN",
            "failStrategy": "FAIL_RELOAD",
            "pluginConfig": pod::plugin_configuration(rendered, &Names::new())?,
        });
        Ok(self.object("extensions.istio.io/v1alpha1", "WasmPlugin", json!({"spec": spec})))
    }

    fn filter(&self, rendered: &Rendered) -> Result<Value, FlatError> {
        let mut patches = Vec::new();
        for cluster in rendered.resources("clusters.yaml")? {
            let cluster = untyped(cluster);
            let context = json!({"context": CONTEXT});
            patches.push(patch("CLUSTER", &context, "ADD", Some(cluster)));
        }
        let envoy = rendered.parsed("envoy.yaml")?;
        let listener = &envoy["static_resources"]["listeners"][0];
        let of_listener: Map<String, Value> =
            ["per_connection_buffer_limit_bytes", "tcp_keepalive"]
                .map(|field| (field.to_owned(), listener[field].clone()))
                .into_iter()
                .collect();
        patches.push(patch("LISTENER", &place(None), "MERGE", Some(json!(of_listener))));

        let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
        let mut manager = manager.as_object().cloned().unwrap_or_default();
        // Istio's own, or in patches of their own. A `false` would have no effect.
        for field in ["stat_prefix", "rds", "http_filters"] {
            manager.remove(field);
        }
        manager.retain(|_, value| *value != json!(false));
        // Istio's list has the other one, and Envoy takes none twice.
        manager.insert("upgrade_configs".to_owned(), json!([{"upgrade_type": "SPDY/3.1"}]));
        manager.insert("route_config".to_owned(), rendered.resource("routes.yaml")?);
        let manager = json!({"name": CONNECTION_MANAGER, "typed_config": manager});
        let of_manager = place(Some(json!({"name": CONNECTION_MANAGER})));
        patches.push(patch("NETWORK_FILTER", &of_manager, "MERGE", Some(manager)));

        let http = |name: &str| {
            place(Some(json!({"name": CONNECTION_MANAGER, "subFilter": {"name": name}})))
        };
        for name in ISTIOS_OWN {
            patches.push(patch("HTTP_FILTER", &http(name), "REMOVE", None));
        }
        let (strip, gate) = (pod::door(rendered, "strip")?, pod::door(rendered, "gate")?);
        let first = place(Some(json!({"name": CONNECTION_MANAGER})));
        patches.push(patch("HTTP_FILTER", &first, "INSERT_FIRST", Some(strip)));
        patches.push(patch("HTTP_FILTER", &http(ROUTER), "INSERT_BEFORE", Some(gate)));

        let selector = json!({"labels": self.labels()});
        let spec = json!({"workloadSelector": selector, "configPatches": patches});
        Ok(self.object("networking.istio.io/v1alpha3", "EnvoyFilter", json!({"spec": spec})))
    }
}

/// The gateway's listener, and something in it.
fn place(filter: Option<Value>) -> Value {
    let mut listener = json!({"portNumber": PORT});
    if let Some(filter) = filter {
        listener["filterChain"] = json!({"filter": filter});
    }
    json!({"context": CONTEXT, "listener": listener})
}

fn patch(apply_to: &str, place: &Value, operation: &str, value: Option<Value>) -> Value {
    let mut patch = json!({"operation": operation});
    if let Some(value) = value {
        patch["value"] = value;
    }
    json!({"applyTo": apply_to, "match": place, "patch": patch})
}
