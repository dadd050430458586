//! The configuration files that users write, checked as the filter will check them.

use std::{fs, path::Path};

use gateway_core::config::{self as gateway, GatewayConfiguration, PluginConfiguration};
use kube_authn::config::{AuthenticationConfiguration, LoadOptions, load_yaml};
use kube_oidc_gateway::{ClientImpersonation, Issuer, Limits, issuer_clusters, review_cluster};
use serde_json::Value;

use super::Error;

/// What the configuration files come down to.
pub struct Documents {
    /// The issuers, for Envoy's clusters.
    pub issuers: Vec<Issuer>,
    /// What becomes of a client's own `Impersonate-*` headers.
    pub client_impersonation: ClientImpersonation,
    /// Whether some requests go on with the client's own token.
    pub own_token: bool,
    /// The filter's configuration.
    pub plugin_configuration: String,
    /// The filter's bounds, within which Envoy's must not cut.
    limits: gateway::Limits,
}

impl Documents {
    /// Reads an `AuthenticationConfiguration` and, if there is one, a `GatewayConfiguration`; YAML or JSON.
    pub fn read(authentication: &Path, gateway: Option<&Path>) -> Result<Self, Error> {
        let fault = |path: &Path, reason: String| {
            let path = path.display().to_string();
            Error::Document { path, reason: reason.replace('\n', " ") }
        };
        let text = fs::read(authentication)
            .map_err(|source| Error::Read { path: authentication.to_owned(), source })?;
        let checked = load_yaml(&text, &LoadOptions::default())
            .map_err(|errors| fault(authentication, errors.to_string()))?;
        for warning in checked.warnings() {
            eprintln!("{}: warning: {warning}", authentication.display());
        }
        let settings = gateway.map(yaml).transpose()?;
        let settings_checked = match (gateway, settings.clone()) {
            (Some(path), Some(value)) => GatewayConfiguration::from_value(value)
                .map_err(|error| fault(path, error.to_string()))?,
            _ => GatewayConfiguration::default(),
        };
        let client_impersonation = match settings_checked.client_impersonation {
            gateway::ClientImpersonation::Strip => ClientImpersonation::Strip,
            gateway::ClientImpersonation::Reject => ClientImpersonation::Reject,
            gateway::ClientImpersonation::Authorize => ClientImpersonation::Authorize,
        };
        let own_token = settings_checked.token_review.enabled
            || settings_checked.impersonation == gateway::Impersonation::Disabled;
        let issuers = issuers(&checked);
        let configuration = PluginConfiguration {
            authentication_configuration: serde_json::to_value(checked.raw())
                .map_err(|error| fault(authentication, error.to_string()))?,
            gateway_configuration: settings,
            issuer_clusters: issuer_clusters(&issuers),
            default_issuer_cluster: None,
            review_cluster: review_cluster(client_impersonation, own_token).map(str::to_owned),
        };
        let plugin_configuration = serde_json::to_string(&configuration)
            .map_err(|error| fault(authentication, error.to_string()))?;
        // The filter's own eyes: what it would refuse must not reach it.
        gateway::Configuration::parse(plugin_configuration.as_bytes())
            .map_err(|error| fault(authentication, error.to_string()))?;
        Ok(Self {
            issuers,
            client_impersonation,
            own_token,
            plugin_configuration,
            limits: settings_checked.limits,
        })
    }

    /// Finds limits of Envoy's that would end a request before the filter can explain.
    pub fn fit(&self, limits: &Limits) -> Result<(), Error> {
        let Limits { undecided_timeout, request_headers_kib, .. } = limits;
        if undecided_timeout.as_secs() <= self.limits.wait_seconds.into() {
            return Err(Error::Usage(format!(
                "--undecided-timeout must be longer than limits.waitSeconds of the GatewayConfiguration ({})",
                self.limits.wait_seconds
            )));
        }
        if u64::from(*request_headers_kib) * 1024 <= self.limits.token_bytes.into() {
            return Err(Error::Usage(format!(
                "--max-request-headers-kib must be more than limits.tokenBytes of the GatewayConfiguration ({})",
                self.limits.token_bytes
            )));
        }
        Ok(())
    }
}

fn issuers(configuration: &AuthenticationConfiguration) -> Vec<Issuer> {
    let issuers = configuration.raw().jwt.iter().map(|jwt| &jwt.issuer);
    issuers
        .map(|issuer| Issuer {
            url: issuer.url.clone(),
            certificate_authority: Some(issuer.certificate_authority.clone()),
        })
        .collect()
}

/// Reads a file of YAML, of which JSON is a part. A field that stands twice is refused.
fn yaml(path: &Path) -> Result<Value, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_saphyr::from_str(&text).map_err(|error| Error::Document {
        path: path.display().to_string(),
        reason: error.to_string().lines().next().unwrap_or("not YAML").to_owned(),
    })
}
