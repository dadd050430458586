//! The filter's configuration: one JSON document that holds the two documents users write.
//!
//! Envoy hands the filter a `StringValue`; a `Struct` is not turned into JSON by it. The program `kube-oidc-gateway`
//! writes the document, people who embed the filter in their own Envoy write it by hand.

mod callouts;
mod clients;
mod conditions;
mod elevation;
mod gateway;
pub mod groups;
mod introspection;
mod policies;
mod section;

pub use callouts::{
    AssertionGrant, CalloutCredential, CheckedCredential, ClientCertificate, ClientCredentials,
    SignedAssertion,
};
pub use clients::{ProtectedResource, PublicClient};
pub use conditions::{Condition, RequiredLogin};
pub use elevation::{Elevation, ElevationRule};
pub use gateway::{API_VERSION, GatewayConfiguration, GatewayError, KIND};
pub use groups::{GroupCache, GroupSource, GroupValue, OnFailure, Pages, Provider, When};
pub use introspection::{
    INTROSPECTION, IntrospectedTokens, Introspection, IntrospectionEndpoint, UnknownIntrospected,
    by_prefix, for_jwts, for_opaque, introspected_issuers,
};
pub use policies::{
    AccessPolicy, AtExpiry, ClientImpersonation, DistributedGroups, Extras, Impersonation,
    KeySetPolicy, Limits, Logout, OriginalUser, Reserved, ReviewPolicy, SharedSecret, StreamExpiry,
    TokenCachePolicy, TokenReview,
};
pub use section::Bound;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube_authn::{
    Rules,
    config::{self as authn, AuthenticationConfiguration},
    crypto::{Algorithm, UnknownAlgorithm},
    discovery::{Endpoint, EndpointError},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    access::{self, Documents, DocumentsError, Envelope, Revocations},
    conditions::Conditions,
    cors::Cors,
    elevation::Policy,
    groups::{GroupSources, SourceFault},
    portal_keys::KeyRing,
    protected_resource::{self, UnknownIssuer},
};

/// What the names of [`PluginConfiguration::callout_clusters`] begin with for group sources.
pub const GROUP_SOURCES: &str = "groupSources";

/// The document as it stands in Envoy's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginConfiguration {
    /// An `AuthenticationConfiguration` (apiserver.config.k8s.io), as kube-apiserver would take it.
    pub authentication_configuration: Value,
    /// A [`GatewayConfiguration`]; absent means all defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_configuration: Option<Value>,
    /// The Envoy cluster that reaches an issuer, by `issuer.url`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub issuer_clusters: BTreeMap<String, String>,
    /// The Envoy cluster for every issuer that `issuerClusters` does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_issuer_cluster: Option<String>,
    /// The Envoy cluster that reaches the API server with the gateway's credential, for reviews. No route may name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_cluster: Option<String>,
    /// The Envoy clusters that reach servers beside the issuers, by what asks them: `groupSources/NAME` or `introspection/NAME`. Each leads to one server, with
    /// the credential for it. No route may name one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub callout_clusters: BTreeMap<String, String>,
    /// The algorithms that tokens may be signed with (RFC 7518, section 3.1); empty means all that kube-apiserver knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_algorithms: Vec<String>,
    /// Whether the network filter that counts connections without a user stands before the connection manager. It has to be told
    /// of which connections somebody is known, which costs each request a host call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts_connections: bool,
    /// A [`Revocations`](crate::access::Revocations) that does not change while the filter runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations: Option<Revocations>,
    /// The Envoy cluster that reaches who holds such documents, and has newer ones while the filter runs. No route may name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_cluster: Option<String>,
    /// Set where a portal asks this filter whose a token is: the `iss` of the tokens that the portal signs, or nothing (`""`) if it has no key
    /// that others can check. Tokens of this issuer, and those of `sharedSecret`, say with which login they were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portal_issuer: Option<String>,
}

/// A [`PluginConfiguration`] whose parts are all valid. Workers of several threads may share it.
#[derive(Debug)]
pub struct Configuration {
    /// Issuers, rules and mappings.
    pub authentication: AuthenticationConfiguration,
    /// The gateway's own settings.
    pub gateway: GatewayConfiguration,
    /// The cluster of each issuer, in the order of `authentication.jwt()`.
    pub clusters: Vec<String>,
    /// The cluster for reviews; empty where none are needed.
    pub review_cluster: String,
    /// Whom to ask about tokens, in the order of `gateway.introspection`.
    pub introspection: Vec<IntrospectionEndpoint>,
    /// The clusters of servers beside those, by what asks them.
    pub callout_clusters: BTreeMap<String, String>,
    /// Where groups are that are not in a token.
    pub group_sources: GroupSources,
    /// The algorithms that tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// Whether somebody counts connections of which nobody is known.
    pub counts_connections: bool,
    /// The origins whose pages may use the API from a browser, if there are any.
    pub cors: Option<Cors>,
    /// What requests must fulfil.
    pub conditions: Conditions,
    /// Which groups may be lent.
    pub elevation: Policy,
    /// The documents that never change, if there are any.
    pub documents: Option<Arc<Documents>>,
    /// Who holds those that do, if anybody.
    pub documents_source: Option<access::Source>,
    /// The issuer of the portal that asks here, if one does.
    pub portal_issuer: Option<String>,
    /// What a 401 says of where to log in, if strangers are told.
    pub challenge: Option<Arc<str>>,
    /// The secrets of `sharedSecret`, which the document does not hold: the adapter gets them elsewhere.
    pub shared_keys: Option<KeyRing>,
}

/// Why the filter refuses its configuration. Each text names the field.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// Not JSON, or not of the document's shape.
    #[error("plugin configuration: {0}")]
    Shape(#[from] serde_json::Error),
    /// The `AuthenticationConfiguration` is refused; one error for each fault, as kube-apiserver words it.
    #[error("authenticationConfiguration: {0}")]
    Authentication(#[from] authn::ConfigErrors),
    /// The `GatewayConfiguration` is refused.
    #[error("gatewayConfiguration: {0}")]
    Gateway(#[from] GatewayError),
    /// A group source that cannot be meant.
    #[error("gatewayConfiguration: {0}")]
    GroupSource(#[from] SourceFault),
    /// A group source, or an introspection endpoint, that no cluster reaches.
    #[error("calloutClusters: Required value: no cluster for {0:?}")]
    NoCalloutCluster(String),
    /// A cluster for what asks nobody: a typing error would leave the real one without.
    #[error("calloutClusters[{0:?}]: nothing in gatewayConfiguration asks by it")]
    UnknownCalloutCluster(String),
    /// A client of an issuer that there is not.
    #[error("gatewayConfiguration: {0}")]
    UnknownClient(#[from] UnknownIssuer),
    /// An issuer whose discovery document cannot be asked for.
    #[error("authenticationConfiguration: {0}")]
    Unreachable(#[from] UnreachableIssuer),
    /// An issuer that no cluster reaches.
    #[error(
        "issuerClusters: no cluster for issuer {0:?}; name one there, or set defaultIssuerCluster"
    )]
    NoCluster(String),
    /// Reviews are needed, and no cluster is there for them.
    #[error("reviewCluster: Required value: {0} asks the API server")]
    NoReviewCluster(&'static str),
    /// A cluster for an issuer that does not exist: a typing error would leave the real one without.
    #[error("issuerClusters[{0:?}]: no such issuer in authenticationConfiguration")]
    UnknownIssuer(String),
    /// An issuer that is to be asked about its tokens, and is none.
    #[error("gatewayConfiguration: {0}")]
    UnknownIntrospected(#[from] UnknownIntrospected),
    /// The static document is refused.
    #[error("{0}")]
    Documents(#[from] DocumentsError),
    /// Logout tokens that nobody takes.
    #[error(
        "gatewayConfiguration: logout.path: Invalid value: {0:?}: needs accessCluster: who holds the documents takes logout tokens"
    )]
    NobodyTakesLogouts(String),
    /// Two sources of the same documents.
    #[error("accessCluster: Invalid value: {0:?}: must not be given beside revocations")]
    TwoRevocations(String),
    /// A signing algorithm that there is not.
    #[error("signingAlgorithms: {0}")]
    Algorithm(#[from] UnknownAlgorithm),
}

/// An issuer whose discovery document cannot be asked for, though kube-apiserver would take its URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("issuer {issuer:?}: its discovery document at {url:?} cannot be asked for: {error}")]
pub struct UnreachableIssuer {
    /// `issuer.url`.
    issuer: String,
    /// Where the document is.
    url: String,
    /// What is wrong with that.
    error: EndpointError,
}

/// Checks that every issuer can be asked.
///
/// # Errors
/// The first one that cannot.
pub fn check_issuers(
    authentication: &AuthenticationConfiguration,
) -> Result<(), UnreachableIssuer> {
    for jwt in authentication.jwt() {
        let url = jwt.discovery_url();
        if let Err(error) = Endpoint::parse(&url) {
            return Err(UnreachableIssuer { issuer: jwt.issuer_url().to_owned(), url, error });
        }
    }
    Ok(())
}

impl Configuration {
    /// Whether the filter itself reads the client's `Impersonate-*` headers; otherwise Envoy strips them before it.
    #[must_use]
    pub fn reads_impersonation(&self) -> bool {
        self.gateway.client_impersonation != ClientImpersonation::Strip
    }

    /// The names that metrics are given places of: the issuers, after them the conditions, and after these the group sources.
    #[must_use]
    pub fn metric_names(&self) -> Vec<String> {
        let issuers = self.authentication.jwt().iter().map(authn::JwtAuthenticator::issuer_url);
        let names = issuers.chain(self.conditions.names()).chain(self.group_sources.names());
        names.map(str::to_owned).collect()
    }

    /// Reads and checks the whole document.
    pub fn parse(document: &[u8]) -> Result<Self, ConfigurationError> {
        let raw: PluginConfiguration = serde_json::from_slice(document)?;
        // The authenticators' loader reads text, so that it can see duplicate fields; here the text has been read.
        let text = serde_json::to_vec(&raw.authentication_configuration)?;
        let gateway = match raw.gateway_configuration {
            Some(value) => GatewayConfiguration::from_value(value)?,
            None => GatewayConfiguration::default(),
        };
        let options =
            authn::LoadOptions { rules: gateway.kubernetes_rules, ..authn::LoadOptions::default() };
        let authentication = authn::load(&text, &options)?;
        check_issuers(&authentication)?;
        protected_resource::document(&gateway, authentication.raw())?;
        let clusters =
            clusters(&authentication, raw.issuer_clusters, raw.default_issuer_cluster.as_deref())?;
        let review_cluster = review_cluster(&gateway, raw.review_cluster)?;
        let group_sources =
            GroupSources::new(&gateway.group_sources, gateway.kubernetes_rules, &authentication)?;
        let introspection = endpoints(&gateway, &authentication, &raw.callout_clusters)?;
        check_callouts(&gateway, &raw.callout_clusters)?;
        let algorithms = algorithms(&raw.signing_algorithms, gateway.kubernetes_rules)?;
        let documents = raw.revocations.map(|revocations| {
            let envelope = Envelope { revocations: Some(revocations), ..Envelope::default() };
            Documents::new(&envelope, "", 1).map(Arc::new)
        });
        let documents = documents.transpose()?;
        if let (Some(cluster), true) = (&raw.access_cluster, documents.is_some()) {
            return Err(ConfigurationError::TwoRevocations(cluster.clone()));
        }
        if !gateway.logout.path.is_empty() && raw.access_cluster.is_none() {
            return Err(ConfigurationError::NobodyTakesLogouts(gateway.logout.path));
        }
        let documents_source = raw.access_cluster.map(|cluster| access::Source {
            cluster,
            maximum_staleness: Duration::from_secs(gateway.access.maximum_staleness_seconds.into()),
        });
        Ok(Self {
            authentication,
            clusters,
            documents,
            documents_source,
            portal_issuer: raw.portal_issuer,
            review_cluster,
            introspection,
            callout_clusters: raw.callout_clusters,
            group_sources,
            algorithms,
            counts_connections: raw.counts_connections,
            cors: gateway.cors()?,
            conditions: gateway.conditions()?,
            elevation: gateway.elevation_policy()?,
            challenge: protected_resource::challenge(&gateway.protected_resource).map(Arc::from),
            gateway,
            shared_keys: None,
        })
    }
}

fn algorithms(names: &[String], rules: Rules) -> Result<Vec<Algorithm>, UnknownAlgorithm> {
    match names {
        [] => Ok(Algorithm::ALL.to_vec()),
        names => names.iter().map(|name| Algorithm::named(name, rules)).collect(),
    }
}

fn review_cluster(
    gateway: &GatewayConfiguration,
    cluster: Option<String>,
) -> Result<String, ConfigurationError> {
    let asker = if gateway.client_impersonation == ClientImpersonation::Authorize {
        Some("clientImpersonation: authorize")
    } else if gateway.token_review.enabled {
        Some("tokenReview")
    } else {
        None
    };
    match (cluster, asker) {
        (None, Some(asker)) => Err(ConfigurationError::NoReviewCluster(asker)),
        (cluster, _) => Ok(cluster.unwrap_or_default()),
    }
}

fn endpoints(
    gateway: &GatewayConfiguration,
    authentication: &AuthenticationConfiguration,
    named: &BTreeMap<String, String>,
) -> Result<Vec<IntrospectionEndpoint>, ConfigurationError> {
    let issuers = introspected_issuers(&gateway.introspection, authentication)?;
    let endpoints = gateway.introspection.iter().zip(issuers).map(|(policy, issuer)| {
        let asker = policy.asker();
        let cluster = named.get(&asker).cloned();
        cluster
            .and_then(|cluster| IntrospectionEndpoint::new(policy, issuer, cluster))
            .ok_or(ConfigurationError::NoCalloutCluster(asker))
    });
    endpoints.collect()
}

/// Checks that each server beside the issuers has a cluster, and that there is no other.
fn check_callouts(
    gateway: &GatewayConfiguration,
    named: &BTreeMap<String, String>,
) -> Result<(), ConfigurationError> {
    let sources =
        gateway.group_sources.iter().map(|source| format!("{GROUP_SOURCES}/{}", source.name));
    let askers: Vec<_> =
        sources.chain(gateway.introspection.iter().map(Introspection::asker)).collect();
    if let Some(asker) = askers.iter().find(|asker| !named.contains_key(*asker)) {
        return Err(ConfigurationError::NoCalloutCluster(asker.clone()));
    }
    match named.keys().find(|name| !askers.contains(name)) {
        None => Ok(()),
        Some(name) => Err(ConfigurationError::UnknownCalloutCluster(name.clone())),
    }
}

fn clusters(
    authentication: &AuthenticationConfiguration,
    mut named: BTreeMap<String, String>,
    default: Option<&str>,
) -> Result<Vec<String>, ConfigurationError> {
    let clusters = authentication
        .jwt()
        .iter()
        .map(|jwt| {
            let url = jwt.issuer_url();
            named
                .remove(url)
                .or_else(|| default.map(str::to_owned))
                .ok_or_else(|| ConfigurationError::NoCluster(url.to_owned()))
        })
        .collect::<Result<_, _>>()?;
    match named.into_keys().next() {
        None => Ok(clusters),
        Some(url) => Err(ConfigurationError::UnknownIssuer(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rest: &str) -> String {
        format!(
            r#"{{"reviewCluster": "r", "authenticationConfiguration": {{
                "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
                "jwt": [{{"issuer": {{"url": "https://issuer.example", "audiences": ["a"]}},
                          "claimMappings": {{"username": {{"claim": "sub", "prefix": ""}}}}}}]}}{rest}}}"#
        )
    }

    /// kube-apiserver encodes what is no URL as it stands; the filter said "not a URL" for ever.
    #[test]
    fn issuers_are_asked_as_kube_apiserver_asks_them_or_refused_at_once() {
        for (url, want) in [
            ("https://issuer.example/my realm/é", Ok(())),
            (
                "https://bücher.example",
                Err(
                    "issuer \"https://bücher.example\": its discovery document at \"https://bücher.example/.well-known/openid-configuration\" cannot be asked for: the host must be ASCII",
                ),
            ),
        ] {
            let authentication = crate::testing::configuration_json(&[url]);
            let document = serde_json::json!({
                "authenticationConfiguration": authentication, "defaultIssuerCluster": "issuers",
                "reviewCluster": "r",
            });
            match (Configuration::parse(document.to_string().as_bytes()), want) {
                (Ok(_), Ok(())) => {}
                (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got}"),
                (got, want) => panic!("{url}: {got:?} / {want:?}"),
            }
        }
    }

    /// What is read of a file and of its issuers' keys depends on one field.
    #[test]
    fn the_kubernetes_rules_reach_the_authenticators() {
        let document = |username: &str, rules: &str| {
            let rest = format!(
                r#", "defaultIssuerCluster": "c", "gatewayConfiguration": {{"apiVersion": "{API_VERSION}", "kind": "{KIND}"{rules}}}"#
            );
            let claim = r#"{"claim": "sub", "prefix": ""}"#;
            document(&rest).replace(claim, &format!(r#"{{"expression": "{username}"}}"#))
        };
        for (rules, want) in [
            ("", Rules::V1_37),
            (r#", "kubernetesRules": "1.36""#, Rules::V1_36),
            (r#", "kubernetesRules": "1.38""#, Rules::V1_38),
        ] {
            let read = Configuration::parse(document("claims.sub", rules).as_bytes()).unwrap();
            let rules_of_keys =
                read.authentication.jwt().iter().map(kube_authn::JwtAuthenticator::rules);
            assert_eq!(rules_of_keys.collect::<Vec<_>>(), [want]);
            let escaped = Configuration::parse(document("claims.`sub`", rules).as_bytes());
            assert_eq!(escaped.is_ok(), want > Rules::V1_36, "{escaped:?}");
        }
    }

    #[test]
    fn every_issuer_needs_a_cluster_and_every_cluster_an_issuer() {
        for (rest, want) in [
            (r#", "defaultIssuerCluster": "c""#, Ok("c")),
            (r#", "issuerClusters": {"https://issuer.example": "d"}"#, Ok("d")),
            ("", Err("no cluster for issuer \"https://issuer.example\"")),
            (
                r#", "defaultIssuerCluster": "c", "issuerClusters": {"https://issuer.exmaple": "d"}"#,
                Err("issuerClusters[\"https://issuer.exmaple\"]: no such issuer"),
            ),
            (r#", "issuerCluster": {}"#, Err("unknown field `issuerCluster`")),
            (
                r#", "defaultIssuerCluster": "c", "signingAlgorithms": ["ML-DSA-44"]"#,
                Err("signingAlgorithms: oidc: unsupported signing alg: \"ML-DSA-44\""),
            ),
            (
                r#", "defaultIssuerCluster": "c", "signingAlgorithms": ["ES256", "HS256"]"#,
                Err("signingAlgorithms: oidc: unsupported signing alg: \"HS256\""),
            ),
            (
                r#", "defaultIssuerCluster": "c", "gatewayConfiguration": {"kind": "X"}"#,
                Err("gatewayConfiguration: "),
            ),
        ] {
            let got = Configuration::parse(document(rest).as_bytes());
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got.clusters, [want]),
                (Err(got), Err(want)) => {
                    assert!(got.to_string().contains(want), "{got} / {want}");
                }
                (got, want) => panic!("{rest}: {got:?} / {want:?}"),
            }
        }
    }
}
