//! `GatewayConfiguration`: what the gateway does beyond authentication.
//!
//! Written as Kubernetes' own configuration files are: apiVersion, kind, camelCase fields, unknown fields refused.

use kube_rules::Rules;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    conditions::{Conditions, Fault},
    cors::{Cors, OriginError},
    elevation::Policy,
    logout,
};

use super::clients::ProtectedResource;
use super::conditions::{self, Condition};
use super::elevation::Elevation;
use super::groups::{self, GroupCache, GroupSource};
use super::introspection::{self, Introspection};
use super::policies::{
    AccessPolicy, ClientImpersonation, DistributedGroups, Extras, Impersonation, KeySetPolicy,
    Limits, Logout, OriginalUser, Reserved, ReviewPolicy, SharedSecret, StreamExpiry,
    TokenCachePolicy, TokenReview,
};
use super::section::Bound;

pub use crate::documents::API_VERSION;

/// The `kind` of [`GatewayConfiguration`].
pub const KIND: &str = "GatewayConfiguration";

/// The gateway's own settings. Every field has a default, so that an empty document is a working one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayConfiguration {
    /// The minor of Kubernetes by whose rules configurations, tokens and key sets are read. They should be those of the cluster. 1.38 is as
    /// of its beta.
    pub kubernetes_rules: Rules,
    /// Whether requests travel on under the gateway's credential, as the token's user, or with the token itself.
    pub impersonation: Impersonation,
    /// What happens to the `Impersonate-*` headers of a client (`kubectl --as`). While `impersonation` is `disabled` the default is `reject`.
    pub client_impersonation: ClientImpersonation,
    /// How the signed-in user is named in requests that it makes as somebody else.
    pub original_user: OriginalUser,
    /// Names beginning with `system:` that a token may carry all the same, after prefixing.
    pub allowed_reserved: Reserved,
    /// What travels as `Impersonate-Extra-*` beyond the extras of the claim mappings.
    pub extras: Extras,
    /// Tokens that no issuer of the `AuthenticationConfiguration` has issued.
    pub token_review: TokenReview,
    /// Tokens that a portal, or kubehook, signed with a shared secret.
    pub shared_secret: SharedSecret,
    /// Issuers that are asked about their tokens (RFC 7662): those that are no JWT, or that do not say who the user is.
    pub introspection: Vec<Introspection>,
    /// Where groups that are not in the token itself may be fetched.
    pub distributed_groups: DistributedGroups,
    /// Servers that know the groups of users whose tokens do not have them, or not all.
    pub group_sources: Vec<GroupSource>,
    /// How long what they answer is remembered.
    pub group_cache: GroupCache,
    /// Bounds on the questions that are asked of the API server.
    pub reviews: ReviewPolicy,
    /// Whether long-running requests end with the token that began them.
    pub stream_expiry: StreamExpiry,
    /// When the issuers' key sets are fetched.
    pub key_sets: KeySetPolicy,
    /// How long verified tokens are remembered.
    pub token_cache: TokenCachePolicy,
    /// How the documents are followed that say whose access has ended.
    pub access: AccessPolicy,
    /// Where issuers say that a session has ended.
    pub logout: Logout,
    /// Bounds on what one request may ask of the gateway.
    pub limits: Limits,
    /// The origins whose pages may use the API from a browser (CORS): Go's regular expressions, as kube-apiserver's
    /// `--cors-allowed-origins` has them. None means that no page of another origin may.
    pub cors_allowed_origins: Vec<String>,
    /// What clients are told without a login, so that they find their issuer by themselves (RFC 9728).
    pub protected_resource: ProtectedResource,
    /// What requests must fulfil beyond what their users may do. The first that one does not fulfil refuses it.
    pub conditions: Vec<Condition>,
    /// Groups that are lent for a time, by a `Grants` document.
    pub elevation: Elevation,
}

/// Why a `GatewayConfiguration` is refused.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Not of the document's shape; the text names the field.
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
    /// Another `apiVersion` or `kind`.
    #[error("{field}: Invalid value: {got:?}: must be {want:?}")]
    Type {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What the document says.
        got: String,
        /// What it must say.
        want: &'static str,
    },
    /// An extra that cannot travel as a header.
    #[error("extras.headers[{key:?}]: Invalid value: {why}")]
    Extra {
        /// The extra's key.
        key: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A prefix that no extra's key can have.
    #[error(
        "originalUser.prefix: Invalid value: {0:?}: must be lower-case letters, digits, '.', '-', '_' or '/'"
    )]
    Prefix(String),
    /// What clients are told cannot be meant.
    #[error("protectedResource.{field}: Invalid value: {got:?}: {why}")]
    ProtectedResource {
        /// The field's path in `protectedResource`.
        field: String,
        /// What the document says.
        got: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A path that is kube-apiserver's, or none.
    #[error("logout.path: Invalid value: {0:?}: {1}")]
    LogoutPath(String, &'static str),
    /// An item of `introspection` that cannot be meant.
    #[error("{field}: Invalid value: {got:?}: {why}")]
    Introspection {
        /// The field's path.
        field: String,
        /// What the document says.
        got: String,
        /// What is wrong.
        why: String,
    },
    /// A group source that cannot be meant.
    #[error("{field}: Invalid value: {got:?}: {why}")]
    GroupSource {
        /// The field's path.
        field: String,
        /// What the document says.
        got: String,
        /// What is wrong.
        why: String,
    },
    /// A condition, or a rule of elevation, that cannot be meant.
    #[error("{0}")]
    Condition(#[from] Fault),
    /// Half a setting would take no token, or any.
    #[error("sharedSecret: Required value: audience and secretFiles go together")]
    SharedSecret,
    /// An origin that is no expression, or one that matches other hosts too.
    #[error("corsAllowedOrigins[{index}]: Invalid value: {got:?}: {why}")]
    Origin {
        /// Its place.
        index: usize,
        /// What the document says.
        got: String,
        /// What is wrong.
        why: OriginError,
    },
    /// Requests that travel with their own token are impersonated by the API server's own rules.
    #[error(
        "clientImpersonation: Invalid value: \"authorize\": must be \"strip\" or \"reject\" while impersonation is \"disabled\""
    )]
    NothingToAuthorize,
    /// Requests that travel with their own token have the groups that the API server reads there.
    #[error(
        "elevation.rules: Invalid value: must be empty while impersonation is \"disabled\": there is no header for a lent group"
    )]
    NothingToLend,
    /// A value out of its range.
    #[error("{}: Invalid value: {}: must be {}", .0.field, .0.value, .0.rule)]
    Range(Bound),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(flatten)]
    rest: Value,
}

impl GatewayConfiguration {
    /// The document's JSON schema, with the descriptions of its fields.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(GatewayConfiguration).to_value()
    }

    /// Checks a document that has been read from JSON or YAML.
    pub fn from_value(document: Value) -> Result<Self, GatewayError> {
        let Document { api_version, kind, rest } = serde_json::from_value(document)?;
        for (field, got, want) in [("apiVersion", api_version, API_VERSION), ("kind", kind, KIND)] {
            if got != want {
                return Err(GatewayError::Type { field, got, want });
            }
        }
        let is_said = rest.get("clientImpersonation").is_some();
        let mut configuration: Self = serde_json::from_value(rest)?;
        if !is_said {
            configuration.client_impersonation =
                ClientImpersonation::unless_said(configuration.impersonation);
        }
        configuration.check()?;
        Ok(configuration)
    }

    /// Its numbers: the field's path, the value, and what is allowed, in numbers and in words.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bound> {
        [
            self.original_user.bounds("originalUser"),
            self.allowed_reserved.bounds("allowedReserved"),
            self.extras.bounds("extras"),
            self.token_review.bounds("tokenReview"),
            self.shared_secret.bounds("sharedSecret"),
            self.distributed_groups.bounds("distributedGroups"),
            self.group_cache.bounds("groupCache"),
            self.reviews.bounds("reviews"),
            self.stream_expiry.bounds("streamExpiry"),
            self.key_sets.bounds("keySets"),
            self.token_cache.bounds("tokenCache"),
            self.access.bounds("access"),
            self.logout.bounds("logout"),
            self.limits.bounds("limits"),
            self.protected_resource.bounds("protectedResource"),
            introspection::bounds(&self.introspection),
            self.sources_bounds(),
            self.elevation.bounds("elevation"),
        ]
        .concat()
    }

    fn sources_bounds(&self) -> Vec<Bound> {
        let of = |(index, source): (usize, &GroupSource)| {
            let path = format!("groupSources[{index}]");
            let on_failure = source.on_failure.bounds(&format!("{path}.onFailure"));
            source.bounds(&path).into_iter().chain(on_failure)
        };
        self.group_sources.iter().enumerate().flat_map(of).collect()
    }

    /// The origins whose pages may use the API, if there are any.
    pub(crate) fn cors(&self) -> Result<Option<Cors>, GatewayError> {
        Cors::new(&self.cors_allowed_origins).map_err(|(index, why)| {
            let got = self.cors_allowed_origins.get(index).cloned().unwrap_or_default();
            GatewayError::Origin { index, got, why }
        })
    }

    /// What requests must fulfil.
    ///
    /// # Errors
    /// If a condition cannot be meant.
    pub fn conditions(&self) -> Result<Conditions, GatewayError> {
        Ok(conditions::compile(&self.conditions, self.kubernetes_rules)?)
    }

    /// Which groups may be lent.
    ///
    /// # Errors
    /// If a rule cannot be meant.
    pub fn elevation_policy(&self) -> Result<Policy, GatewayError> {
        Ok(self.elevation.policy(self.kubernetes_rules)?)
    }

    /// Checks one that was made of something else than a document.
    pub fn check(&self) -> Result<(), GatewayError> {
        if let Some(bound) =
            self.bounds().into_iter().find(|bound| !bound.allowed.contains(&bound.value))
        {
            return Err(GatewayError::Range(bound));
        }
        for (key, values) in &self.extras.headers {
            if let Some(why) = super::policies::bad_extra(key, values) {
                return Err(GatewayError::Extra { key: key.clone(), why });
            }
        }
        self.cors()?;
        self.conditions()?;
        if let Some((field, got, why)) = groups::fault(&self.group_sources) {
            return Err(GatewayError::GroupSource { field, got, why: why.to_owned() });
        }
        if !self.elevation_policy()?.is_empty() && self.impersonation == Impersonation::Disabled {
            return Err(GatewayError::NothingToLend);
        }
        if let Some(why) = logout::fault(&self.logout.path) {
            return Err(GatewayError::LogoutPath(self.logout.path.clone(), why));
        }
        if let Some((field, got, why)) = self.protected_resource.fault() {
            return Err(GatewayError::ProtectedResource { field, got: got.to_owned(), why });
        }
        if let Some((field, got, why)) = introspection::fault(&self.introspection) {
            return Err(GatewayError::Introspection { field, got, why });
        }
        if self.shared_secret.audience.is_empty() != self.shared_secret.secret_files.is_empty() {
            return Err(GatewayError::SharedSecret);
        }
        if self.original_user.enabled && super::policies::bad_prefix(&self.original_user.prefix) {
            return Err(GatewayError::Prefix(self.original_user.prefix.clone()));
        }
        if self.impersonation == Impersonation::Disabled
            && self.client_impersonation == ClientImpersonation::Authorize
        {
            return Err(GatewayError::NothingToAuthorize);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An audience without a secret, or a secret for any audience, is a mistake.
    #[test]
    fn a_shared_secret_needs_its_audience() {
        for (shared, good) in [
            (json!({}), true),
            (json!({"audience": "a", "secretFiles": ["/s"]}), true),
            (json!({"audience": "a"}), false),
            (json!({"secretFiles": ["/s"]}), false),
            (json!({"secret": "s"}), false),
        ] {
            let document = json!({"apiVersion": API_VERSION, "kind": KIND, "sharedSecret": shared});
            let result = GatewayConfiguration::from_value(document);
            assert_eq!(result.is_ok(), good, "{result:?}");
        }
    }

    /// What is told to strangers, and written into their files, is plain; half a setting is a mistake.
    #[test]
    fn what_clients_are_told_is_plain() {
        let url = "https://gateway.example";
        let client = |issuer: &str, id: &str, scopes: &[&str]| json!({"url": url, "clients": [{"issuer": issuer, "clientID": id, "scopes": scopes}]});
        let twice = json!({"issuer": "https://i", "clientID": "c"});
        for (told, want) in [
            (json!({}), None),
            (json!({"url": url, "clusterName": "prod: \"$(x)\" #"}), None),
            (json!({"url": "https://gateway.example:8443"}), None),
            (json!({"url": "https://[2001:db8::1]:8443"}), None),
            (client("https://i", "a b \"$(c)", &["groups", "api://x/.default"]), None),
            (json!({"url": "http://gateway.example"}), Some("protectedResource.url: ")),
            (json!({"url": "https://gateway.example/"}), Some("without a path")),
            (json!({"url": "https://gateway.example/k8s"}), Some("without a path")),
            (json!({"url": "https://gateway.example?a"}), Some("protectedResource.url")),
            (json!({"url": "https://gateway.example#a"}), Some("protectedResource.url")),
            (json!({"url": "https://u@gateway.example"}), Some("protectedResource.url")),
            (json!({"url": "https://gateway.example:443"}), Some("protectedResource.url")),
            (json!({"url": "https://Gateway.example"}), Some("lower case")),
            (json!({"url": "https://a\"b.example"}), Some("protectedResource.url")),
            (json!({"url": "https://"}), Some("protectedResource.url")),
            (json!({"clusterName": "prod"}), Some("protectedResource.url: Invalid value: \"\"")),
            (json!({"clients": [twice]}), Some("protectedResource.url: Invalid value: \"\"")),
            (json!({"url": url, "clusterName": " prod"}), Some("protectedResource.clusterName: ")),
            (json!({"url": url, "clusterName": "a\nb"}), Some("protectedResource.clusterName: ")),
            (json!({"url": url, "clusterName": "a\u{202e}b"}), Some("clusterName: ")),
            // A Cyrillic "o", and a space that has no width.
            (json!({"url": url, "clusterName": "pr\u{43e}d"}), Some("printable ASCII")),
            (json!({"url": url, "clusterName": "prod\u{200b}"}), Some("printable ASCII")),
            (json!({"url": url, "clusterName": "a".repeat(254)}), Some("clusterName: ")),
            (client("https://i", "", &[]), Some("protectedResource.clients[0].clientID: ")),
            (client("https://i", "é", &[]), Some("protectedResource.clients[0].clientID: ")),
            (client("https://i", "c", &["a b"]), Some("protectedResource.clients[0].scopes[0]: ")),
            (client("https://i", "c", &["a", "b,c"]), Some("clients[0].scopes[1]: ")),
            (client("https://i", "c", &[""]), Some("clients[0].scopes[0]: ")),
            (
                json!({"url": url, "clients": [twice, twice]}),
                Some("protectedResource.clients[1].issuer: Invalid value: \"https://i\""),
            ),
            (json!({"url": url, "clients": [{"id": "c"}]}), Some("unknown field `id`")),
            (json!({"uri": url}), Some("unknown field `uri`")),
        ] {
            let document =
                json!({"apiVersion": API_VERSION, "kind": KIND, "protectedResource": told});
            match (GatewayConfiguration::from_value(document), want) {
                (Ok(_), None) => {}
                (Err(got), Some(want)) => {
                    assert!(got.to_string().contains(want), "{got} / {want}");
                }
                (got, want) => panic!("{told}: {got:?} / {want:?}"),
            }
        }
    }

    #[test]
    fn documents_are_strict_and_every_error_names_its_field() {
        for (document, want) in [
            (json!({}), Ok(())),
            (json!({"allowedReserved": {"groups": ["system:viewers"]}}), Ok(())),
            (json!({"clientImpersonation": "strip"}), Ok(())),
            (json!({"impersonation": "disabled"}), Ok(())),
            (
                json!({"impersonation": "disabled", "clientImpersonation": "authorize"}),
                Err("clientImpersonation: Invalid value: \"authorize\""),
            ),
            (json!({"kubernetesRules": "1.36"}), Ok(())),
            (json!({"kubernetesRules": 1.38}), Ok(())),
            (json!({"kubernetesRules": "1.35"}), Err("Kubernetes \"1.35\": the rules of 1.36")),
            (json!({"clientImpersonation": "keep"}), Err("unknown variant `keep`")),
            (json!({"apiVersion": "v1"}), Err("apiVersion: Invalid value: \"v1\"")),
            (json!({"kind": "Gateway"}), Err("kind: Invalid value")),
            (json!({"limit": {}}), Err("unknown field `limit`")),
            (json!({"logout": {"path": "/oidc/logout"}}), Ok(())),
            (
                json!({"logout": {"path": "/api"}}),
                Err("logout.path: Invalid value: \"/api\": must"),
            ),
            (json!({"logout": {"lifetimeSeconds": 1}}), Err("logout.lifetimeSeconds")),
            (json!({"access": {"maximumStalenessSeconds": 1}}), Err("access.maximumStaleness")),
            (json!({"corsAllowedOrigins": ["^https://a$"]}), Ok(())),
            (
                json!({"corsAllowedOrigins": ["a[.]example"]}),
                Err(
                    "corsAllowedOrigins[0]: Invalid value: \"a[.]example\": regular expression does not pin",
                ),
            ),
            (json!({"limits": {"tokens": 1}}), Err("unknown field `tokens`")),
            (json!({"limits": {"waitSeconds": 0}}), Err("limits.waitSeconds: Invalid value: 0")),
            (json!({"limits": {"waitSeconds": 15}}), Err("limits.waitSeconds")),
            (json!({"keySets": {"defaultLifetimeSeconds": 5}}), Err("keySets.defaultLifetime")),
        ] {
            let mut whole = json!({"apiVersion": API_VERSION, "kind": KIND});
            whole.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
            match (GatewayConfiguration::from_value(whole), want) {
                (Ok(_), Ok(())) => {}
                (Err(got), Err(want)) => {
                    assert!(got.to_string().contains(want), "{got} / {want}");
                }
                (got, want) => panic!("{document}: {got:?} / {want:?}"),
            }
        }
    }

    /// `kubectl --as` means the same with a document as without one: adding a field that has nothing to do with it made
    /// `auth can-i --as=bob` answer for oneself.
    #[test]
    fn a_document_does_not_change_what_as_means() {
        use ClientImpersonation::{Authorize, Reject, Strip};
        assert_eq!(GatewayConfiguration::default().client_impersonation, Authorize);
        for (fields, want) in [
            (json!({}), Authorize),
            (json!({"allowedReserved": {"groups": ["system:viewers"]}}), Authorize),
            (json!({"impersonation": "enabled"}), Authorize),
            // There is nobody to authorise it.
            (json!({"impersonation": "disabled"}), Reject),
            (json!({"impersonation": "disabled", "clientImpersonation": "strip"}), Strip),
            (json!({"clientImpersonation": "strip"}), Strip),
            (json!({"clientImpersonation": "reject"}), Reject),
        ] {
            let mut document = json!({"apiVersion": API_VERSION, "kind": KIND});
            document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let read = GatewayConfiguration::from_value(document).unwrap();
            assert_eq!(read.client_impersonation, want, "{fields}");
        }
    }

    #[test]
    fn defaults_pass_their_own_check() {
        GatewayConfiguration::default().check().unwrap();
    }
}
