//! `GatewayConfiguration`: what the gateway does beyond authentication.
//!
//! Written as Kubernetes' own configuration files are: apiVersion, kind, camelCase fields, unknown fields refused.

use std::ops::RangeInclusive;

use kube_rules::Rules;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cors::{Cors, OriginError};

use super::policies::{
    ClientImpersonation, DistributedGroups, Extras, Impersonation, KeySetPolicy, Limits,
    OriginalUser, ProtectedResource, Reserved, ReviewPolicy, SharedSecret, StreamExpiry,
    TokenCachePolicy, TokenReview,
};

/// The `apiVersion` of [`GatewayConfiguration`].
pub const API_VERSION: &str = "gateway.kube-oidc.dev/v1alpha1";
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
    /// Where groups that are not in the token itself may be fetched.
    pub distributed_groups: DistributedGroups,
    /// Bounds on the questions that are asked of the API server.
    pub reviews: ReviewPolicy,
    /// Whether long-running requests end with the token that began them.
    pub stream_expiry: StreamExpiry,
    /// When the issuers' key sets are fetched.
    pub key_sets: KeySetPolicy,
    /// How long verified tokens are remembered.
    pub token_cache: TokenCachePolicy,
    /// Bounds on what one request may ask of the gateway.
    pub limits: Limits,
    /// The origins whose pages may use the API from a browser (CORS): Go's regular expressions, as kube-apiserver's
    /// `--cors-allowed-origins` has them. None means that no page of another origin may.
    pub cors_allowed_origins: Vec<String>,
    /// What clients are told without a login, so that they find their issuer by themselves (RFC 9728).
    pub protected_resource: ProtectedResource,
}

/// A number of a [`GatewayConfiguration`] and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The field's path.
    pub field: &'static str,
    /// Its value.
    pub value: u32,
    /// What is allowed.
    pub allowed: RangeInclusive<u32>,
    /// The same in words.
    pub rule: &'static str,
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
    /// A value out of its range.
    #[error("{field}: Invalid value: {got}: must be {rule}")]
    Range {
        /// The field's path.
        field: &'static str,
        /// What the document says.
        got: u32,
        /// What is allowed.
        rule: &'static str,
    },
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
        let keys = &self.key_sets;
        let limits = &self.limits;
        let cache = &self.token_cache;
        let reviews = &self.reviews;
        let bounds = [
            ("reviews.timeoutSeconds", reviews.timeout_seconds, 1..=14, "1 to 14"),
            ("reviews.cacheSeconds", reviews.cache_seconds, 0..=300, "0 to 300"),
            ("reviews.maximumValues", reviews.maximum_values, 1..=1000, "1 to 1000"),
            (
                "reviews.tokenReviewsPerSecond",
                reviews.token_reviews_per_second,
                1..=10_000,
                "1 to 10000",
            ),
            (
                "reviews.maximumBytes",
                reviews.maximum_bytes,
                1 << 20..=256 << 20,
                "1048576 to 268435456",
            ),
            (
                "streamExpiry.graceSeconds",
                self.stream_expiry.grace_seconds,
                0..=86_400,
                "0 to 86400",
            ),
            ("keySets.timeoutSeconds", keys.timeout_seconds, 1..=120, "1 to 120"),
            ("keySets.minimumRefetchSeconds", keys.minimum_refetch_seconds, 1..=3600, "1 to 3600"),
            (
                "keySets.minimumLifetimeSeconds",
                keys.minimum_lifetime_seconds,
                1..=keys.maximum_lifetime_seconds,
                "1 to keySets.maximumLifetimeSeconds",
            ),
            (
                "keySets.defaultLifetimeSeconds",
                keys.default_lifetime_seconds,
                keys.minimum_lifetime_seconds..=keys.maximum_lifetime_seconds,
                "between keySets.minimumLifetimeSeconds and keySets.maximumLifetimeSeconds",
            ),
            (
                "keySets.maximumLifetimeSeconds",
                keys.maximum_lifetime_seconds,
                1..=604_800,
                "1 to 604800",
            ),
            (
                "keySets.maximumBytes",
                keys.maximum_bytes,
                1024..=KeySetPolicy::MOST_BYTES,
                "1024 to 8388608",
            ),
            (
                "keySets.maximumWithdrawnSeconds",
                keys.maximum_withdrawn_seconds,
                0..=604_800,
                "0 to 604800",
            ),
            (
                "keySets.maximumOutageSeconds",
                keys.maximum_outage_seconds,
                0..=604_800,
                "0 to 604800",
            ),
            ("tokenCache.maximumEntries", cache.maximum_entries, 1..=1_000_000, "1 to 1000000"),
            (
                "tokenCache.maximumBytes",
                cache.maximum_bytes,
                64 << 10..=256 << 20,
                "65536 to 268435456",
            ),
            ("tokenCache.timeToLiveSeconds", cache.time_to_live_seconds, 1..=86_400, "1 to 86400"),
            ("limits.tokenBytes", limits.token_bytes, 256..=256 << 10, "256 to 262144"),
            ("limits.groups", limits.groups, 1..=10_000, "1 to 10000"),
            ("limits.headerBytes", limits.header_bytes, 1024..=512 << 10, "1024 to 524288"),
            ("limits.waitSeconds", limits.wait_seconds, 1..=14, "1 to 14"),
            ("limits.waitingRequests", limits.waiting_requests, 1..=100_000, "1 to 100000"),
            (
                "limits.signatureChecksPerSecond",
                limits.signature_checks_per_second,
                1..=100_000,
                "1 to 100000",
            ),
        ];
        let bound = |(field, value, allowed, rule)| Bound { field, value, allowed, rule };
        bounds.into_iter().map(bound).collect()
    }

    /// The origins whose pages may use the API, if there are any.
    pub(crate) fn cors(&self) -> Result<Option<Cors>, GatewayError> {
        Cors::new(&self.cors_allowed_origins).map_err(|(index, why)| {
            let got = self.cors_allowed_origins.get(index).cloned().unwrap_or_default();
            GatewayError::Origin { index, got, why }
        })
    }

    /// Checks one that was made of something else than a document.
    pub fn check(&self) -> Result<(), GatewayError> {
        for Bound { field, value: got, allowed, rule } in self.bounds() {
            if !allowed.contains(&got) {
                return Err(GatewayError::Range { field, got, rule });
            }
        }
        for (key, values) in &self.extras.headers {
            if let Some(why) = super::policies::bad_extra(key, values) {
                return Err(GatewayError::Extra { key: key.clone(), why });
            }
        }
        self.cors()?;
        if let Some((field, got, why)) = self.protected_resource.fault() {
            return Err(GatewayError::ProtectedResource { field, got: got.to_owned(), why });
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
