//! From the two documents users write to what Envoy's configuration needs to know of them.

use gateway_core::config::{
    ClientImpersonation as Mode, GatewayConfiguration, Impersonation, PluginConfiguration,
};
use kube_oidc_gateway::{ClientImpersonation, Inputs, Issuer, issuer_clusters, review_cluster};
use serde_json::Value;

use crate::error::{Error, Result};

/// What the documents come down to.
pub(super) struct Documents {
    issuers: Vec<Issuer>,
    client_impersonation: ClientImpersonation,
    own_token: bool,
    plugin_configuration: String,
}

impl Documents {
    /// Reads an `AuthenticationConfiguration` and, if there is one, a `GatewayConfiguration`. The first one is checked by
    /// nobody but the filter.
    pub fn read(authentication: &Value, gateway: Option<&Value>) -> Result<Self> {
        let checked = match gateway {
            None => GatewayConfiguration::default(),
            Some(value) => GatewayConfiguration::from_value(value.clone())
                .map_err(|e| Error::Invalid(format!("GatewayConfiguration: {e}")))?,
        };
        let client_impersonation = match checked.client_impersonation {
            Mode::Strip => ClientImpersonation::Strip,
            Mode::Reject => ClientImpersonation::Reject,
            Mode::Authorize => ClientImpersonation::Authorize,
        };
        let own_token =
            checked.token_review.enabled || checked.impersonation == Impersonation::Disabled;
        let issuers = issuers(authentication);
        let plugin_configuration = serde_json::to_string(&PluginConfiguration {
            authentication_configuration: authentication.clone(),
            gateway_configuration: gateway.cloned(),
            issuer_clusters: issuer_clusters(&issuers),
            default_issuer_cluster: None,
            review_cluster: review_cluster(client_impersonation, own_token).map(str::to_owned),
        })
        .map_err(|source| Error::Json { what: "the configuration".to_owned(), source })?;
        Ok(Self { issuers, client_impersonation, own_token, plugin_configuration })
    }

    pub fn put_into(self, inputs: &mut Inputs) {
        inputs.issuers = self.issuers;
        inputs.client_impersonation = self.client_impersonation;
        inputs.own_token = self.own_token;
        inputs.plugin_configuration = self.plugin_configuration;
    }
}

fn issuers(authentication: &Value) -> Vec<Issuer> {
    let text = |value: &Value, field: &str| Some(value.get(field)?.as_str()?.to_owned());
    let authenticators = authentication.get("jwt").and_then(Value::as_array);
    authenticators
        .into_iter()
        .flatten()
        .filter_map(|jwt| jwt.get("issuer"))
        .filter_map(|issuer| {
            let certificate_authority = text(issuer, "certificateAuthority");
            Some(Issuer { url: text(issuer, "url")?, certificate_authority })
        })
        .collect()
}
