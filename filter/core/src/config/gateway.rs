//! `GatewayConfiguration`: what the gateway does beyond authentication.
//!
//! Written as Kubernetes' own configuration files are: apiVersion, kind, camelCase fields, unknown fields refused.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The `apiVersion` of [`GatewayConfiguration`].
pub const API_VERSION: &str = "gateway.kube-oidc.dev/v1alpha1";
/// The `kind` of [`GatewayConfiguration`].
pub const KIND: &str = "GatewayConfiguration";

/// The gateway's own settings. Every field has a default, so that an empty document is a working one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayConfiguration {
    /// What happens to the `Impersonate-*` headers of a client (`kubectl --as`).
    pub client_impersonation: ClientImpersonation,
    /// Names beginning with `system:` that a token may carry all the same, after prefixing.
    pub allowed_reserved: Reserved,
    /// What travels as `Impersonate-Extra-*` beyond the extras of the claim mappings.
    pub extras: Extras,
    /// When the issuers' key sets are fetched.
    pub key_sets: KeySetPolicy,
    /// How long verified tokens are remembered.
    pub token_cache: TokenCachePolicy,
    /// Bounds on what one request may ask of the gateway.
    pub limits: Limits,
}

/// What happens to the `Impersonate-*` headers of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientImpersonation {
    /// They are removed, and a `Warning` header of the response says so.
    #[default]
    Strip,
}

/// The allow-list for names that Kubernetes reserves for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reserved {
    /// Whole user names, compared byte for byte.
    pub users: Vec<String>,
    /// Whole group names, compared byte for byte.
    pub groups: Vec<String>,
}

/// What travels as extras.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Extras {
    /// `authentication.kubernetes.io/credential-id` from the token's `jti`, as kube-apiserver has it. Needs the right
    /// to impersonate that extra.
    pub credential_id: bool,
}

impl Default for Extras {
    fn default() -> Self {
        Self { credential_id: true }
    }
}

/// When the issuers' key sets are fetched. Times are whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KeySetPolicy {
    /// Seconds between two fetches that tokens with an unknown key can cause, for each issuer.
    pub minimum_refetch_seconds: u32,
    /// Seconds for which a key set without cache headers is fresh.
    pub default_lifetime_seconds: u32,
    /// Lower bound on what `Cache-Control` and `Expires` can ask for.
    pub minimum_lifetime_seconds: u32,
    /// Upper bound on what `Cache-Control` and `Expires` can ask for.
    pub maximum_lifetime_seconds: u32,
    /// Seconds that one callout to an issuer may take.
    pub timeout_seconds: u32,
    /// Bytes that a discovery document or key set may have.
    pub maximum_bytes: u32,
}

impl Default for KeySetPolicy {
    fn default() -> Self {
        Self {
            minimum_refetch_seconds: 10,
            default_lifetime_seconds: 300,
            minimum_lifetime_seconds: 60,
            maximum_lifetime_seconds: 86_400,
            timeout_seconds: 5,
            maximum_bytes: 1 << 20,
        }
    }
}

impl KeySetPolicy {
    /// [`Self::timeout_seconds`].
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// [`Self::minimum_refetch_seconds`].
    #[must_use]
    pub fn minimum_refetch(&self) -> Duration {
        Duration::from_secs(self.minimum_refetch_seconds.into())
    }
}

/// How long, and how many, verified tokens are remembered, for each worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TokenCachePolicy {
    /// Tokens; the least recently used leaves first.
    pub maximum_entries: u32,
    /// Bytes of memory.
    pub maximum_bytes: u32,
    /// Seconds after which a token is verified again, if it has not expired before.
    pub time_to_live_seconds: u32,
}

impl Default for TokenCachePolicy {
    fn default() -> Self {
        Self { maximum_entries: 10_000, maximum_bytes: 16 << 20, time_to_live_seconds: 600 }
    }
}

/// Bounds on what one request may ask of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a token; a longer one is refused with 431 before it is parsed.
    pub token_bytes: u32,
    /// Groups of one identity; more are refused with 431.
    pub groups: u32,
    /// Bytes of all impersonation headers of one request together; more are refused with 431.
    pub header_bytes: u32,
    /// Seconds that a request waits for keys. Envoy ends a waiting request of its own accord after 15.
    pub wait_seconds: u32,
    /// Requests that wait for keys at once, for each worker; more are refused with 503.
    pub waiting_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            token_bytes: 64 << 10,
            groups: 1_000,
            header_bytes: 256 << 10,
            wait_seconds: 10,
            waiting_requests: 2_000,
        }
    }
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
    /// Checks a document that has been read from JSON or YAML.
    pub fn from_value(document: Value) -> Result<Self, GatewayError> {
        let Document { api_version, kind, rest } = serde_json::from_value(document)?;
        for (field, got, want) in [("apiVersion", api_version, API_VERSION), ("kind", kind, KIND)] {
            if got != want {
                return Err(GatewayError::Type { field, got, want });
            }
        }
        let configuration: Self = serde_json::from_value(rest)?;
        configuration.check()?;
        Ok(configuration)
    }

    fn check(&self) -> Result<(), GatewayError> {
        let keys = &self.key_sets;
        let limits = &self.limits;
        let cache = &self.token_cache;
        for (field, got, range, rule) in [
            ("keySets.timeoutSeconds", keys.timeout_seconds, 1..=14, "1 to 14"),
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
            ("keySets.maximumBytes", keys.maximum_bytes, 1024..=8 << 20, "1024 to 8388608"),
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
        ] {
            if !range.contains(&got) {
                return Err(GatewayError::Range { field, got, rule });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_strict_and_every_error_names_its_field() {
        for (document, want) in [
            (json!({}), Ok(())),
            (json!({"allowedReserved": {"groups": ["system:viewers"]}}), Ok(())),
            (json!({"clientImpersonation": "strip"}), Ok(())),
            (json!({"clientImpersonation": "keep"}), Err("unknown variant `keep`")),
            (json!({"apiVersion": "v1"}), Err("apiVersion: Invalid value: \"v1\"")),
            (json!({"kind": "Gateway"}), Err("kind: Invalid value")),
            (json!({"limit": {}}), Err("unknown field `limit`")),
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

    #[test]
    fn defaults_pass_their_own_check() {
        GatewayConfiguration::default().check().unwrap();
    }
}
