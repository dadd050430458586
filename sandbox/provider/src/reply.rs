//! Answers: JSON, pages, redirects, and the errors of OAuth (RFC 6749, section 5.2).

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// An answer, complete.
pub(crate) type Reply = Response<Bytes>;

/// An error as OAuth clients understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OAuthError {
    pub(crate) code: ErrorCode,
    pub(crate) description: String,
}

/// The error codes of RFC 6749 (4.1.2.1, 5.2), RFC 6750 (3.1), RFC 8628 (3.5) and OpenID Connect Core (3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidScope,
    AccessDenied,
    LoginRequired,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    InvalidToken,
    InvalidTarget,
}

impl ErrorCode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidToken => "invalid_token",
            Self::InvalidTarget => "invalid_target",
        }
    }

    pub(crate) fn because(self, description: impl fmt::Display) -> OAuthError {
        OAuthError { code: self, description: description.to_string() }
    }
}

impl OAuthError {
    /// The error as the JSON body of a token endpoint's answer. Whoever tried HTTP authentication is told to try it
    /// again (RFC 6749, section 5.2, `invalid_client`).
    pub(crate) fn reply(&self) -> Reply {
        let status = match self.code {
            ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({"error": self.code.name(), "error_description": self.description});
        let reply = json(status, &body);
        match self.code {
            ErrorCode::InvalidClient => with(reply, header::WWW_AUTHENTICATE, "Basic"),
            ErrorCode::InvalidToken => {
                with(reply, header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
            }
            _ => reply,
        }
    }
}

/// A JSON answer that nobody may keep.
pub(crate) fn json(status: StatusCode, body: &Value) -> Reply {
    with(typed(status, "application/json", body.to_string()), header::CACHE_CONTROL, "no-store")
}

/// A JSON answer that may be kept as `cache_control` says.
pub(crate) fn document(body: &Value, cache_control: Option<&str>) -> Reply {
    let reply = typed(StatusCode::OK, "application/json", body.to_string());
    match cache_control {
        Some(value) => with(reply, header::CACHE_CONTROL, value),
        None => reply,
    }
}

/// A signed JWT (RFC 7519, section 10.3.1).
pub(crate) fn jwt(token: String) -> Reply {
    with(typed(StatusCode::OK, "application/jwt", token), header::CACHE_CONTROL, "no-store")
}

/// A page.
pub(crate) fn page(status: StatusCode, html: String) -> Reply {
    with(typed(status, "text/html; charset=utf-8", html), header::CACHE_CONTROL, "no-store")
}

/// A line of text.
pub(crate) fn text(status: StatusCode, line: impl fmt::Display) -> Reply {
    typed(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = status;
    reply
}

/// 303, so that the browser comes with GET.
pub(crate) fn see_other(location: &str) -> Reply {
    let reply = with(empty(StatusCode::SEE_OTHER), header::LOCATION, location);
    with(reply, header::CACHE_CONTROL, "no-store")
}

/// The same answer with a header; one that cannot be sent is left out.
pub(crate) fn with(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
