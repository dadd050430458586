//! The parts of a [`GatewayConfiguration`](super::GatewayConfiguration), each field with its default and its bounds.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::section::section;

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

section! {
    /// How the signed-in user is named in requests that it makes as somebody else (`clientImpersonation: authorize`).
    OriginalUser
        /// Whether the name, groups, uid and extras travel at all.
        enabled: bool = true;
        /// What the keys of these extras begin with; `user`, `groups`, `uid` and `extra` follow.
        prefix: String = "originaluser.jetstack.io-".to_owned();
}

section! {
    /// The allow-list for names that Kubernetes reserves for itself.
    Reserved
        /// Whole user names, compared byte for byte.
        users: Vec<String> = Vec::new();
        /// Whole group names, compared byte for byte.
        groups: Vec<String> = Vec::new();
}

section! {
    /// What travels as extras.
    Extras
        /// `authentication.kubernetes.io/credential-id` from the token's `jti`, as kube-apiserver has it. Needs the right
        /// to impersonate that extra.
        credential_id: bool = true;
        /// `remote-client-ip`: the client's address as Envoy knows it, which believes `X-Forwarded-For` only as far as its
        /// trusted hops go.
        #[serde(rename = "clientIP")]
        client_ip: bool = false;
        /// Extras that every request carries: key to values.
        headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
}

section! {
    /// Tokens that no issuer of the `AuthenticationConfiguration` has issued, such as ServiceAccounts' own.
    TokenReview
        /// Whether the API server is asked about them. A token that it takes travels on as it is, without impersonation.
        enabled: bool = false;
        /// The audiences to ask for; none means the API server's own.
        audiences: Vec<String> = Vec::new();
}

section! {
    /// Tokens that a portal, or kubehook, signed with a shared secret (HS256): they name no issuer.
    ///
    /// Whoever has the secret is whoever he likes, but for reserved names. An ES256 portal is an issuer like any other, and needs
    /// none of this.
    SharedSecret
        /// The tokens' `aud`; empty means that no such token is taken.
        audience: String = String::new();
        /// Files with a secret each, without a line end after it. `kube-oidc-gateway run` reads them when it starts, and hands
        /// them to the filter in Envoy's environment, which no configuration dump shows; for an Envoy that something else runs
        /// `kube-oidc-gateway secrets` prints what belongs there.
        secret_files: Vec<String> = Vec::new();
        /// Accepts secrets of less than 32 bytes, too. Anyone who has one token can find such a secret by trying, and can then make
        /// tokens for any user. It is for the time until kubehook's own secret is exchanged.
        insecure_short_secret: bool = false;
}

section! {
    /// Groups that a token says are to be fetched (OpenID Connect Core 1.0, section 5.6.2).
    DistributedGroups
        /// The hosts that may be asked, as the endpoints' URLs have them: `host`, or `host:port`. A token that names another
        /// host is refused: its issuer must not decide which servers the gateway calls.
        hosts: Vec<String> = Vec::new();
        /// Seconds after which the groups of a user are fetched again, at most `tokenCache.timeToLiveSeconds`: a user who
        /// leaves a group has it no longer than that.
        lifetime_seconds: u32 = 600, 1..=86_400;
}

section! {
    /// Bounds on the questions that are asked of the API server.
    ReviewPolicy
        /// Seconds that all reviews of one request may take together.
        timeout_seconds: u32 = 5, 1..=14;
        /// Seconds for which an answer is remembered. Failures never are.
        cache_seconds: u32 = 10, 0..=300;
        /// `Impersonate-*` values of one request; more are refused with 431.
        maximum_values: u32 = 64, 1..=1000;
        /// TokenReviews in a second of tokens that the API server does not know, for each client address (for IPv6 each /64), and up to
        /// ten seconds' worth at once; beyond that a token is refused unasked, with 429. All addresses together get ten times as many. Those of
        /// good tokens do not count once they are answered.
        token_reviews_per_second: u32 = 20, 1..=10_000;
        /// Bytes of memory for the answers that are remembered, for each worker; the least recently used leave first.
        maximum_bytes: u32 = 8 << 20, 1 << 20..=256 << 20;
}

impl ReviewPolicy {
    /// [`Self::timeout_seconds`].
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }
}

section! {
    /// Whether long-running requests end with the token that began them.
    StreamExpiry
        /// Watches.
        watches: AtExpiry = AtExpiry::Keep;
        /// Followed logs.
        logs: AtExpiry = AtExpiry::Keep;
        /// exec, attach and port-forward.
        upgrades: AtExpiry = AtExpiry::Keep;
        /// Seconds that a stream may live on.
        grace_seconds: u32 = 0, 0..=86_400;
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

section! {
    /// When the issuers' key sets are fetched. Times are whole seconds.
    KeySetPolicy
        /// Seconds between two fetches that tokens with an unknown key can cause, for each issuer.
        minimum_refetch_seconds: u32 = 10, 1..=3600;
        /// Seconds for which a key set without cache headers is fresh.
        default_lifetime_seconds: u32 = 300, 1..=604_800, at least minimum_lifetime_seconds, at most maximum_lifetime_seconds;
        /// Lower bound on what `Cache-Control` and `Expires` can ask for.
        minimum_lifetime_seconds: u32 = 60, 1..=604_800, at most maximum_lifetime_seconds;
        /// Upper bound on what `Cache-Control` and `Expires` can ask for.
        maximum_lifetime_seconds: u32 = 86_400, 1..=604_800;
        /// Seconds that one answer of an issuer may take, as in kube-apiserver: the connection is made in the same time. Requests do not wait
        /// as long, see `limits.waitSeconds`.
        timeout_seconds: u32 = 30, 1..=120;
        /// Bytes that a discovery document or key set may have, before and after it is decompressed. Of a key set with more than 1000 keys
        /// none is read.
        maximum_bytes: u32 = 1 << 20, 1024..=Self::MOST_BYTES;
        /// Seconds for which the last good keys serve while their issuer answers that it has none: HTTP 404 or 410, or a key set
        /// without a usable key. Then its tokens are refused until it has some. 0: for ever.
        maximum_withdrawn_seconds: u32 = 3600, 0..=604_800;
        /// Seconds for which the last good keys serve while fetching keys fails, for whatever reason. 0: for ever.
        maximum_outage_seconds: u32 = 0, 0..=604_800;
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

section! {
    /// How long, and how many, verified tokens are remembered, for each worker.
    TokenCachePolicy
        /// Tokens; the least recently used leaves first.
        maximum_entries: u32 = 10_000, 1..=1_000_000;
        /// Bytes of memory.
        maximum_bytes: u32 = 16 << 20, 64 << 10..=256 << 20;
        /// Seconds after which a token is verified again, if it has not expired before.
        time_to_live_seconds: u32 = 600, 1..=86_400;
}

section! {
    /// How the documents are followed that say whose access has ended.
    AccessPolicy
        /// Seconds for which the last ones hold though nobody knows whether they are still the newest. Then requests are answered 503.
        maximum_staleness_seconds: u32 = 300, 5..=86_400;
}

section! {
    /// Where issuers say that a session has ended (OpenID Connect Back-Channel Logout 1.0).
    Logout
        /// The path, which needs no login: `/oidc/` and a word. Empty means that there is none.
        path: String = String::new();
        /// Seconds for which the tokens of what has ended are refused: as long as the longest of them may live.
        lifetime_seconds: u32 = 86_400, 60..=2_592_000;
}

section! {
    /// Bounds on what one request may ask of the gateway.
    Limits
        /// Bytes of a token; a longer one is refused with 431 before it is parsed. The same for a token that holds distributed
        /// groups, with 401.
        token_bytes: u32 = 64 << 10, 256..=256 << 10;
        /// Groups of one identity; more are refused with 431.
        groups: u32 = 1_000, 1..=10_000;
        /// Bytes of all impersonation headers of one request together; more are refused with 431.
        header_bytes: u32 = 256 << 10, 1024..=512 << 10;
        /// Seconds that a request waits for keys; then it is refused with 503 and may come again, while the fetch goes on. Envoy ends a waiting request of its own accord after 15.
        wait_seconds: u32 = 10, 1..=14;
        /// Requests that wait for keys at once, for each worker; more are refused with 503.
        waiting_requests: u32 = 2_000, 1..=100_000;
        /// Costly signature checks in a second, for each client address (for IPv6 each /64): those that Envoy's own cryptography
        /// cannot make (PS256, PS384, PS512 and ML-DSA) or makes slowly (ES384 and ES512), and all but the first for one token, as a token without `kid`
        /// needs them. Beyond that a token that is not in the cache is refused with 429. All addresses together get ten times
        /// as many. Each worker checks a token once and then remembers it; raise this where many users share an address.
        signature_checks_per_second: u32 = 50, 1..=100_000;
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
