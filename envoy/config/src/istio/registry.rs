//! Clusters that istiod makes: a `DestinationRule` for each host, and a `ServiceEntry` where the mesh's registry does not have it.
//!
//! Out of them come addresses, TLS and limits. What such a cluster lacks, the credential and its door above all, is merged into
//! it by its name, which is `outbound|PORT|SUBSET|HOST` (istio/istio, `pilot/pkg/model/push_context.go`, `BuildSubsetKey`). A
//! name that istiod does not use has no cluster: nothing gets through.

use std::{collections::BTreeMap, net::IpAddr};

use gateway_net::{Host, endpoint};
use serde_json::{Value, json};

use super::{Istio, Registry};
use crate::{
    flat::untyped,
    inputs::Inputs,
    issuers::{self, Issuer},
    pod::{Names, PodError, SECRETS, SERVICE_ACCOUNT},
    rendered::Rendered,
};

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The clusters that are made of the registry.
#[derive(Default)]
pub(super) struct Registered {
    hosts: Vec<Registration>,
    names: Names,
    issuers: BTreeMap<String, String>,
    bundles: BTreeMap<String, String>,
}

/// A host and what leads to it.
struct Registration {
    /// What its objects are called after the gateway's name.
    suffix: String,
    host: String,
    port: u16,
    entry: Option<Entry>,
    tls: Value,
    clusters: Vec<Made>,
}

/// How a host that the registry does not have is found.
enum Entry {
    Dns,
    At(IpAddr),
}

/// A cluster that istiod makes.
struct Made {
    /// The cluster that it stands for, as it is rendered.
    rendered: Value,
    subset: String,
}

impl Registered {
    pub fn new(
        registry: &Registry,
        name: &str,
        inputs: &Inputs,
        rendered: &Rendered,
    ) -> Result<Self, PodError> {
        let clusters: Vec<Value> = rendered.clusters()?.into_iter().map(untyped).collect();
        let mut registered = Self::default();
        if registry.apiserver {
            registered.add_apiserver(registry, name, inputs, &clusters);
        }
        if registry.issuers {
            for issuer in inputs.documents.issuers() {
                registered.add_issuer(name, inputs, issuer, &clusters)?;
            }
        }
        Ok(registered)
    }

    fn add_apiserver(
        &mut self,
        registry: &Registry,
        name: &str,
        inputs: &Inputs,
        clusters: &[Value],
    ) {
        let apiserver = &inputs.apiserver;
        let (host, entry) = match &apiserver.host {
            Host::Ip(address) => (format!("apiserver.{name}.internal"), Some(Entry::At(*address))),
            Host::Dns(dns) => match service(dns.as_str(), &registry.domain) {
                Some(host) => (host, None),
                None => (dns.as_str().to_owned(), Some(Entry::Dns)),
            },
        };
        let certified = apiserver.server_name.as_ref().unwrap_or(&apiserver.host);
        let ca = format!("{SERVICE_ACCOUNT}/ca.crt");
        let bundles = issuers::distinct(inputs.documents.issuers()).unwrap_or_default();
        let text = |cluster: &Value| cluster["name"].as_str().unwrap_or_default().to_owned();
        let towards = clusters.iter().filter(|cluster| !bundles.contains_key(&text(cluster)));
        let made = towards.map(|cluster| {
            let subset = text(cluster).replace('_', "-");
            self.names.insert(text(cluster), outbound(apiserver.port, &subset, &host));
            Made { rendered: cluster.clone(), subset }
        });
        let clusters = made.collect();
        self.hosts.push(Registration {
            suffix: "apiserver".to_owned(),
            tls: tls(certified, &ca),
            port: apiserver.port,
            host,
            entry,
            clusters,
        });
    }

    fn add_issuer(
        &mut self,
        name: &str,
        inputs: &Inputs,
        issuer: &Issuer,
        clusters: &[Value],
    ) -> Result<(), PodError> {
        let (host, port) = origin(&issuer.discovery_url)
            .ok_or_else(|| PodError::IssuerUrl { issuer: issuer.url.clone() })?;
        let cluster = issuers::cluster_name(issuer);
        let ca = match &issuer.certificate_authority {
            Some(pem) => {
                let file = format!("{cluster}.pem");
                self.bundles.insert(file.clone(), pem.clone());
                format!("{SECRETS}/{file}")
            }
            None => inputs.system_ca.display().to_string(),
        };
        let suffix = format!("issuer-{}", self.issuers.len() + 1);
        let (registered, entry) = match &host {
            Host::Ip(address) => (format!("{suffix}.{name}.internal"), Entry::At(*address)),
            Host::Dns(dns) => (dns.as_str().to_owned(), Entry::Dns),
        };
        let tls = tls(&host, &ca);
        self.issuers.insert(issuer.url.clone(), outbound(port, "", &registered));
        if let Some(other) = self.hosts.iter().find(|it| it.host == registered) {
            // One rule for a host, with one port and one CA, and no way of the gateway's own.
            let of_issuers = other.clusters.iter().all(|made| made.subset.is_empty());
            let same = of_issuers && other.port == port && other.tls == tls;
            let error = || PodError::SharedHost { host: registered.clone() };
            return same.then_some(()).ok_or_else(error);
        }
        let rendered = clusters.iter().find(|it| it["name"] == cluster).cloned();
        let made = Made { rendered: rendered.unwrap_or_default(), subset: String::new() };
        self.hosts.push(Registration {
            suffix,
            host: registered,
            port,
            entry: Some(entry),
            tls,
            clusters: vec![made],
        });
        Ok(())
    }

    /// What the clusters for kube-apiserver are called.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The clusters of issuers, by the issuers' URLs.
    pub fn issuers(&self) -> &BTreeMap<String, String> {
        &self.issuers
    }

    /// The CA bundles of issuers, by the names of their files.
    pub fn bundles(&self) -> impl Iterator<Item = (&str, &str)> {
        self.bundles.iter().map(|(name, pem)| (name.as_str(), pem.as_str()))
    }

    /// What istiod calls the clusters that stand for a rendered one.
    pub fn made_of(&self, cluster: &str) -> Vec<String> {
        let all = self.hosts.iter().flat_map(|host| host.clusters.iter().map(move |it| (host, it)));
        all.filter(|(_, made)| made.rendered["name"] == cluster)
            .map(|(host, made)| outbound(host.port, &made.subset, &host.host))
            .collect()
    }

    /// The objects of the registry.
    pub fn objects(&self, istio: &Istio) -> Vec<Value> {
        self.hosts.iter().flat_map(|host| host.objects(istio)).collect()
    }
}

impl Registration {
    fn objects(&self, istio: &Istio) -> Vec<Value> {
        let name = format!("{}-{}", istio.name, self.suffix);
        let object = |kind: &str, spec: Value| {
            istio.named(&name, "networking.istio.io/v1", kind, json!({"spec": spec}))
        };
        let mut objects = Vec::new();
        if let Some(entry) = &self.entry {
            let mut spec = json!({
                "hosts": [self.host],
                "exportTo": ["."],
                "location": "MESH_EXTERNAL",
                "resolution": "DNS",
                "ports": [{"number": self.port, "name": "https", "protocol": "HTTPS"}],
            });
            if let Entry::At(address) = entry {
                spec["resolution"] = json!("STATIC");
                spec["endpoints"] = json!([{"address": address.to_string()}]);
            }
            objects.push(object("ServiceEntry", spec));
        }
        let mut spec = json!({
            "host": self.host,
            // For this gateway alone: what else speaks to the host has its own way.
            "exportTo": ["."],
            "workloadSelector": {"matchLabels": istio.labels()},
        });
        let policy =
            |made: &Made| json!({"tls": self.tls, "connectionPool": limits(&made.rendered)});
        match self.clusters.as_slice() {
            [only] if only.subset.is_empty() => spec["trafficPolicy"] = policy(only),
            several => {
                let subset =
                    |made: &Made| json!({"name": made.subset, "trafficPolicy": policy(made)});
                spec["subsets"] = several.iter().map(subset).collect();
            }
        }
        objects.push(object("DestinationRule", spec));
        objects
    }
}

/// The name in the registry, if the host is a Service of the cluster.
fn service(host: &str, domain: &str) -> Option<String> {
    let short = host.strip_suffix(&format!(".{domain}")).unwrap_or(host);
    let labels: Vec<_> = short.split('.').collect();
    matches!(labels.as_slice(), [_, _, "svc"]).then(|| format!("{short}.{domain}"))
}

fn outbound(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// TLS with a CA and a name. istiod has the proxy's agent serve the file and watch it.
fn tls(certified: &Host, ca: &str) -> Value {
    let name = certified.to_string();
    let mut tls = json!({"mode": "SIMPLE", "caCertificates": ca, "subjectAltNames": [name]});
    if let Host::Dns(_) = certified {
        tls["sni"] = json!(name);
    }
    tls
}

/// A rendered cluster's limits, in a `DestinationRule`'s words. It says nothing of outliers, so that there are none: with one
/// endpoint, an ejected one would be no way at all.
fn limits(cluster: &Value) -> Value {
    let threshold = &cluster["circuit_breakers"]["thresholds"][0];
    let options = &cluster["typed_extension_protocol_options"][OPTIONS];
    let h2 = &options["auto_config"]["http2_protocol_options"];
    let mut tcp = json!({
        "maxConnections": threshold["max_connections"],
        "connectTimeout": cluster["connect_timeout"],
    });
    let keepalive = &cluster["upstream_connection_options"]["tcp_keepalive"];
    if keepalive.is_object() {
        let seconds = |field: &str| format!("{}s", keepalive[field]);
        tcp["tcpKeepalive"] = json!({
            "probes": keepalive["keepalive_probes"],
            "time": seconds("keepalive_time"),
            "interval": seconds("keepalive_interval"),
        });
    }
    let mut http = json!({
        "http1MaxPendingRequests": threshold["max_pending_requests"],
        "http2MaxRequests": threshold["max_requests"],
        "maxRetries": threshold["max_retries"],
        "idleTimeout": options["common_http_protocol_options"]["idle_timeout"],
        "h2UpgradePolicy": "DO_NOT_UPGRADE",
    });
    if h2.is_object() {
        // By which istiod offers it in the handshake.
        http["h2UpgradePolicy"] = json!("UPGRADE");
        http["maxConcurrentStreams"] = h2["max_concurrent_streams"].clone();
    }
    json!({"tcp": tcp, "http": http})
}

/// The host and the port of a URL.
fn origin(url: &str) -> Option<(Host, u16)> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split(['/', '?']).next()?;
    endpoint(&format!("https://{authority}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_in_the_registry_under_their_whole_names() {
        for (host, want) in [
            ("kubernetes.default.svc", Some("kubernetes.default.svc.cluster.local")),
            ("kubernetes.default.svc.cluster.local", Some("kubernetes.default.svc.cluster.local")),
            ("api.example.com", None),
            ("a.svc", None),
            ("kubernetes.default.svc.example", None),
        ] {
            assert_eq!(service(host, "cluster.local").as_deref(), want, "{host}");
        }
    }

    #[test]
    fn a_url_has_an_origin() {
        for (url, want) in [
            ("https://a.example", Some("a.example 443")),
            ("https://a.example/realms/demo", Some("a.example 443")),
            ("https://a.example:8443/?a", Some("a.example 8443")),
            ("https://[fd00::1]:8443/", Some("fd00::1 8443")),
            ("http://a.example", None),
        ] {
            let got = origin(url).map(|(host, port)| format!("{host} {port}"));
            assert_eq!(got.as_deref(), want, "{url}");
        }
    }
}
