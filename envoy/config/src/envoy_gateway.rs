//! The gateway as a Gateway of Envoy Gateway's: the rendered configuration, cut into the pieces that it takes.
//!
//! Nothing is written twice: filters, routes, clusters and secrets are those of the templates. The module goes into the chain
//! by an `EnvoyExtensionPolicy`, the clusters are made of `Backend`s; what the API of Envoy Gateway has no words for, the doors
//! above all, comes by an `EnvoyPatchPolicy`, each of whose patches Envoy Gateway applies by itself (RFC 6902) and skips where it
//! fails. So that nothing may depend on them: without them the `HTTPRoute` answers 403 to everything, and no cluster holds the
//! credential.

mod backends;

use serde_json::{Value, json};

use self::backends::Backends;
use crate::{
    error::RenderError,
    flat::{self, FlatError},
    inputs::Inputs,
    pod::{self, Names, PodError},
    rendered::Rendered,
};

/// Envoy Gateway's own controller.
const CONTROLLER: &str = "gateway.envoyproxy.io/gatewayclass-controller";
const API: &str = "gateway.envoyproxy.io/v1alpha1";
const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// The listener's name in the Gateway.
const SECTION: &str = "https";
/// Where Envoy Gateway puts the connection manager of an HTTPS listener.
const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";
const ROUTER: &str = "envoy.filters.http.router";
/// What Envoy Gateway puts between the doors for a route to whatever host a client names, of which there is none here.
const LOOPBACK: &str = "envoy.filters.http.rbac.dfp_loopback_deny";

/// Where the module comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module {
    /// An OCI image, without a scheme.
    Image(String),
    /// A file on a web server.
    Web {
        /// Its address.
        url: String,
        /// SHA-256 of the file, in hexadecimal digits.
        sha256: String,
    },
}

/// What the objects are made for.
#[derive(Debug, Clone)]
pub struct EnvoyGateway {
    /// Name of every object.
    pub name: String,
    /// Their namespace.
    pub namespace: String,
    /// The namespace in which Envoy Gateway runs its proxies: by default its own.
    pub proxy_namespace: String,
    /// The module.
    pub module: Module,
    /// The host that clients use; any if there is none.
    pub host: Option<String>,
    /// The Secret of type kubernetes.io/tls with the serving certificate.
    pub certificate: String,
}

impl EnvoyGateway {
    /// The objects, in the order in which to create them. The paths in `inputs` that are not its documents' are replaced by
    /// those of the pod.
    ///
    /// # Errors
    /// If the configuration cannot be rendered.
    pub fn objects(&self, inputs: &Inputs) -> Result<Vec<Value>, PodError> {
        let rendered = pod::rendered(inputs)?;
        let backends = Backends::new(&self.name, &self.namespace, inputs, &rendered)?;
        let names = backends.names();
        let mut objects =
            vec![self.secrets(&rendered), self.class(), self.proxy(&rendered)?, self.gateway()];
        objects.extend(backends.objects());
        objects.push(self.refusal());
        objects.push(self.route());
        objects.extend(backends.routes(&self.parent()));
        objects
            .extend([self.extension(inputs, &names)?, self.patches(&rendered, &backends, &names)?]);
        Ok(objects)
    }

    fn object(&self, version: &str, kind: &str, field: &str, value: &Value) -> Value {
        let metadata = json!({"name": self.name, "namespace": self.namespace});
        json!({"apiVersion": version, "kind": kind, "metadata": metadata, field: value})
    }

    /// Of Envoy's secrets, those that Envoy Gateway has no words for.
    fn secrets(&self, rendered: &Rendered) -> Value {
        let secrets = json!(pod::secrets(rendered, &["secret-token-"]));
        let mut map = self.object("v1", "ConfigMap", "data", &secrets);
        map["metadata"]["namespace"] = json!(self.proxy_namespace);
        map
    }

    fn class(&self) -> Value {
        json!({
            "apiVersion": format!("{GATEWAY_API}/v1"),
            "kind": "GatewayClass",
            "metadata": {"name": self.name},
            "spec": {"controllerName": CONTROLLER},
        })
    }

    /// How Envoy runs. Its access log is that of the connection manager.
    fn proxy(&self, rendered: &Rendered) -> Result<Value, FlatError> {
        let tags = rendered.parsed("envoy.yaml")?["stats_config"]["stats_tags"].take();
        let tags = tags.as_array().into_iter().flatten();
        let tags: Vec<Value> = tags
            .map(|tag| json!({"op": "add", "path": "/stats_config/stats_tags/-", "value": tag}))
            .collect();
        let kubernetes = json!({
            "envoyServiceAccount": {"name": self.name},
            "envoyDeployment": {
                "replicas": 2,
                "pod": {"volumes": pod::volumes(&self.name)},
                "container": {"volumeMounts": pod::mounts()},
            },
        });
        let spec = json!({
            "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
            "bootstrap": {"type": "JSONPatch", "jsonPatches": tags},
            "telemetry": {"accessLog": {"disable": true}},
        });
        Ok(self.object(API, "EnvoyProxy", "spec", &spec))
    }

    fn gateway(&self) -> Value {
        let mut listener = json!({
            "name": SECTION,
            "protocol": "HTTPS",
            "port": 443,
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": self.certificate}]},
            // Whoever could put a route beside ours could have tokens sent to itself.
            "allowedRoutes": {"kinds": [{"kind": "HTTPRoute"}], "namespaces": {"from": "Same"}},
        });
        if let Some(host) = &self.host {
            listener["hostname"] = json!(host);
        }
        let proxy =
            json!({"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": self.name});
        let spec = json!({
            "gatewayClassName": self.name,
            "infrastructure": {"parametersRef": proxy},
            "listeners": [listener],
        });
        self.object(&format!("{GATEWAY_API}/v1"), "Gateway", "spec", &spec)
    }

    /// What the route answers until the patches have put the doors in its place, and if they are taken away.
    fn refusal(&self) -> Value {
        let spec = json!({"directResponse": {"statusCode": 403}});
        self.object(API, "HTTPRouteFilter", "spec", &spec)
    }

    /// The listener, for routes.
    fn parent(&self) -> Value {
        json!({"name": self.name, "sectionName": SECTION})
    }

    fn route(&self) -> Value {
        let refusal = json!({
            "type": "ExtensionRef",
            "extensionRef": {"group": "gateway.envoyproxy.io", "kind": "HTTPRouteFilter", "name": self.name},
        });
        let spec = json!({"parentRefs": [self.parent()], "rules": [{"filters": [refusal]}]});
        self.object(&format!("{GATEWAY_API}/v1"), "HTTPRoute", "spec", &spec)
    }

    fn target(&self) -> Value {
        json!({"group": GATEWAY_API, "kind": "Gateway", "name": self.name})
    }

    fn extension(&self, inputs: &Inputs, names: &Names) -> Result<Value, RenderError> {
        let code = match &self.module {
            Module::Image(url) => json!({"type": "Image", "image": {"url": url}}),
            Module::Web { url, sha256 } => {
                json!({"type": "HTTP", "http": {"url": url, "sha256": sha256}})
            }
        };
        let wasm = json!({
            "name": "gateway",
            "rootID": "gateway",
            "code": code,
            "failOpen": false,
            "config": pod::plugin_configuration(inputs, names)?,
        });
        let spec = json!({"targetRefs": [self.target()], "wasm": [wasm]});
        Ok(self.object(API, "EnvoyExtensionPolicy", "spec", &spec))
    }

    fn patches(
        &self,
        rendered: &Rendered,
        backends: &Backends<'_>,
        names: &Names,
    ) -> Result<Value, FlatError> {
        let mut patches = self.of_listener(rendered)?;
        patches.extend(self.of_filters(rendered)?);
        patches.extend(backends.patches());
        // Whole, so that nothing of the HTTPRoute is left, such as what is set for a filter on one route alone.
        let hosts = pod::routes(rendered, names)?["virtual_hosts"].take();
        let operation = json!({"op": "replace", "path": "/virtual_hosts", "value": hosts});
        patches.push(patch("route.v3.RouteConfiguration", &self.xds_name(), &operation));
        let spec = json!({"targetRef": self.target(), "type": "JSONPatch", "jsonPatches": patches});
        Ok(self.object(API, "EnvoyPatchPolicy", "spec", &spec))
    }

    /// What Envoy Gateway calls the listener and its routes.
    fn xds_name(&self) -> String {
        format!("{}/{}/{SECTION}", self.namespace, self.name)
    }

    fn patch_listener(&self, operation: &Value) -> Value {
        patch("listener.v3.Listener", &self.xds_name(), operation)
    }

    /// The settings of the listener and its connection manager, in place of Envoy Gateway's.
    fn of_listener(&self, rendered: &Rendered) -> Result<Vec<Value>, FlatError> {
        let envoy = rendered.parsed("envoy.yaml")?;
        let listener = &envoy["static_resources"]["listeners"][0];
        let chain = &listener["filter_chains"][0];
        let mut settings: Vec<_> = ["per_connection_buffer_limit_bytes", "tcp_keepalive"]
            .map(|field| (format!("/{field}"), listener[field].clone()))
            .into();
        let field = "transport_socket_connect_timeout";
        settings.push((format!("/filter_chains/0/{field}"), chain[field].clone()));
        let manager = flat::manager(chain).as_object().into_iter().flatten();
        let of_manager = manager
            // Envoy Gateway's own, or in patches of their own.
            .filter(|(field, _)| !["@type", "rds", "http_filters"].contains(&field.as_str()))
            .map(|(field, value)| (format!("{MANAGER}/{field}"), value.clone()));
        settings.extend(of_manager);
        let settings = settings.iter().map(|(path, value)| add(path, value));
        Ok(settings.map(|operation| self.patch_listener(&operation)).collect())
    }

    /// The doors around the Wasm filter, which Envoy Gateway puts into the chain switched off, to switch it on for some
    /// routes. It must be on for all.
    fn of_filters(&self, rendered: &Rendered) -> Result<Vec<Value>, FlatError> {
        let wasm = format!("envoy.filters.http.wasm//{}/{}/wasm/0", self.namespace, self.name);
        let filter = rendered.resource("filter-gateway.yaml")?;
        let config = &filter["typed_config"]["extension_config"]["typed_config"]["config"];
        let of_wasm = |field: &str, value: &Value| {
            let path = format!("/typed_config/config/{field}");
            json!({"op": "add", "jsonPath": named(&wasm), "path": path, "value": value})
        };
        let operations = [
            // Added at another's place in the list, a filter is before that one.
            json!({"op": "add", "jsonPath": named(&wasm), "value": pod::door(rendered, "strip")?}),
            json!({"op": "replace", "jsonPath": named(&wasm), "path": "/disabled", "value": false}),
            of_wasm("failure_policy", &config["failure_policy"]),
            of_wasm("reload_config", &config["reload_config"]),
            // By which the filter's workers find each other.
            of_wasm("vm_config/vm_id", &config["vm_config"]["vm_id"]),
            json!({"op": "add", "jsonPath": named(ROUTER), "value": pod::door(rendered, "gate")?}),
            json!({"op": "remove", "jsonPath": named(LOOPBACK)}),
        ];
        Ok(operations.map(|operation| self.patch_listener(&operation)).into())
    }
}

/// The filter of that name in the listener's chain.
fn named(filter: &str) -> String {
    let manager = "$.filter_chains[0].filters[0].typed_config";
    format!("{manager}.http_filters[?(@.name==\"{filter}\")]")
}

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

fn patch(kind: &str, name: &str, operation: &Value) -> Value {
    let kind = format!("type.googleapis.com/envoy.config.{kind}");
    json!({"type": kind, "name": name, "operation": operation})
}
