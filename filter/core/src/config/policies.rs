//! The parts of a [`GatewayConfiguration`](super::GatewayConfiguration), each with its defaults.

use std::{collections::BTreeMap, time::Duration};

use kube_authn::discovery::Endpoint;
use serde::{Deserialize, Serialize};

/// What happens to the `Impersonate-*` headers of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ClientImpersonation {
    /// They take effect if the API server says, for each value, that the signed-in user may impersonate it.
    #[default]
    Authorize,
    /// The request is refused, and the answer names the header.
    Reject,
    /// They are removed, and a `Warning` header of the response says so.
    Strip,
}

impl ClientImpersonation {
    /// What holds where nobody says it. Without impersonation there is nothing to authorise, and a request that went on without the
    /// headers would be one as oneself: think of `delete`.
    #[must_use]
    pub fn unless_said(impersonation: Impersonation) -> Self {
        match impersonation {
            Impersonation::Enabled => Self::Authorize,
            Impersonation::Disabled => Self::Reject,
        }
    }
}

/// How a request travels on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Impersonation {
    /// With the gateway's credential and the token's user in `Impersonate-*` headers.
    #[default]
    Enabled,
    /// Verified, but with its own token and without such headers: for an API server that takes the token itself.
    Disabled,
}

/// How the signed-in user is named in requests that it makes as somebody else (`clientImpersonation: authorize`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OriginalUser {
    /// Whether the name, groups, uid and extras travel at all.
    pub enabled: bool,
    /// What the keys of these extras begin with; `user`, `groups`, `uid` and `extra` follow.
    pub prefix: String,
}

impl Default for OriginalUser {
    fn default() -> Self {
        Self { enabled: true, prefix: "originaluser.jetstack.io-".to_owned() }
    }
}

/// The allow-list for names that Kubernetes reserves for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reserved {
    /// Whole user names, compared byte for byte.
    pub users: Vec<String>,
    /// Whole group names, compared byte for byte.
    pub groups: Vec<String>,
}

/// What travels as extras.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Extras {
    /// `authentication.kubernetes.io/credential-id` from the token's `jti`, as kube-apiserver has it. Needs the right
    /// to impersonate that extra.
    pub credential_id: bool,
    /// `remote-client-ip`: the client's address as Envoy knows it, which believes `X-Forwarded-For` only as far as its
    /// trusted hops go.
    #[serde(rename = "clientIP")]
    pub client_ip: bool,
    /// Extras that every request carries: key to values.
    pub headers: BTreeMap<String, Vec<String>>,
}

impl Default for Extras {
    fn default() -> Self {
        Self { credential_id: true, client_ip: false, headers: BTreeMap::new() }
    }
}

/// Tokens that no issuer of the `AuthenticationConfiguration` has issued, such as ServiceAccounts' own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TokenReview {
    /// Whether the API server is asked about them. A token that it takes travels on as it is, without impersonation.
    pub enabled: bool,
    /// The audiences to ask for; none means the API server's own.
    pub audiences: Vec<String>,
}

/// Tokens that a portal, or kubehook, signed with a shared secret (HS256): they name no issuer.
///
/// Whoever has the secret is whoever he likes, but for reserved names. An ES256 portal is an issuer like any other, and needs
/// none of this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SharedSecret {
    /// The tokens' `aud`; empty means that no such token is taken.
    pub audience: String,
    /// Files with a secret each, without a line end after it. `kube-oidc-gateway run` reads them when it starts, and hands
    /// them to the filter in Envoy's environment, which no configuration dump shows; for an Envoy that something else runs
    /// `kube-oidc-gateway secrets` prints what belongs there.
    pub secret_files: Vec<String>,
    /// Takes secrets of less than 32 bytes, too. Whoever has one token can find such a secret by trying, and is then whoever he
    /// likes: for the time until kubehook's own secret is exchanged.
    pub insecure_short_secret: bool,
}

/// What the gateway tells whoever asks for `/.well-known/oauth-protected-resource` (RFC 9728): where its users log in, and as which
/// client. `kubectl oidc setup URL` needs no more. Everybody may read it, without a login.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProtectedResource {
    /// The URL under which clients reach the gateway, `https://HOST` or `https://HOST:PORT`. Empty means that nothing is told.
    pub url: String,
    /// What the cluster is called in the kubeconfigs of users. Empty means the host of the URL.
    pub cluster_name: String,
    /// The clients that users log in as. An issuer that is not among them has its audience for a client, if it has one alone.
    pub clients: Vec<PublicClient>,
}

/// The public client of an issuer, as which users log in (RFC 6749, section 2.1): it has no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PublicClient {
    /// The issuer's URL, as the `AuthenticationConfiguration` has it.
    pub issuer: String,
    /// The client's id.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// The scopes to ask for, beside `openid`.
    pub scopes: Vec<String>,
}

impl ProtectedResource {
    /// What cannot be meant: the path of a field, its value, and why.
    pub(super) fn fault(&self) -> Option<(String, &str, &'static str)> {
        let fault = |field: &str, got, why| Some((field.to_owned(), got, why));
        if self.url.is_empty() {
            let nothing = self.cluster_name.is_empty() && self.clients.is_empty();
            let why = "must be the gateway's URL, which the other fields are for";
            return if nothing { None } else { fault("url", "", why) };
        }
        if !is_origin(&self.url) {
            let why = "must be https://HOST or https://HOST:PORT in lower case, without a path, and without the port 443";
            return fault("url", &self.url, why);
        }
        let name = &self.cluster_name;
        if name.len() > 253 || name.trim() != name || name.chars().any(is_unprintable) {
            let why = "must have at most 253 bytes, no character that is not printed, and no blank at its start or end";
            return fault("clusterName", name, why);
        }
        self.clients.iter().enumerate().find_map(|(index, client)| {
            let (field, got, why) = client.fault(self.clients.get(..index).unwrap_or_default())?;
            Some((format!("clients[{index}].{field}"), got, why))
        })
    }
}

impl PublicClient {
    fn fault(&self, before: &[Self]) -> Option<(String, &str, &'static str)> {
        if before.iter().any(|other| other.issuer == self.issuer) {
            return Some(("issuer".to_owned(), &self.issuer, "must have one client"));
        }
        let id = &self.client_id;
        // RFC 6749, appendix A.1.
        if id.is_empty() || id.trim() != id || !id.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        {
            return Some(("clientID".to_owned(), id, "must be printable ASCII, and not empty"));
        }
        self.scopes.iter().enumerate().find_map(|(index, scope)| {
            let why = "must be a word of ASCII without comma, quotation mark and backslash";
            (!is_scope(scope)).then(|| (format!("scopes[{index}]"), &**scope, why))
        })
    }
}

/// RFC 6749, section 3.3, but for the comma, by which programs separate scopes.
fn is_scope(scope: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte);
    !scope.is_empty() && scope.bytes().all(fits)
}

/// Whether it is the URL of a server and of nothing on it, written as URLs are compared (RFC 3986, section 6.2.2).
fn is_origin(url: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    let Some(authority) = url.strip_prefix("https://") else { return false };
    let is_plain = authority.bytes().all(plain) && !authority.ends_with(":443");
    is_plain && Endpoint::parse(url).is_ok_and(|endpoint| endpoint.authority() == authority)
}

/// What a terminal takes for a command, or shows in another order (Unicode Standard Annex 9, section 2).
fn is_unprintable(c: char) -> bool {
    let directs = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || directs(c)
}

/// Groups that a token says are to be fetched (OpenID Connect Core 1.0, section 5.6.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DistributedGroups {
    /// The hosts that may be asked, as they stand in the endpoints' URLs: `host`, or `host:port`. A token that names
    /// another is refused: its issuer must not make the gateway call whom it likes.
    pub hosts: Vec<String>,
}

/// Bounds on the questions that are asked of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReviewPolicy {
    /// Seconds that all reviews of one request may take together.
    pub timeout_seconds: u32,
    /// Seconds for which an answer is remembered. Failures never are.
    pub cache_seconds: u32,
    /// `Impersonate-*` values of one request; more are refused with 431.
    pub maximum_values: u32,
    /// TokenReviews in a second of tokens that the API server does not know, for each client address (for IPv6 each /64), and up to
    /// ten seconds' worth at once; beyond that a token is refused unasked, with 429. All addresses together get ten times as many. Those of
    /// good tokens do not count once they are answered.
    pub token_reviews_per_second: u32,
    /// Bytes of memory for the answers that are remembered, for each worker; the least recently used leave first.
    pub maximum_bytes: u32,
}

impl Default for ReviewPolicy {
    fn default() -> Self {
        Self {
            timeout_seconds: 5,
            cache_seconds: 10,
            maximum_values: 64,
            token_reviews_per_second: 20,
            maximum_bytes: 8 << 20,
        }
    }
}

impl ReviewPolicy {
    /// [`Self::timeout_seconds`].
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }
}

/// Whether long-running requests end with the token that began them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StreamExpiry {
    /// Watches.
    pub watches: AtExpiry,
    /// Followed logs.
    pub logs: AtExpiry,
    /// exec, attach and port-forward.
    pub upgrades: AtExpiry,
    /// Seconds that a stream may live on.
    pub grace_seconds: u32,
}

/// What happens to a stream when its token expires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum AtExpiry {
    /// Nothing, as with kube-apiserver.
    #[default]
    Keep,
    /// It ends.
    Cut,
}

/// When the issuers' key sets are fetched. Times are whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Seconds that one answer of an issuer may take, as in kube-apiserver: the connection is made in the same time. Requests do not wait
    /// as long, see `limits.waitSeconds`.
    pub timeout_seconds: u32,
    /// Bytes that a discovery document or key set may have, before and after it is decompressed. Of a key set with more than 1000 keys
    /// none is read.
    pub maximum_bytes: u32,
    /// Seconds for which the last good keys serve while their issuer answers that it has none: HTTP 404 or 410, or a key set
    /// without a usable key. Then its tokens are refused until it has some. 0: for ever.
    pub maximum_withdrawn_seconds: u32,
    /// Seconds for which the last good keys serve while fetching keys fails, for whatever reason. 0: for ever.
    pub maximum_outage_seconds: u32,
}

impl Default for KeySetPolicy {
    fn default() -> Self {
        Self {
            minimum_refetch_seconds: 10,
            default_lifetime_seconds: 300,
            minimum_lifetime_seconds: 60,
            maximum_lifetime_seconds: 86_400,
            timeout_seconds: 30,
            maximum_bytes: 1 << 20,
            maximum_withdrawn_seconds: 3600,
            maximum_outage_seconds: 0,
        }
    }
}

impl KeySetPolicy {
    /// What [`Self::maximum_bytes`] can be at most.
    pub const MOST_BYTES: u32 = 8 << 20;

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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a token; a longer one is refused with 431 before it is parsed. The same for a token that holds distributed
    /// groups, with 401.
    pub token_bytes: u32,
    /// Groups of one identity; more are refused with 431.
    pub groups: u32,
    /// Bytes of all impersonation headers of one request together; more are refused with 431.
    pub header_bytes: u32,
    /// Seconds that a request waits for keys; then it is refused with 503 and may come again, while the fetch goes on. Envoy ends a waiting request of its own accord after 15.
    pub wait_seconds: u32,
    /// Requests that wait for keys at once, for each worker; more are refused with 503.
    pub waiting_requests: u32,
    /// Costly signature checks in a second, for each client address (for IPv6 each /64): those that Envoy's own cryptography
    /// cannot make (PS256, PS384, PS512 and ML-DSA) or makes slowly (ES384 and ES512), and all but the first for one token, as a token without `kid`
    /// needs them. Beyond that a token that is not in the cache is refused with 429. All addresses together get ten times
    /// as many. Each worker checks a token once and then remembers it; raise this where many users share an address.
    pub signature_checks_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            token_bytes: 64 << 10,
            groups: 1_000,
            header_bytes: 256 << 10,
            wait_seconds: 10,
            waiting_requests: 2_000,
            signature_checks_per_second: 50,
        }
    }
}

/// Why an extra cannot travel as a header.
pub(super) fn bad_extra(key: &str, values: &[String]) -> Option<&'static str> {
    if bad_key(key) {
        Some("the key must be lower-case letters, digits, '.', '-', '_' or '/'")
    } else if values.is_empty() {
        Some("must have a value")
    } else if values
        .iter()
        .any(|value| value.trim() != value || value.chars().any(char::is_control))
    {
        Some("values must have no control character, and no blank at their start or end")
    } else {
        None
    }
}

/// Whether no extra's key can begin so.
pub(super) fn bad_prefix(prefix: &str) -> bool {
    bad_key(prefix)
}

fn bad_key(key: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_/".contains(&byte);
    key.is_empty() || !key.bytes().all(fits)
}
