//! A gateway in an Envoy that another control plane runs as a pod: where its files lie there, and the pieces of the rendered
//! configuration that go into that Envoy's own.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use crate::{Credential, FlatError, RenderError, Rendered, inputs::Inputs, render};

/// Where the gateway's pod has the files that Envoy watches for secrets.
pub const SECRETS: &str = "/etc/kube-oidc-gateway";
/// Where it has the token and the CA of its ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kube-oidc-gateway";

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
    /// See [`FlatError`].
    #[error(transparent)]
    Flat(#[from] FlatError),
}

/// The configuration, with the paths of the pod in place of those in `inputs` that are not its documents'.
pub(crate) fn rendered(inputs: &Inputs) -> Result<Rendered, PodError> {
    if !inputs.variables().is_empty() {
        return Err(PodError::SharedSecret);
    }
    let account = |name: &str| PathBuf::from(SERVICE_ACCOUNT).join(name);
    let mut placed = inputs.clone();
    placed.directory = PathBuf::from(SECRETS);
    placed.apiserver.ca = Some(account("ca.crt"));
    placed.apiserver.credential = Credential::Token(account("token"));
    Ok(render(&placed)?)
}

/// What a `ConfigMap` holds for [`SECRETS`]: where Envoy finds the token and the CAs. The serving certificate is the control
/// plane's affair.
pub(crate) fn secrets(rendered: &Rendered) -> BTreeMap<&str, &str> {
    let files = rendered.files().iter();
    let secrets =
        files.filter(|file| file.name.starts_with("secret-") && file.name != "secret-serving.yaml");
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

/// The filter's configuration, as a value.
pub(crate) fn plugin_configuration(rendered: &Rendered) -> Result<Value, FlatError> {
    let filter = rendered.resource("filter-gateway.yaml")?;
    let text = filter["typed_config"]["config"]["configuration"]["value"].as_str();
    Ok(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
}

/// The native filter before the Wasm filter (`strip`) or behind it (`gate`).
pub(crate) fn door(rendered: &Rendered, name: &str) -> Result<Value, FlatError> {
    let filter = rendered.resource(&format!("filter-{name}.yaml"))?;
    Ok(json!({"name": name, "typed_config": filter["typed_config"]}))
}
