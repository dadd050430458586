//! The two documents that users write, and what Envoy's configuration has to know of them.

use gateway_core::config::{
    self as gateway, Configuration, GatewayConfiguration, Impersonation, PluginConfiguration,
};
use kube_authn::{
    config::{LoadOptions, load_yaml},
    crypto::Algorithm,
    discovery::well_known_url,
};
use serde_json::Value;
use ureq::http::Uri;

use crate::{
    inputs::{ClientImpersonation, Host, Inputs, Issuer},
    issuers::issuer_clusters,
    limits::Limits,
    proxy::Proxies,
    upstream::review_cluster,
};

/// What the documents come down to.
#[derive(Debug, Clone)]
pub struct Documents {
    /// The issuers, for Envoy's clusters.
    pub issuers: Vec<Issuer>,
    /// Where each issuer's discovery document is, in the same order.
    pub discovery_urls: Vec<String>,
    /// What becomes of a client's own `Impersonate-*` headers.
    pub client_impersonation: ClientImpersonation,
    /// Whether some requests go on with the client's own token.
    pub own_token: bool,
    /// The filter's configuration, JSON.
    pub plugin_configuration: String,
    /// The `GatewayConfiguration`, checked.
    pub gateway: GatewayConfiguration,
    /// What is allowed, and has no effect or an unexpected one.
    pub warnings: Vec<String>,
}

/// What is wrong with the documents, in one line.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The `AuthenticationConfiguration` is refused, as kube-apiserver would word it.
    #[error("AuthenticationConfiguration: {0}")]
    Authentication(String),
    /// The `GatewayConfiguration` is refused.
    #[error("GatewayConfiguration: {0}")]
    Gateway(String),
}

impl Documents {
    /// Reads an `AuthenticationConfiguration` and, if there is one, a `GatewayConfiguration`, and checks both as the filter
    /// will; YAML or JSON. A field that stands twice is refused.
    pub fn parse(authentication: &[u8], gateway: Option<&[u8]>) -> Result<Self, DocumentError> {
        let refused = |reason: String| DocumentError::Authentication(reason.replace('\n', " "));
        let checked = load_yaml(authentication, &LoadOptions::default())
            .map_err(|errors| refused(errors.to_string()))?;
        let value = serde_json::to_value(checked.raw()).map_err(|e| refused(e.to_string()))?;
        let mut documents = Self::checked(value, gateway.map(yaml).transpose()?)?;
        documents.warnings = checked.warnings().iter().map(ToString::to_string).collect();
        Ok(documents)
    }

    /// Takes documents that have been read, and checks them as the filter will.
    pub fn checked(authentication: Value, gateway: Option<Value>) -> Result<Self, DocumentError> {
        let documents = Self::unchecked(authentication, gateway)?;
        // The filter's own eyes: what it would refuse must not reach it.
        Configuration::parse(documents.plugin_configuration.as_bytes())
            .map_err(|error| DocumentError::Authentication(error.to_string().replace('\n', " ")))?;
        Ok(documents)
    }

    /// Takes documents of which the first is checked by nobody but the filter.
    pub fn unchecked(authentication: Value, gateway: Option<Value>) -> Result<Self, DocumentError> {
        let checked = match &gateway {
            None => GatewayConfiguration::default(),
            Some(value) => GatewayConfiguration::from_value(value.clone())
                .map_err(|error| DocumentError::Gateway(error.to_string()))?,
        };
        let client_impersonation = match checked.client_impersonation {
            gateway::ClientImpersonation::Strip => ClientImpersonation::Strip,
            gateway::ClientImpersonation::Reject => ClientImpersonation::Reject,
            gateway::ClientImpersonation::Authorize => ClientImpersonation::Authorize,
        };
        let own_token =
            checked.token_review.enabled || checked.impersonation == Impersonation::Disabled;
        let (issuers, discovery_urls): (Vec<_>, Vec<_>) = issuers(&authentication).unzip();
        let configuration = PluginConfiguration {
            authentication_configuration: authentication,
            gateway_configuration: gateway,
            issuer_clusters: issuer_clusters(&issuers),
            default_issuer_cluster: None,
            review_cluster: review_cluster(client_impersonation, own_token).map(str::to_owned),
            signing_algorithms: Vec::new(),
            counts_connections: false,
        };
        let plugin_configuration = serde_json::to_string(&configuration)
            .map_err(|error| DocumentError::Authentication(error.to_string()))?;
        Ok(Self {
            issuers,
            discovery_urls,
            client_impersonation,
            own_token,
            plugin_configuration,
            gateway: checked,
            warnings: Vec::new(),
        })
    }

    /// Has the filter take no token that is signed with another algorithm.
    pub fn narrow(&mut self, algorithms: &[Algorithm]) -> Result<(), DocumentError> {
        let names = algorithms.iter().map(ToString::to_string).collect();
        self.change(|configuration| configuration.signing_algorithms = names)
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut PluginConfiguration),
    ) -> Result<(), DocumentError> {
        let refused = |error: serde_json::Error| DocumentError::Authentication(error.to_string());
        let mut configuration =
            serde_json::from_str(&self.plugin_configuration).map_err(refused)?;
        change(&mut configuration);
        self.plugin_configuration = serde_json::to_string(&configuration).map_err(refused)?;
        Ok(())
    }

    /// Has issuers reached through a proxy, where `proxies` say so.
    ///
    /// # Errors
    /// If one is to be whose URL has an address for a name: its name would be that of no TLS connection (RFC 6066, section 3).
    pub fn through(&mut self, proxies: &Proxies) -> Result<(), DocumentError> {
        for (issuer, url) in self.issuers.iter_mut().zip(&self.discovery_urls) {
            issuer.proxied_port = proxies.port_behind(url);
            let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
            let host = host.and_then(|host| host.parse::<Host>().ok());
            if issuer.proxied_port.is_some() && !matches!(host, Some(Host::Dns(_))) {
                return Err(DocumentError::Authentication(format!(
                    "{url:?} has no name, and issuers are reached by name through HTTPS_PROXY: put its address into NO_PROXY"
                )));
            }
        }
        let clusters = issuer_clusters(&self.issuers);
        self.change(|configuration| configuration.issuer_clusters = clusters)
    }

    /// Those of a gateway that knows nobody.
    #[must_use]
    pub fn none() -> Self {
        Self {
            issuers: Vec::new(),
            discovery_urls: Vec::new(),
            client_impersonation: ClientImpersonation::default(),
            own_token: false,
            plugin_configuration: String::new(),
            gateway: GatewayConfiguration::default(),
            warnings: Vec::new(),
        }
    }

    /// Makes them those of a gateway.
    pub fn put_into(&self, inputs: &mut Inputs) {
        inputs.issuers.clone_from(&self.issuers);
        inputs.client_impersonation = self.client_impersonation;
        inputs.own_token = self.own_token;
        inputs.plugin_configuration.clone_from(&self.plugin_configuration);
    }

    /// Finds limits of Envoy's that would end a request before the filter can explain. The text names flags and fields.
    pub fn fit(&self, limits: &Limits) -> Result<(), String> {
        let Limits { undecided_timeout, request_headers_kib, .. } = limits;
        let bounds = &self.gateway.limits;
        if undecided_timeout.as_secs() <= bounds.wait_seconds.into() {
            return Err(format!(
                "--undecided-timeout must be longer than limits.waitSeconds of the GatewayConfiguration ({})",
                bounds.wait_seconds
            ));
        }
        if u64::from(*request_headers_kib) * 1024 <= bounds.token_bytes.into() {
            return Err(format!(
                "--max-request-headers-kib must be more than limits.tokenBytes of the GatewayConfiguration ({})",
                bounds.token_bytes
            ));
        }
        Ok(())
    }
}

fn issuers(authentication: &Value) -> impl Iterator<Item = (Issuer, String)> {
    let text = |value: &Value, field: &str| Some(value.get(field)?.as_str()?.to_owned());
    let authenticators = authentication.get("jwt").and_then(Value::as_array);
    authenticators.into_iter().flatten().filter_map(|jwt| jwt.get("issuer")).filter_map(
        move |issuer| {
            let certificate_authority = text(issuer, "certificateAuthority");
            let url = text(issuer, "url")?;
            let discovery = text(issuer, "discoveryURL").unwrap_or_else(|| well_known_url(&url));
            Some((Issuer { url, certificate_authority, proxied_port: None }, discovery))
        },
    )
}

fn yaml(text: &[u8]) -> Result<Value, DocumentError> {
    let refused = |reason: String| {
        DocumentError::Gateway(reason.lines().next().unwrap_or("not YAML").to_owned())
    };
    let text = std::str::from_utf8(text).map_err(|error| refused(error.to_string()))?;
    serde_saphyr::from_str(text).map_err(|error| refused(error.to_string()))
}
