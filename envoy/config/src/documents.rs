//! The two documents that users write, valid, and what Envoy's configuration has to know of them.
//!
//! A document is read and validated once, here. What it came to travels on as a value; the filter's configuration is made of it
//! where a template, or an object for a control plane, has its place.

use std::path::Path;

use gateway_core::{
    access::Revocations,
    config::{
        API_VERSION, ClientImpersonation, GROUP_SOURCES, GatewayConfiguration, GatewayError,
        INTROSPECTION, Impersonation, KIND, Logout, PluginConfiguration, check_issuers,
        introspected_issuers,
    },
    groups::GroupSources,
    protected_resource,
};
use gateway_net::{Proxies, Server};
use kube_authn::{
    config::{AuthenticationConfiguration, ConfigErrors, LoadOptions, load, load_yaml, raw},
    crypto::Algorithm,
    discovery::{Endpoint, well_known_url},
    flags::OidcFlags,
};
use serde_json::{Map, Value, json};

use crate::{
    callouts::Callout,
    issuers::{Issuer, issuer_clusters},
    limits::Limits,
};

/// The cluster through which the filter asks kube-apiserver.
const REVIEW: &str = "apiserver_review";

/// Two valid documents, and the way to the issuers that they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    authentication: raw::AuthenticationConfiguration,
    gateway: GatewayConfiguration,
    issuers: Vec<Issuer>,
    callouts: Vec<Callout>,
    metadata: Option<String>,
    algorithms: Vec<Algorithm>,
    revocations: Option<Revocations>,
    proxy: Option<Server>,
    warnings: Vec<String>,
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
    /// Reads an `AuthenticationConfiguration` and, if there is one, a `GatewayConfiguration`; YAML or JSON. A field that stands
    /// twice is refused.
    ///
    /// # Errors
    /// If the filter would refuse one of them.
    pub fn parse(authentication: &[u8], gateway: Option<&[u8]>) -> Result<Self, DocumentError> {
        let gateway = gateway.map(parse_gateway).transpose()?.unwrap_or_default();
        Self::with_gateway(authentication, gateway)
    }

    /// The same with a `GatewayConfiguration` that has been read already.
    ///
    /// # Errors
    /// If the filter would refuse the other.
    pub fn with_gateway(
        authentication: &[u8],
        gateway: GatewayConfiguration,
    ) -> Result<Self, DocumentError> {
        let authentication = load_yaml(authentication, &options(&gateway));
        let authentication = authentication.map_err(|errors| one_line(&errors))?;
        Self::new(&authentication, gateway)
    }

    /// The same of documents that are values already.
    ///
    /// # Errors
    /// If the filter would refuse one of them.
    pub fn from_values(
        authentication: &Value,
        gateway: Option<Value>,
    ) -> Result<Self, DocumentError> {
        let gateway = gateway.map(gateway_of).transpose()?.unwrap_or_default();
        let authentication = load(authentication.to_string().as_bytes(), &options(&gateway))
            .map_err(|errors| one_line(&errors))?;
        Self::new(&authentication, gateway)
    }

    /// What kube-apiserver's `--oidc-*` flags stand for.
    ///
    /// # Errors
    /// If kube-apiserver would refuse them.
    pub fn of_flags(
        flags: &OidcFlags,
        gateway: GatewayConfiguration,
    ) -> Result<Self, DocumentError> {
        let (authentication, algorithms) = flags
            .load(&options(&gateway))
            .map_err(|error| DocumentError::Authentication(error.to_string().replace('\n', " ")))?;
        Ok(Self::new(&authentication, gateway)?.signed_with(algorithms))
    }

    fn new(
        authentication: &AuthenticationConfiguration,
        gateway: GatewayConfiguration,
    ) -> Result<Self, DocumentError> {
        check_issuers(authentication)
            .map_err(|error| DocumentError::Authentication(error.to_string()))?;
        let metadata = protected_resource::document(&gateway, authentication.raw())
            .map_err(|error| DocumentError::Gateway(error.to_string()))?;
        GroupSources::new(&gateway.group_sources, gateway.kubernetes_rules, authentication)
            .map_err(|error| DocumentError::Gateway(error.to_string()))?;
        introspected_issuers(&gateway.introspection, authentication)
            .map_err(|error| DocumentError::Gateway(error.to_string()))?;
        let issuers: Vec<_> =
            authentication.raw().jwt.iter().map(|jwt| issuer(&jwt.issuer)).collect();
        Ok(Self {
            callouts: callouts(&gateway, &issuers),
            issuers,
            warnings: authentication.warnings().iter().map(ToString::to_string).collect(),
            authentication: authentication.raw().clone(),
            gateway,
            metadata: metadata.map(|document| document.to_string()),
            algorithms: Vec::new(),
            revocations: None,
            proxy: None,
        })
    }

    /// Has the filter take no token that is signed with another algorithm.
    #[must_use]
    pub fn signed_with(mut self, algorithms: Vec<Algorithm>) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// Has the filter hold a document that says whose access has ended, and does not change while it runs.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Option<Revocations>) -> Self {
        self.revocations = revocations;
        self
    }

    /// The algorithms that tokens may be signed with; all if there are none.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Has the program hand over the tokens that it gets for servers, in folders below this one.
    #[must_use]
    pub fn with_tokens_in(mut self, folder: &Path) -> Self {
        for callout in &mut self.callouts {
            callout.token_file = callout.token_file_in(folder);
        }
        self
    }

    /// Has issuers reached through a proxy, where `proxies` say so.
    ///
    /// # Errors
    /// If one is to be through a proxy that cannot be used.
    pub fn through(mut self, proxies: &Proxies) -> Result<Self, DocumentError> {
        for issuer in &mut self.issuers {
            let url = &issuer.discovery_url;
            let server = proxies.server_for(url).map_err(|error| {
                DocumentError::Authentication(format!("{url:?} is behind a proxy: {error}"))
            })?;
            issuer.proxied = server.is_some();
        }
        for callout in &self.callouts {
            if let Some(url) = callout.urls().find(|url| proxies.is_behind(url)) {
                return Err(DocumentError::Gateway(format!(
                    "{}: {url:?} is behind a proxy, by which no credential is sent; name its host in NO_PROXY, and let it be reached \
                     directly",
                    callout.field
                )));
            }
        }
        // Documents that come later may have issuers behind it.
        self.proxy = proxies.server().ok().flatten().cloned();
        Ok(self)
    }

    /// Without a way through a proxy.
    ///
    /// # Errors
    /// The URL of an issuer that is behind it.
    pub fn without_proxy(mut self) -> Result<Self, String> {
        if let Some(issuer) = self.issuers.iter().find(|issuer| issuer.proxied) {
            return Err(issuer.url.clone());
        }
        self.proxy = None;
        Ok(self)
    }

    /// For who only says whose a token is, and has no API server to ask: nobody impersonates anybody there, and no issuer says there that a
    /// session has ended.
    #[must_use]
    pub(crate) fn asking_nobody(&self) -> Self {
        let client_impersonation = ClientImpersonation::Strip;
        let logout = Logout::default();
        let gateway = GatewayConfiguration { client_impersonation, logout, ..self.gateway.clone() };
        Self { gateway, ..self.clone() }
    }

    /// The `AuthenticationConfiguration`.
    #[must_use]
    pub fn authentication(&self) -> &raw::AuthenticationConfiguration {
        &self.authentication
    }

    /// The `GatewayConfiguration`.
    #[must_use]
    pub fn gateway(&self) -> &GatewayConfiguration {
        &self.gateway
    }

    /// The issuers, for Envoy's clusters, in the order of the `AuthenticationConfiguration`.
    #[must_use]
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The servers beside issuers and kube-apiserver that the filter asks.
    #[must_use]
    pub fn callouts(&self) -> &[Callout] {
        &self.callouts
    }

    /// The proxy for those issuers that are reached through one.
    #[must_use]
    pub fn proxy(&self) -> Option<&Server> {
        self.proxy.as_ref()
    }

    /// What is allowed, and has no effect or an unexpected one.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether a condition reads the address that a request comes from.
    #[must_use]
    pub fn reads_address(&self) -> bool {
        self.gateway.conditions().is_ok_and(|conditions| conditions.read_address())
    }

    /// What strangers are told of where to log in ([`gateway_core::protected_resource`]), in JSON.
    pub(crate) fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// What becomes of a client's own `Impersonate-*` headers.
    #[must_use]
    pub fn client_impersonation(&self) -> ClientImpersonation {
        self.gateway.client_impersonation
    }

    /// Whether some requests go on with the client's own token (token passthrough, no impersonation). If not, no route and no
    /// cluster exists for them.
    #[must_use]
    pub fn own_token(&self) -> bool {
        self.gateway.token_review.enabled || self.gateway.impersonation == Impersonation::Disabled
    }

    /// Whether the filter needs secrets from its environment.
    #[must_use]
    pub fn takes_shared_secret(&self) -> bool {
        !self.gateway.shared_secret.audience.is_empty()
    }

    /// The cluster through which the filter asks kube-apiserver (`reviewCluster` of its configuration), in the modes in which it
    /// has to ask. In the others there is none: the credential is where it is needed and nowhere else.
    pub(crate) fn review_cluster(&self) -> Option<&'static str> {
        let authorizes = self.client_impersonation() == ClientImpersonation::Authorize;
        (self.own_token() || authorizes).then_some(REVIEW)
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

    /// The filter's configuration: valid by what it is made of.
    pub(crate) fn plugin_configuration(&self) -> Result<PluginConfiguration, serde_json::Error> {
        let gateway = self.gateway_document()?;
        Ok(PluginConfiguration {
            authentication_configuration: serde_json::to_value(&self.authentication)?,
            gateway_configuration: gateway,
            issuer_clusters: issuer_clusters(&self.issuers),
            default_issuer_cluster: None,
            review_cluster: self.review_cluster().map(str::to_owned),
            callout_clusters: self
                .callouts
                .iter()
                .map(|callout| (callout.asker.clone(), callout.cluster.clone()))
                .collect(),
            signing_algorithms: self.algorithms.iter().map(ToString::to_string).collect(),
            counts_connections: false,
            revocations: self.revocations.clone(),
            access_cluster: None,
            portal_issuer: None,
        })
    }

    /// The `GatewayConfiguration` as a document: what of it is not by default, if anything.
    fn gateway_document(&self) -> Result<Option<Value>, serde_json::Error> {
        let default = serde_json::to_value(GatewayConfiguration::default())?;
        let mut fields = match serde_json::to_value(&self.gateway)? {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        leave_out(&mut fields, &default);
        if fields.is_empty() {
            return Ok(None);
        }
        fields.extend([
            ("apiVersion".to_owned(), json!(API_VERSION)),
            ("kind".to_owned(), json!(KIND)),
        ]);
        Ok(Some(Value::Object(fields)))
    }
}

/// Leaves out of an object what is the same in another.
fn leave_out(fields: &mut Map<String, Value>, other: &Value) {
    for (name, value) in fields.iter_mut() {
        if let (Value::Object(inner), Some(other)) = (value, other.get(name)) {
            leave_out(inner, other);
        }
    }
    fields.retain(|name, value| {
        let same = other.get(name) == Some(value);
        let nothing_left = other.get(name).is_some_and(Value::is_object) && *value == json!({});
        !same && !nothing_left
    });
}

fn issuer(issuer: &raw::Issuer) -> Issuer {
    let discovery_url = issuer.discovery_url.clone().unwrap_or_else(|| well_known_url(&issuer.url));
    let authority = Some(&issuer.certificate_authority).filter(|pem| !pem.is_empty());
    Issuer {
        url: issuer.url.clone(),
        // As it is asked for.
        discovery_url: Endpoint::parse(&discovery_url).map_or(discovery_url, |it| it.to_string()),
        certificate_authority: authority.cloned(),
        proxied: false,
    }
}

/// The servers that a `GatewayConfiguration` has the filter ask.
fn callouts(gateway: &GatewayConfiguration, issuers: &[Issuer]) -> Vec<Callout> {
    let sources = gateway.group_sources.iter().enumerate().map(|(index, source)| {
        let source = source.filled();
        let place = (source.name.as_str(), format!("groupSources[{index}]"));
        let server = (source.url.as_str(), source.certificate_authority.as_str());
        Callout::new((GROUP_SOURCES, "groups"), place, server, &source.credential, issuers)
    });
    let asked = gateway.introspection.iter().enumerate().map(|(index, item)| {
        let place = (item.name.as_str(), format!("introspection[{index}]"));
        let server = (item.endpoint.as_str(), item.certificate_authority.as_str());
        Callout::new((INTROSPECTION, INTROSPECTION), place, server, &item.credential, issuers)
    });
    sources.chain(asked).collect()
}

/// By whose rules the other document is read.
fn options(gateway: &GatewayConfiguration) -> LoadOptions {
    LoadOptions { rules: gateway.kubernetes_rules, ..LoadOptions::default() }
}

fn one_line(errors: &ConfigErrors) -> DocumentError {
    DocumentError::Authentication(errors.to_string().replace('\n', " "))
}

/// Reads a `GatewayConfiguration`, YAML or JSON.
///
/// # Errors
/// In one line, with the field's path.
pub fn parse_gateway(text: &[u8]) -> Result<GatewayConfiguration, DocumentError> {
    let refused = |reason: String| {
        DocumentError::Gateway(reason.lines().next().unwrap_or("not YAML").to_owned())
    };
    let text = std::str::from_utf8(text).map_err(|error| refused(error.to_string()))?;
    let document: Value =
        serde_saphyr::from_str(text).map_err(|error| refused(error.to_string()))?;
    gateway_of(document)
}

/// The document, or its error with the field's path.
fn gateway_of(document: Value) -> Result<GatewayConfiguration, DocumentError> {
    GatewayConfiguration::from_value(document.clone()).map_err(|error| {
        let path = match error {
            GatewayError::Shape(_) => path_of_fault(document),
            _ => None,
        };
        DocumentError::Gateway(match path {
            Some(path) => format!("{path}: {error}"),
            None => error.to_string(),
        })
    })
}

/// Where a document has not the shape that it should, if that is in one of its fields. Here and not in the filter, whose module stays
/// small, and which gets documents that were read here.
fn path_of_fault(mut document: Value) -> Option<String> {
    let fields = document.as_object_mut()?;
    fields.remove("apiVersion");
    fields.remove("kind");
    let read: Result<GatewayConfiguration, _> = serde_path_to_error::deserialize(document);
    let path = read.err()?.path().to_string();
    // Its word for the document itself.
    (path != ".").then_some(path)
}

#[cfg(test)]
mod tests {
    use gateway_core::config::Configuration;

    use super::*;

    fn documents(fields: Value) -> Documents {
        let jwt = |issuer: Value, groups: Value| {
            let username = json!({"claim": "sub", "prefix": ""});
            json!({"issuer": issuer, "claimMappings": {"username": username, "groups": groups}})
        };
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [
                jwt(json!({"url": "https://a.example", "audiences": ["a"]}), json!({})),
                jwt(
                    json!({"url": "https://b.example", "audiences": ["a"], "discoveryURL": "https://c.example/d"}),
                    json!({"expression": "claims.groups"}),
                ),
            ],
        });
        let mut gateway = json!({"apiVersion": API_VERSION, "kind": KIND});
        if let (Value::Object(gateway), Value::Object(fields)) = (&mut gateway, fields) {
            gateway.extend(fields);
        }
        Documents::from_values(&authentication, Some(gateway)).unwrap()
    }

    /// The filter reads of its configuration what was read of the documents.
    #[test]
    fn the_filter_finds_in_its_configuration_what_the_documents_said() {
        for (fields, is_default) in [
            (json!({}), true),
            (json!({"clientImpersonation": "authorize", "limits": {"waitSeconds": 10}}), true),
            (json!({"clientImpersonation": "strip"}), false),
            (json!({"tokenReview": {"enabled": true}}), false),
            (json!({"extras": {"credentialId": false, "headers": {"a": ["x"]}}}), false),
            (json!({"clientImpersonation": "reject", "impersonation": "disabled"}), false),
            (json!({"kubernetesRules": "1.38"}), false),
            (json!({"sharedSecret": {"audience": "a", "secretFiles": ["/s"]}}), false),
        ] {
            let documents = documents(fields.clone()).signed_with(vec![Algorithm::Es256]);
            let plugin = documents.plugin_configuration().unwrap();
            let written = plugin.gateway_configuration.clone().map(|mut document| {
                let written = document.as_object_mut().unwrap();
                assert_eq!(written.remove("kind"), Some(json!(KIND)));
                assert_eq!(written.remove("apiVersion"), Some(json!(API_VERSION)));
                document
            });
            assert_eq!(written, (!is_default).then(|| fields.clone()));
            let text = serde_json::to_vec(&plugin).unwrap();
            let read = Configuration::parse(&text).unwrap();
            assert_eq!(read.gateway, documents.gateway, "{fields}");
            assert_eq!(*read.authentication.raw(), documents.authentication, "{fields}");
            assert_eq!(read.algorithms, documents.algorithms, "{fields}");
            assert_eq!(read.clusters.len(), documents.issuers.len(), "{fields}");
        }
    }

    /// The filter of a portal alone refused its configuration: there is nobody who would take a logout token.
    #[test]
    fn who_only_says_whose_a_token_is_takes_no_logout_tokens() {
        let documents = documents(json!({"logout": {"path": "/oidc/logout"}}));
        let plugin = documents.asking_nobody().plugin_configuration().unwrap();
        Configuration::parse(&serde_json::to_vec(&plugin).unwrap()).unwrap();
    }

    /// The program's check and the filter's agree on what can be asked for, and how.
    #[test]
    fn an_issuer_s_url_is_asked_for_as_go_writes_it() {
        let of = |url: &str| {
            let issuer = json!({"url": url, "audiences": ["a"]});
            let username = json!({"claim": "sub", "prefix": ""});
            let authentication = json!({
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "AuthenticationConfiguration",
                "jwt": [{"issuer": issuer, "claimMappings": {"username": username}}],
            });
            Documents::from_values(&authentication, None)
        };
        let documents = of("https://a.example/my realm/é").unwrap();
        let [issuer] = documents.issuers() else { panic!() };
        assert_eq!(
            (issuer.url.as_str(), issuer.discovery_url.as_str()),
            (
                "https://a.example/my realm/é",
                "https://a.example/my%20realm/%C3%A9/.well-known/openid-configuration"
            )
        );
        let text = serde_json::to_vec(&documents.plugin_configuration().unwrap()).unwrap();
        Configuration::parse(&text).unwrap();
        let error = of("https://bücher.example").unwrap_err().to_string();
        assert!(error.contains("the host must be ASCII"), "{error}");
    }

    #[test]
    fn an_issuer_is_asked_where_its_document_is() {
        let urls: Vec<_> =
            documents(json!({})).issuers.into_iter().map(|issuer| issuer.discovery_url).collect();
        assert_eq!(
            urls,
            ["https://a.example/.well-known/openid-configuration", "https://c.example/d"]
        );
    }

    /// An error of a name among several, or of a type, said what it had found and not where.
    #[test]
    fn every_error_of_a_gateway_configuration_names_its_field() {
        let header = format!("apiVersion: {API_VERSION}\nkind: {KIND}\n");
        for (fields, want) in [
            ("clientImpersonation: keep", "clientImpersonation: unknown variant `keep`"),
            ("impersonation: 'off'", "impersonation: unknown variant `off`"),
            ("limits: {waitSeconds: ten}", "limits.waitSeconds: invalid type: string \"ten\""),
            ("streamExpiry: {atExpiry: stop}", "streamExpiry.atExpiry: unknown"),
            ("allowedReserved: {groups: [1]}", "allowedReserved.groups[0]: invalid type"),
            ("extras: {headers: {a: x}}", "extras.headers.a: invalid type: string \"x\""),
            ("tokenReview: yes", "tokenReview: invalid type"),
            ("kubernetesRules: '1.30'", "kubernetesRules: Kubernetes \"1.30\""),
            ("limit: {}", "limit: unknown field `limit`"),
            ("limits: {token: 1}", "limits.token: unknown field `token`"),
            ("limits: {waitSeconds: 99}", "limits.waitSeconds: Invalid value: 99"),
        ] {
            let error = parse_gateway(format!("{header}{fields}").as_bytes()).unwrap_err();
            let want = format!("GatewayConfiguration: {want}");
            assert!(error.to_string().starts_with(&want), "{error} / {want}");
        }
        let error = parse_gateway(b"[]").unwrap_err().to_string();
        assert!(error.starts_with("GatewayConfiguration: invalid type: sequence"), "{error}");
    }
}
