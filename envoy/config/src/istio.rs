//! The gateway in an Istio mesh: the rendered configuration, cut into the pieces that Istio takes.
//!
//! Nothing is written twice: filters, routes, clusters and secrets are those of the templates. The module goes into the chain
//! by a `WasmPlugin`; everything around it, the doors above all, by an `EnvoyFilter` ([`filter`]). Clusters are added by the
//! `EnvoyFilter` as they are, or made by istiod out of the mesh's registry and then completed ([`registry`]).

mod filter;
mod registry;
mod sidecar;

use serde_json::{Value, json};

use self::registry::Registered;
use crate::{
    error::RenderError,
    inputs::Inputs,
    pod::{self, PodError},
    rendered::Rendered,
};

/// What the objects are made for.
#[derive(Debug, Clone)]
pub struct Istio {
    /// Name of every object.
    pub name: String,
    /// Their namespace.
    pub namespace: String,
    /// The module as an OCI image, without the scheme.
    pub module: String,
    /// The Secret of type kubernetes.io/tls with the serving certificate.
    pub certificate: String,
    /// The Secret with the gateway's own `token` and the API server's `ca.crt`; the pod's `ServiceAccount` if absent.
    pub account: Option<String>,
    /// Which proxy is the gateway.
    pub place: Place,
    /// Which clusters istiod makes.
    pub registry: Registry,
}

/// Which proxy of a mesh is the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An ingress gateway of its own.
    Gateway {
        /// The host that clients use; `*` for any.
        host: String,
    },
    /// The sidecar of another workload, which must not listen on port 8443.
    Sidecar {
        /// The name of its Deployment.
        workload: String,
    },
}

/// What is reached through the mesh's registry: by clusters that istiod makes of a `DestinationRule`, and of a `ServiceEntry` for
/// what is not in the registry already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// kube-apiserver.
    pub apiserver: bool,
    /// Issuers. All that an issuer's discovery document names must be on the host that it is fetched from.
    pub issuers: bool,
    /// The DNS domain of the cluster, in which the registry has `NAME.NAMESPACE.svc`.
    pub domain: String,
}

/// The port that the pods listen on.
const PORT: u16 = 8443;

impl Istio {
    /// The objects, in the order in which to create them. The paths in `inputs` that are not its documents' are replaced by
    /// those of the pod.
    ///
    /// # Errors
    /// If the configuration cannot be rendered, or the registry cannot hold the issuers.
    pub fn objects(&self, inputs: &Inputs) -> Result<Vec<Value>, PodError> {
        let inputs = match self.place {
            Place::Gateway { .. } => inputs,
            Place::Sidecar { .. } => &sidecar::serving(inputs),
        };
        let rendered = pod::rendered(inputs)?;
        let registered = Registered::new(&self.registry, &self.name, inputs, &rendered)?;
        let mut objects = Vec::new();
        if let Place::Gateway { .. } = self.place {
            objects.push(self.object(
                "v1",
                "ServiceAccount",
                json!({"automountServiceAccountToken": false}),
            ));
        }
        objects.push(self.secrets(&rendered, &registered));
        match &self.place {
            Place::Gateway { host } => {
                objects.extend([
                    self.deployment(),
                    self.service("LoadBalancer"),
                    self.gateway(host),
                ]);
            }
            Place::Sidecar { workload } => objects.extend(self.beside(workload)),
        }
        objects.extend(registered.objects(self));
        objects.push(self.plugin(inputs, &registered)?);
        objects.push(self.filter(&rendered, &registered)?);
        Ok(objects)
    }

    fn object(&self, version: &str, kind: &str, rest: Value) -> Value {
        self.named(&self.name, version, kind, rest)
    }

    fn named(&self, name: &str, version: &str, kind: &str, rest: Value) -> Value {
        let metadata = json!({"name": name, "namespace": self.namespace});
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
        if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
            object.extend(rest);
        }
        object
    }

    /// The label by which pods are the gateway's.
    fn labels(&self) -> Value {
        match self.place {
            Place::Gateway { .. } => json!({"app": self.name}),
            Place::Sidecar { .. } => json!({"kube-oidc-gateway": self.name}),
        }
    }

    fn secrets(&self, rendered: &Rendered, registered: &Registered) -> Value {
        let prefixes: &[&str] = match self.place {
            Place::Gateway { .. } => &["secret-token-", "secret-apiserver-ca", "secret-system-ca"],
            Place::Sidecar { .. } => &["secret-"],
        };
        let mut files = pod::secrets(rendered, prefixes);
        files.extend(registered.bundles());
        self.object("v1", "ConfigMap", json!({"data": files}))
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
                "volumes": self.volumes(),
            },
        });
        let spec = json!({"replicas": 2, "selector": {"matchLabels": self.labels()}, "template": template});
        self.object("apps/v1", "Deployment", json!({"spec": spec}))
    }

    fn volumes(&self) -> Value {
        let mut volumes = pod::volumes(&self.name);
        if let Some(secret) = &self.account {
            let items = ["token", "ca.crt"].map(|file| json!({"key": file, "path": file}));
            let source = json!({"secretName": secret, "items": items});
            volumes[1] = json!({"name": volumes[1]["name"], "secret": source});
        }
        volumes
    }

    fn service(&self, kind: &str) -> Value {
        let ports = json!([{"name": "https", "port": 443, "targetPort": PORT}]);
        let spec = json!({"type": kind, "selector": self.labels(), "ports": ports});
        self.object("v1", "Service", json!({"spec": spec}))
    }

    fn gateway(&self, host: &str) -> Value {
        let tls = json!({"mode": "SIMPLE", "credentialName": self.certificate, "minProtocolVersion": "TLSV1_2"});
        let port = json!({"number": 443, "name": "https", "protocol": "HTTPS"});
        let server = json!({"port": port, "hosts": [host], "tls": tls});
        let spec = json!({"selector": self.labels(), "servers": [server]});
        self.object("networking.istio.io/v1", "Gateway", json!({"spec": spec}))
    }

    fn plugin(&self, inputs: &Inputs, registered: &Registered) -> Result<Value, RenderError> {
        let mut configuration = pod::plugin_configuration(inputs, registered.names())?;
        configuration.issuer_clusters.extend(registered.issuers().clone());
        let mut spec = json!({
            "selector": {"matchLabels": self.labels()},
            "url": format!("oci://{}", self.module),
            // The root of the module.
            "pluginName": "gateway",
            "phase": "AUTHN",
            "failStrategy": "FAIL_RELOAD",
            "pluginConfig": configuration,
        });
        if let Place::Sidecar { .. } = self.place {
            spec["match"] = json!([{"mode": "SERVER", "ports": [{"number": PORT}]}]);
        }
        Ok(self.object("extensions.istio.io/v1alpha1", "WasmPlugin", json!({"spec": spec})))
    }
}
