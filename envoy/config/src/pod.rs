//! A gateway in an Envoy that another control plane runs as a pod: where its files lie there, and the pieces of the rendered
//! configuration that go into that Envoy's own.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use gateway_core::config::PluginConfiguration;
use serde_json::{Value, json};

use crate::{
    error::RenderError,
    flat::FlatError,
    inputs::{Credential, Inputs},
    render::render,
    rendered::Rendered,
};

/// Where the gateway's pod has the files that Envoy watches for secrets.
pub const SECRETS: &str = "/etc/kube-oidc-gateway";
/// Where it has the token and the CA of its ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kube-oidc-gateway";

/// Where a sidecar has the certificate that clients see.
pub const SERVING: &str = "/etc/kube-oidc-gateway-serving";

/// Why there are no objects.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// See [`RenderError`].
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Secrets have no way into an Envoy that somebody else runs.
    #[error(
        "sharedSecret: the Envoy that this control plane runs is given no secret in its environment; leave it out and let the portal \
         sign with --signing-key-file, so that it is an issuer of the AuthenticationConfiguration, or use `kube-oidc-gateway run`"
    )]
    SharedSecret,
    /// Credentials for servers beside kube-apiserver have no way there either.
    #[error(
        "{field}: the Envoy that this control plane runs is given no credential for a server beside kube-apiserver; use \
         `kube-oidc-gateway run`"
    )]
    Callouts {
        /// The field that names the server.
        field: String,
    },
    /// See [`FlatError`].
    #[error(transparent)]
    Flat(#[from] FlatError),
    /// There is no way to say in objects what kube-apiserver's certificate has to name.
    #[error(
        "kube-apiserver's certificate would have to name the address {address}, for which a BackendTLSPolicy has no words: \
         say by which DNS name it is certified"
    )]
    CertifiedAddress {
        /// Its address.
        address: IpAddr,
    },
    /// An issuer that no cluster can be made for.
    #[error("issuer {issuer}: its URL names no host that a ServiceEntry could have")]
    IssuerUrl {
        /// Its URL.
        issuer: String,
    },
    /// What one cluster cannot lead to.
    #[error(
        "{host} is both an issuer and kube-apiserver, or two issuers with different ports or CAs: a DestinationRule has one \
         of each for a host. Leave issuers to the EnvoyFilter"
    )]
    SharedHost {
        /// Their host.
        host: String,
    },
}

/// What a control plane calls clusters, by the names that the templates give them. What is not in it keeps its name.
pub(crate) type Names = BTreeMap<String, String>;

/// The configuration, with the paths of the pod in place of those in `inputs` that are not its documents'.
pub(crate) fn rendered(inputs: &Inputs) -> Result<Rendered, PodError> {
    if !inputs.variables().is_empty() {
        return Err(PodError::SharedSecret);
    }
    if let Some(callout) = inputs.documents.callouts().first() {
        return Err(PodError::Callouts { field: callout.field.clone() });
    }
    let account = |name: &str| PathBuf::from(SERVICE_ACCOUNT).join(name);
    let mut placed = inputs.clone();
    placed.directory = PathBuf::from(SECRETS);
    placed.apiserver.ca = Some(account("ca.crt"));
    placed.apiserver.credential = Credential::Token(account("token"));
    // Nobody counts connections there, so that the filter has nobody to tell.
    placed.options.limits.undecided_connections_per_address = 0;
    Ok(render(&placed)?)
}

/// What a `ConfigMap` holds for [`SECRETS`]: where Envoy finds those of its secrets whose files have one of these prefixes.
pub(crate) fn secrets<'a>(rendered: &'a Rendered, prefixes: &[&str]) -> BTreeMap<&'a str, &'a str> {
    let wanted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let secrets = rendered.files().iter().filter(|file| wanted(&file.name));
    secrets.map(|file| (file.name.as_str(), file.text.as_str())).collect()
}

/// The pod's volumes, given the `ConfigMap`'s name.
pub(crate) fn volumes(config_map: &str) -> Value {
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]);
    json!([
        {"name": "gateway-secrets", "configMap": {"name": config_map}},
        {"name": "gateway-account", "projected": {"sources": sources}},
    ])
}

/// Where the proxy's container has [`volumes`].
pub(crate) fn mounts() -> Value {
    json!([
        {"name": "gateway-secrets", "mountPath": SECRETS, "readOnly": true},
        {"name": "gateway-account", "mountPath": SERVICE_ACCOUNT, "readOnly": true},
    ])
}

/// The filter's configuration, with the clusters' names there.
pub(crate) fn plugin_configuration(
    inputs: &Inputs,
    names: &Names,
) -> Result<PluginConfiguration, RenderError> {
    let mut configuration = inputs.documents.plugin_configuration()?;
    let issuers = configuration.issuer_clusters.values_mut();
    for cluster in issuers.chain(&mut configuration.review_cluster) {
        if let Some(name) = names.get(cluster) {
            cluster.clone_from(name);
        }
    }
    Ok(configuration)
}

/// The routes.
pub(crate) fn routes(rendered: &Rendered, names: &Names) -> Result<Value, FlatError> {
    let mut routes = rendered.resource("routes.yaml")?;
    // What they count is shown by the program, and there is none there.
    for host in routes["virtual_hosts"].as_array_mut().into_iter().flatten() {
        host.as_object_mut().map(|host| host.remove("virtual_clusters"));
    }
    lead(&mut routes, names);
    Ok(routes)
}

/// Gives every cluster that routes name its name there.
fn lead(value: &mut Value, names: &Names) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| lead(item, names)),
        Value::Object(fields) => {
            fields.get_mut("cluster").into_iter().for_each(|name| rename(name, names));
            fields.values_mut().for_each(|field| lead(field, names));
        }
        _ => {}
    }
}

fn rename(cluster: &mut Value, names: &Names) {
    if let Some(name) = cluster.as_str().and_then(|name| names.get(name)) {
        *cluster = json!(name);
    }
}

/// The native filter before the Wasm filter (`strip`) or behind it (`gate`).
pub(crate) fn door(rendered: &Rendered, name: &str) -> Result<Value, FlatError> {
    let filter = rendered.resource(&format!("filter-{name}.yaml"))?;
    Ok(json!({"name": name, "typed_config": filter["typed_config"]}))
}
