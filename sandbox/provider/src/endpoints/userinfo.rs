//! The userinfo endpoint (OpenID Connect Core, section 5.3).

use http::{StatusCode, header};
use serde_json::Value;

use crate::{
    call::Call,
    claims,
    reply::{self, ErrorCode, OAuthError, Reply},
    state::IssuerShared,
};

pub(super) fn answer(issuer: &IssuerShared, call: &Call) -> Result<Reply, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let Some(token) = call.bearer_token() else {
        // No error code for who did not know that a token is needed (RFC 6750, section 3.1).
        let reply = reply::empty(StatusCode::UNAUTHORIZED);
        return Ok(reply::with(reply, header::WWW_AUTHENTICATE, "Bearer"));
    };
    let login = state
        .logins
        .access_tokens
        .get(token, now)
        .filter(|login| login.scope.has("openid"))
        .cloned()
        .ok_or_else(|| ErrorCode::InvalidToken.because("unknown, expired or revoked"))?;
    Ok(reply::json(StatusCode::OK, &Value::Object(claims::identity(&state, &login))))
}
