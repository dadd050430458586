//! The gateway's clusters as Backends: Envoy Gateway makes a cluster out of each rule of an `HTTPRoute` that leads to one.
//!
//! A rule is what makes a cluster, and no rule may be a way: without the patches there is no filter on it. So these rules match
//! nothing, and the routes that the patches bring name their clusters. A cluster that Envoy Gateway makes knows addresses,
//! names and CAs; what it lacks, the credential and its door above all, is patched into it, in one piece.
//!
//! Envoy Gateway names a cluster after its route and the rule's number. Objects change one after the other, and a patch that
//! is still the old one must not find another cluster under a number: it could put the credential into the one for issuers. So
//! each cluster has a route of its own, with its name.

use gateway_net::{Dns, Host};
use serde_json::{Value, json};

use super::{API, GATEWAY_API, PodError, add, patch};
use crate::{flat::untyped, inputs::Inputs, issuers, pod::Names, rendered::Rendered, upstream};

/// What Envoy Gateway leaves out of a cluster, or has another value for. Protocol options come whole: with the credential goes
/// its door, or neither.
const PATCHED: [&str; 6] = [
    "connect_timeout",
    "per_connection_buffer_limit_bytes",
    "circuit_breakers",
    "upstream_connection_options",
    "cluster_type",
    "typed_extension_protocol_options",
];
/// No text matches the empty class.
const NOTHING: &str = r"[^\x00-\x{10FFFF}]";

/// The clusters of a gateway.
pub(super) struct Backends<'a> {
    name: &'a str,
    namespace: &'a str,
    inputs: &'a Inputs,
    certified: &'a Dns,
    clusters: Vec<Cluster>,
}

/// A rendered cluster.
struct Cluster {
    rendered: Value,
    name: String,
    place: Place,
}

/// Where a cluster leads.
enum Place {
    /// To kube-apiserver, by HTTP/2 or by HTTP/1.1.
    ApiServer { h2: bool },
    /// To issuers, with the CA bundle if it is not the system's.
    Issuers { ca: Option<String> },
}

impl<'a> Backends<'a> {
    /// # Errors
    /// If kube-apiserver's certificate is to name an address: a `BackendTLSPolicy` has no words for that.
    pub fn new(
        name: &'a str,
        namespace: &'a str,
        inputs: &'a Inputs,
        rendered: &Rendered,
    ) -> Result<Self, PodError> {
        let apiserver = &inputs.apiserver;
        let certified = match apiserver.server_name.as_ref().unwrap_or(&apiserver.host) {
            Host::Dns(name) => name,
            Host::Ip(address) => return Err(PodError::CertifiedAddress { address: *address }),
        };
        let bundles = issuers::distinct(inputs.documents.issuers()).unwrap_or_default();
        let clusters = rendered.clusters()?.into_iter().map(|cluster| {
            let rendered = untyped(cluster);
            let name = rendered["name"].as_str().unwrap_or_default().to_owned();
            let place = match bundles.get(&name) {
                Some(issuers) => Place::Issuers { ca: issuers.ca.map(str::to_owned) },
                None => Place::ApiServer { h2: upstream::is_h2(&name) },
            };
            Cluster { rendered, name, place }
        });
        let clusters = clusters.collect();
        Ok(Self { name, namespace, inputs, certified, clusters })
    }

    /// What Envoy Gateway calls the clusters.
    pub fn names(&self) -> Names {
        let name = |cluster: &Cluster| (cluster.name.clone(), self.xds_name(cluster));
        self.clusters.iter().map(name).collect()
    }

    fn xds_name(&self, cluster: &Cluster) -> String {
        format!("httproute/{}/{}/rule/0", self.namespace, self.route_name(cluster))
    }

    fn route_name(&self, cluster: &Cluster) -> String {
        format!("{}-{}", self.name, cluster.name.replace('_', "-"))
    }

    /// A route for each cluster.
    pub fn routes(&self, parent: &Value) -> Vec<Value> {
        let nothing =
            json!({"type": "RegularExpression", "name": "x-gateway-cluster", "value": NOTHING});
        let version = format!("{GATEWAY_API}/v1");
        let route = |cluster: &Cluster| {
            let backend = json!({
                "group": "gateway.envoyproxy.io",
                "kind": "Backend",
                "name": self.backend_name(cluster),
            });
            let rule = json!({"matches": [{"headers": [nothing]}], "backendRefs": [backend]});
            let spec = json!({"parentRefs": [parent], "rules": [rule]});
            self.object(&version, "HTTPRoute", &self.route_name(cluster), "spec", &spec)
        };
        self.clusters.iter().map(route).collect()
    }

    /// Clusters for kube-apiserver differ by what is patched in alone.
    fn backend_name(&self, cluster: &Cluster) -> String {
        match cluster.place {
            Place::ApiServer { h2: true } => format!("{}-apiserver-h2", self.name),
            Place::ApiServer { h2: false } => format!("{}-apiserver-h1", self.name),
            Place::Issuers { .. } => self.route_name(cluster),
        }
    }

    /// Backends, the policy that says whom to believe to be kube-apiserver, and the CAs of issuers.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects: Vec<Value> = Vec::new();
        for cluster in &self.clusters {
            let name = self.backend_name(cluster);
            if objects.iter().any(|object| object["metadata"]["name"] == name) {
                continue;
            }
            match &cluster.place {
                Place::ApiServer { h2 } => {
                    let spec = self.apiserver(*h2);
                    objects.push(self.object(API, "Backend", &name, "spec", &spec));
                }
                Place::Issuers { ca } => {
                    let trusted = match ca {
                        Some(pem) => {
                            let data = json!({"ca.crt": pem});
                            objects.push(self.object("v1", "ConfigMap", &name, "data", &data));
                            json!({"caCertificateRefs": [config_map(&name)]})
                        }
                        None => json!({"wellKnownCACertificates": "System"}),
                    };
                    // The host is the one that the filter asks for; its certificate must name it.
                    let spec = json!({"type": "DynamicResolver", "tls": trusted});
                    objects.push(self.object(API, "Backend", &name, "spec", &spec));
                }
            }
        }
        objects.push(self.trust());
        objects
    }

    fn apiserver(&self, h2: bool) -> Value {
        let port = self.inputs.apiserver.port;
        let endpoint = match &self.inputs.apiserver.host {
            Host::Ip(address) => json!({"ip": {"address": address.to_string(), "port": port}}),
            Host::Dns(name) => json!({"fqdn": {"hostname": name.as_str(), "port": port}}),
        };
        // With settings for TLS and without the policy, Envoy Gateway makes no cluster instead of one without TLS.
        let tls =
            json!({"alpnProtocols": if h2 { &["h2", "http/1.1"][..] } else { &["http/1.1"] }});
        json!({"endpoints": [endpoint], "tls": tls})
    }

    fn trust(&self) -> Value {
        let target = |protocol| {
            let name = format!("{}-apiserver-{protocol}", self.name);
            json!({"group": "gateway.envoyproxy.io", "kind": "Backend", "name": name})
        };
        let name = self.certified.as_str();
        let validation = json!({
            "hostname": name,
            "subjectAltNames": [{"type": "Hostname", "hostname": name}],
            "caCertificateRefs": [config_map("kube-root-ca.crt")],
        });
        let spec = json!({"targetRefs": [target("h2"), target("h1")], "validation": validation});
        let version = format!("{GATEWAY_API}/v1");
        let object = format!("{}-apiserver", self.name);
        self.object(&version, "BackendTLSPolicy", &object, "spec", &spec)
    }

    fn object(&self, version: &str, kind: &str, name: &str, field: &str, value: &Value) -> Value {
        let metadata = json!({"name": name, "namespace": self.namespace});
        json!({"apiVersion": version, "kind": kind, "metadata": metadata, field: value})
    }

    /// What the clusters lack.
    pub fn patches(&self) -> Vec<Value> {
        let mut patches = Vec::new();
        for cluster in &self.clusters {
            let name = self.xds_name(cluster);
            let patch = |operation: &Value| patch("cluster.v3.Cluster", &name, operation);
            if matches!(cluster.place, Place::ApiServer { .. }) {
                // Beside the sockets of its endpoints Envoy Gateway puts one that believes everybody.
                let from = "/transport_socket_matches/0/transport_socket";
                patches
                    .push(patch(&json!({"op": "copy", "from": from, "path": "/transport_socket"})));
            }
            let fields =
                PATCHED.iter().filter_map(|field| Some((field, cluster.rendered.get(field)?)));
            patches.extend(fields.map(|(field, value)| patch(&add(&format!("/{field}"), value))));
        }
        patches
    }
}

fn config_map(name: &str) -> Value {
    json!({"group": "", "kind": "ConfigMap", "name": name})
}
