//! Why a request is refused, and what its client is told: a Kubernetes `Status`, which kubectl prints well.
//!
//! A 401 says `Unauthorized` and no more; the reason is for the operator's log. A 403 names the rule, because a new
//! login would not help and kubectl must not start one.

use std::{fmt::Write as _, time::Duration};

use kube_authn::{AuthnError, VerifyError, token::TokenError};

use crate::{
    access::{Revoked, Unread},
    callout::Cause,
    conditions::{self, Denial},
    config::RequiredLogin,
    credential::CredentialError,
    group_store::Failure,
    guard::GuardError,
};

/// The code and the reason of a `Status` that asks for another login.
const UNAUTHORIZED: (u16, &str) = (401, "Unauthorized");
/// Those of one that asks for less, and of one that asks for another try.
const TOO_LARGE: (u16, &str) = (431, "RequestHeaderFieldsTooLarge");
const UNAVAILABLE: (u16, &str) = (503, "ServiceUnavailable");

/// What a client is told that could be somebody whose access has ended.
const ACCESS_UNREAD: &str = "the gateway does not know at present whose access has been revoked";

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No credential, and the configuration lets nobody in without one.
    #[error("no credential")]
    NoCredential,
    /// The credential cannot be taken from the request.
    #[error("credential: {0}")]
    Credential(#[from] CredentialError),
    /// The token is longer than the limit.
    #[error("token of {bytes} bytes exceeds limits.tokenBytes, {limit}")]
    TokenTooLarge {
        /// The token's length.
        bytes: usize,
        /// `limits.tokenBytes`.
        limit: u32,
    },
    /// The token is no JWT, or not a sound one.
    #[error("token: {0}")]
    Token(#[from] TokenError),
    /// No configured issuer has the token's `iss`.
    #[error("no configured issuer claims the token")]
    UnknownIssuer,
    /// The token does not verify.
    #[error("issuer {issuer}: {error}")]
    Verify {
        /// The issuer's URL.
        issuer: String,
        /// What is wrong with the token.
        error: VerifyError,
    },
    /// No good token of a shared secret.
    #[error("sharedSecret: {0}")]
    SharedSecret(crate::portal_token::TokenError),
    /// The token verifies, but gives no identity.
    #[error("issuer {issuer}: {error}")]
    Identity {
        /// The issuer's URL.
        issuer: String,
        /// What is wrong with its claims.
        error: AuthnError,
    },
    /// The groups that the token says are elsewhere cannot be had. Without them it gives no identity.
    #[error("issuer {issuer}: distributed groups: {error}")]
    Groups {
        /// The issuer's URL.
        issuer: String,
        /// Why not.
        error: String,
    },
    /// A group source does not say which groups the user has. Without them it would be another user.
    #[error("issuer {issuer}: groupSources {name:?}: {}", .failure.why)]
    GroupSource {
        /// The issuer's URL.
        issuer: String,
        /// The source's name.
        name: String,
        /// Why not.
        failure: Failure,
    },
    /// The identity is one that no token may bring.
    #[error("issuer {issuer}: {error}")]
    Guard {
        /// The issuer's URL.
        issuer: String,
        /// Which rule, and what breaks it.
        error: GuardError,
    },
    /// The identity does not fit into a request.
    #[error("issuer {issuer}: {what} exceed {limit} ({value})")]
    IdentityTooLarge {
        /// The issuer's URL.
        issuer: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit's field and value.
        limit: &'static str,
        /// The limit's value.
        value: u32,
    },
    /// A path or a query with a byte that is not ASCII, which HTTP/2 lets through: logs and servers read such a target differently
    /// (RFC 3986, section 2).
    #[error("the request target has bytes that are not ASCII")]
    Target,
    /// A target that kube-apiserver would not read either, where conditions ask what it is about.
    #[error("the request target cannot be read: {0}")]
    UnreadableTarget(String),
    /// A condition that the request does not fulfil.
    #[error("condition {}: {}", .0.name, why(.0))]
    Condition(Denial),
    /// An entry of the documents ends this access.
    #[error("revoked by {}: {}", .0.by, .0.reason)]
    Revoked(Revoked),
    /// Nobody knows whose access has ended.
    #[error(transparent)]
    AccessUnread(#[from] Unread),
    /// An upgrade that nominates headers to be taken away on the next hop.
    #[error("Connection nominates {0:?} on an upgrade")]
    Nominated(String),
    /// A request of HTTP/1.0 with a body of no length: in chunks, or behind an upgrade.
    #[error("Transfer-Encoding or Upgrade in HTTP/1.0")]
    ChunkedBeforeHttp11,
    /// A client's impersonation headers that cannot be meant as they stand.
    #[error("{header} {why}")]
    BadImpersonation {
        /// The header's name.
        header: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More impersonation headers than would be asked about.
    #[error("{count} Impersonate values exceed reviews.maximumValues, {limit}")]
    TooManyImpersonated {
        /// How many there are.
        count: u32,
        /// `reviews.maximumValues`.
        limit: u32,
    },
    /// `kubectl --as`, where the configuration rejects it.
    #[error("client impersonation is rejected: {0}")]
    ImpersonationRejected(String),
    /// `kubectl --as`, where the API server says that the user may not.
    #[error("{user:?} may not impersonate {what}")]
    ImpersonationForbidden {
        /// The signed-in user.
        user: String,
        /// What it asked to be.
        what: String,
    },
    /// The API server could not be asked.
    #[error("review: {0}")]
    ReviewFailed(String),
    /// The API server says that the gateway's own account may not ask.
    #[error("the gateway's account may not {right}")]
    ReviewForbidden {
        /// The right that is missing: a verb and a resource with its group.
        right: &'static str,
    },
    /// A client asked about more tokens than it may.
    #[error("reviews.tokenReviewsPerSecond exceeded")]
    TooManyReviews,
    /// A client caused more costly signature checks than it may.
    #[error("limits.signatureChecksPerSecond exceeded")]
    TooManyChecks,
    /// The API server does not know the token.
    #[error("the API server does not accept the token")]
    TokenReviewed,
    /// The issuer says that the token is not active: it has ended, was revoked, or never was.
    #[error("issuer {issuer}: introspection: the token is not active")]
    Inactive {
        /// The issuer's URL.
        issuer: String,
    },
    /// The issuer could not be asked about the token, or said nothing of it.
    #[error("issuer {issuer}: introspection: {why}")]
    IntrospectionFailed {
        /// The issuer's URL.
        issuer: String,
        /// Why not.
        why: String,
    },
    /// A client had an issuer asked about more tokens than it may.
    #[error("introspection[].requestsPerSecond exceeded")]
    TooManyIntrospections,
    /// There are no keys of the issuer: it never had any, or it lost them. No token of it can be judged.
    #[error("issuer {issuer}: no keys: {reason}")]
    NoKeys {
        /// The issuer's URL.
        issuer: String,
        /// The last failure.
        reason: String,
        /// What it was, if a fetch has failed.
        cause: Option<Cause>,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// Too many requests wait already.
    #[error("limits.waitingRequests wait already")]
    TooManyWaiting,
    /// Bytes came behind an upgrade that waited, where the filter cannot hold them any longer once it goes on (docs/native.md).
    #[error("bytes behind an upgrade that had to wait")]
    EarlyBytes,
    /// The API server does not take the gateway's own token.
    #[error("the API server answered 401: it does not accept the gateway's ServiceAccount token")]
    GatewayCredential,
    /// Envoy did not take what the filter wrote onto the request.
    #[error("the host refused a header or a property")]
    Host,
    /// The filter has no valid configuration.
    #[error("the filter has no configuration")]
    NotConfigured,
}

/// A reply to the client in place of the API server's.
#[derive(Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status.
    pub code: u16,
    /// A `Status` object as JSON, with a line end, as kube-apiserver writes it.
    pub body: String,
    /// Whole seconds for `Retry-After`.
    pub retry_after: Option<u64>,
}

impl From<Revoked> for Refusal {
    fn from(revoked: Revoked) -> Self {
        Self::Revoked(revoked)
    }
}

impl Refusal {
    /// A closed set of words for logs and metrics.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Credential(_) => "credential",
            Self::TokenTooLarge { .. } => "token_too_large",
            Self::Token(_) => "token",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Verify { .. } | Self::SharedSecret(_) => "verify",
            Self::Identity { .. } => "identity",
            Self::Groups { .. } => "groups",
            Self::GroupSource { .. } => "group_source",
            Self::Guard { .. } => "guard",
            Self::IdentityTooLarge { .. } => "identity_too_large",
            Self::Target | Self::UnreadableTarget(_) => "target",
            Self::Condition(_) => "condition",
            Self::Revoked(_) => "revoked",
            Self::AccessUnread(_) => "access_unread",
            Self::Nominated(_) => "connection",
            Self::ChunkedBeforeHttp11 => "transfer_encoding",
            Self::BadImpersonation { .. } => "bad_impersonation",
            Self::TooManyImpersonated { .. } => "too_many_impersonated",
            Self::ImpersonationRejected(_) => "impersonation_rejected",
            Self::ImpersonationForbidden { .. } => "impersonation_forbidden",
            Self::ReviewFailed(_) => "review_failed",
            Self::ReviewForbidden { .. } => "review_forbidden",
            Self::TooManyReviews => "too_many_reviews",
            Self::TooManyChecks => "too_many_checks",
            Self::TokenReviewed => "token_reviewed",
            Self::Inactive { .. } => "inactive",
            Self::IntrospectionFailed { .. } => "introspection_failed",
            Self::TooManyIntrospections => "too_many_introspections",
            Self::NoKeys { .. } => "no_keys",
            Self::TooManyWaiting => "too_many_waiting",
            Self::EarlyBytes => "early_bytes",
            Self::GatewayCredential => "gateway_credential",
            Self::Host => "host",
            Self::NotConfigured => "not_configured",
        }
    }

    /// What the operator is told: the whole reason, cut where a token has made it long.
    #[must_use]
    pub fn reason(&self) -> String {
        const MOST: usize = 512;
        let mut reason = self.to_string();
        if let Some((end, _)) = reason.char_indices().nth(MOST) {
            reason.truncate(end);
            reason.push('…');
        }
        reason
    }

    /// What the client is told.
    #[must_use]
    pub fn reply(&self) -> LocalReply {
        let retry_after = self.retry_after();
        let ((code, reason), message) = self.said();
        LocalReply { code, body: status(code, reason, &message, retry_after), retry_after }
    }

    /// Seconds after which the same request may have another answer.
    fn retry_after(&self) -> Option<u64> {
        let after = match self {
            Self::NoKeys { retry_after, .. } => retry_after.as_secs(),
            Self::GroupSource { failure, .. } => failure.retry_after.as_secs(),
            Self::AccessUnread(_)
            | Self::ReviewFailed(_)
            | Self::TooManyReviews
            | Self::IntrospectionFailed { .. }
            | Self::TooManyIntrospections
            | Self::TooManyChecks
            | Self::TooManyWaiting
            | Self::EarlyBytes
            | Self::GatewayCredential
            | Self::NotConfigured => 1,
            _ => return None,
        };
        Some(after.max(1))
    }

    fn said(&self) -> ((u16, &'static str), String) {
        match self {
            Self::Token(error) if !error.is_limit() => (UNAUTHORIZED, "Unauthorized".to_owned()),
            Self::NoCredential
            | Self::Credential(_)
            | Self::UnknownIssuer
            | Self::TokenReviewed
            | Self::SharedSecret(_)
            | Self::Groups { .. }
            | Self::Inactive { .. }
            | Self::Verify { .. }
            | Self::Identity { .. } => (UNAUTHORIZED, "Unauthorized".to_owned()),
            Self::Token(_) => {
                (TOO_LARGE, "the token has more claims than the gateway reads".to_owned())
            }
            Self::Guard { error, .. } => {
                ((403, "Forbidden"), format!("the gateway refuses this identity: {error}"))
            }
            Self::TokenTooLarge { limit, .. } => {
                (TOO_LARGE, format!("the token is larger than {limit} bytes"))
            }
            Self::IdentityTooLarge { what, value, .. } => {
                (TOO_LARGE, format!("the token's {what} exceed the gateway's limit of {value}"))
            }
            Self::Target => (
                (400, "BadRequest"),
                "the path and the query must be ASCII: write other characters percent-encoded"
                    .to_owned(),
            ),
            Self::UnreadableTarget(why) => ((400, "BadRequest"), format!("the request target cannot be read: {why}")),
            Self::Condition(denial) => (denial.cause.status(), told(denial)),
            Self::Revoked(revoked) => ended(revoked),
            Self::AccessUnread(_) => (UNAVAILABLE, ACCESS_UNREAD.to_owned()),
            Self::Nominated(header) => (
                (400, "BadRequest"),
                format!(
                    "Connection: {header:?} is refused: an upgrade may name upgrade and keep-alive only"
                ),
            ),
            Self::ChunkedBeforeHttp11 => (
                (400, "BadRequest"),
                "HTTP/1.0 knows neither Transfer-Encoding nor Upgrade: send a Content-Length, or HTTP/1.1"
                    .to_owned(),
            ),
            Self::BadImpersonation { header, why } => {
                ((400, "BadRequest"), format!("header {header} {why}"))
            }
            Self::TooManyImpersonated { limit, .. } => {
                (TOO_LARGE, format!("more than {limit} Impersonate values"))
            }
            Self::ImpersonationRejected(header) => (
                (403, "Forbidden"),
                format!(
                    "header {header} is refused: this gateway does not allow impersonation (--as)"
                ),
            ),
            Self::ImpersonationForbidden { user, what } => {
                ((403, "Forbidden"), format!("user {user:?} cannot impersonate {what}"))
            }
            Self::ReviewFailed(_) => (UNAVAILABLE, "the API server could not be asked for a review".to_owned()),
            // Nothing will be better in a second.
            Self::ReviewForbidden { right } => (
                UNAVAILABLE,
                format!("the gateway's own account lacks a right that this request needs: {right}"),
            ),
            Self::TooManyReviews => ((429, "TooManyRequests"), "too many tokens to review".to_owned()),
            Self::IntrospectionFailed { issuer, .. } => (UNAVAILABLE, format!("issuer {issuer:?} could not be asked about the token")),
            Self::TooManyIntrospections => ((429, "TooManyRequests"), "too many tokens to ask their issuer about".to_owned()),
            Self::TooManyChecks => ((429, "TooManyRequests"), "too many tokens to verify".to_owned()),
            Self::NoKeys { issuer, cause, .. } => {
                let why = cause.map(|cause| format!(": {}", cause.words())).unwrap_or_default();
                (UNAVAILABLE, format!("the keys of issuer {issuer:?} are not available yet{why}"))
            }
            Self::GroupSource { failure, .. } => (UNAVAILABLE, failure.told()),
            Self::TooManyWaiting => (UNAVAILABLE, "too many requests wait for keys or reviews".to_owned()),
            Self::EarlyBytes => (
                UNAVAILABLE,
                "bytes came behind the upgrade before it was answered, while the gateway had to wait for keys or reviews: send it again".to_owned(),
            ),
            Self::GatewayCredential => (UNAVAILABLE, "the API server does not accept the gateway's credential".to_owned()),
            Self::Host => {
                ((500, "InternalError"), "the gateway could not prepare the request".to_owned())
            }
            Self::NotConfigured => (UNAVAILABLE, "the gateway is not configured".to_owned()),
        }
    }

    /// The `WWW-Authenticate` of a 401, if it has one: where strangers log in, which is `told` to all (RFC 9728, section 5.1), and which
    /// login is asked for (RFC 9470, section 3).
    #[must_use]
    pub fn challenge(&self, told: Option<&str>) -> Option<String> {
        let Self::Condition(Denial { cause: conditions::Cause::Login(login), .. }) = self else {
            return told.map(str::to_owned);
        };
        let mut challenge = String::from(
            "Bearer error=\"insufficient_user_authentication\", error_description=\"another login is needed\"",
        );
        // Writing to a String cannot fail.
        if !login.acr.is_empty() {
            let _ = write!(challenge, ", acr_values=\"{}\"", login.acr.join(" "));
        }
        if login.max_age_seconds > 0 {
            let _ = write!(challenge, ", max_age=\"{}\"", login.max_age_seconds);
        }
        if let Some(more) = told.and_then(|told| told.strip_prefix("Bearer ")) {
            let _ = write!(challenge, ", {more}");
        }
        Some(challenge)
    }
}

impl conditions::Cause {
    /// A fresh login helps against one of them alone.
    fn status(&self) -> (u16, &'static str) {
        match self {
            Self::Login(_) => UNAUTHORIZED,
            Self::False | Self::Error(_) => (403, "Forbidden"),
        }
    }
}

/// What the operator is told of a condition.
fn why(denial: &Denial) -> String {
    match &denial.cause {
        conditions::Cause::False => "its expression is false".to_owned(),
        conditions::Cause::Error(error) => error.clone(),
        conditions::Cause::Login(_) => "the login is not the one it asks for".to_owned(),
    }
}

/// What the client is told of a condition.
fn told(Denial { name, message, cause, .. }: &Denial) -> String {
    let mut told = match message.as_str() {
        "" => format!("condition {name} is not fulfilled"),
        message => format!("condition {name}: {message}"),
    };
    if let conditions::Cause::Login(login) = cause {
        told.push_str("; ");
        told.push_str(&way_out(login));
    }
    told
}

/// What the client is told of access that has ended, with the reason that somebody has written for it.
fn ended(Revoked { reason, login_helps, .. }: &Revoked) -> ((u16, &'static str), String) {
    let (status, told) = if *login_helps {
        (UNAUTHORIZED, "this login has been revoked: log in again")
    } else {
        ((403, "Forbidden"), "access has been revoked")
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" (reason: {reason})") };
    (status, format!("{told}{reason}"))
}

/// How to get the login that is asked for.
fn way_out(login: &RequiredLogin) -> String {
    let mut command = String::from("log in again: kubectl oidc login");
    if !login.acr.is_empty() {
        let _ = write!(command, " --acr={}", login.acr.join(","));
    }
    if login.max_age_seconds > 0 {
        let _ = write!(command, " --max-age={}", login.max_age_seconds);
    }
    command
}

/// A `Status` object, field for field in kube-apiserver's order.
fn status(code: u16, reason: &str, message: &str, retry_after: Option<u64>) -> String {
    let message = serde_json::Value::from(message);
    let mut body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":{message},"reason":"{reason}""#
    );
    if let Some(seconds) = retry_after {
        // Writing to a String cannot fail.
        let _ = write!(body, r#","details":{{"retryAfterSeconds":{seconds}}}"#);
    }
    let _ = writeln!(body, r#","code":{code}}}"#);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The very bytes that kube-apiserver 1.36 answers.
    #[test]
    fn unauthorized_is_as_upstream_says_it() {
        assert_eq!(
            Refusal::UnknownIssuer.reply(),
            LocalReply {
                code: 401,
                body: concat!(
                    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
                    r#""message":"Unauthorized","reason":"Unauthorized","code":401}"#,
                    "\n"
                )
                .to_owned(),
                retry_after: None,
            }
        );
    }

    #[test]
    fn bodies_are_json_whatever_a_token_says() {
        let refusal = Refusal::Guard {
            issuer: "https://issuer".to_owned(),
            error: GuardError::UnsafeValue { what: "group", value: "\"}\n\u{1}".to_owned() },
        };
        let reply = refusal.reply();
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body["reason"], "Forbidden");
        assert!(body["message"].as_str().unwrap().contains("rule unsafe-value"));
        assert!(!body["message"].as_str().unwrap().contains("https://issuer"));
    }

    #[test]
    fn reasons_are_cut_where_a_client_makes_them_long() {
        let refusal = Refusal::Nominated("é".repeat(10_000));
        assert_eq!(refusal.reason().chars().count(), 513);
        assert_eq!(Refusal::NoCredential.reason(), "no credential");
    }

    #[test]
    fn an_issuer_without_keys_is_worth_another_try() {
        let refusal = Refusal::NoKeys {
            issuer: "https://issuer".to_owned(),
            reason: "discovery: its host refuses the connection: 10.0.0.1".to_owned(),
            cause: Some(Cause::Refused),
            retry_after: Duration::from_millis(2500),
        };
        let reply = refusal.reply();
        assert!(reply.body.contains("are not available yet: its host refuses the connection\""));
        assert_eq!((reply.code, reply.retry_after), (503, Some(2)));
        assert!(reply.body.contains(r#""details":{"retryAfterSeconds":2}"#));
    }
}
