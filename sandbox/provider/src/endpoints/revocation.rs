//! Token revocation (RFC 7009).

use http::StatusCode;

use super::client;
use crate::{
    call::Call,
    reply::{self, ErrorCode, OAuthError, Reply},
    state::IssuerShared,
};

/// A refresh token takes its whole login with it; an access token goes alone. Unknown tokens are revoked already
/// (section 2.2).
pub(super) fn answer(issuer: &IssuerShared, call: &Call) -> Result<Reply, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let client = client::authenticate(&state, call)?.id.clone();
    let token =
        call.form.get("token").ok_or_else(|| ErrorCode::InvalidRequest.because("no token"))?;
    let logins = &mut state.logins;
    let refreshing = logins.refresh_tokens.get(token, now).map(|token| token.login.clone());
    let owner = refreshing.clone().or_else(|| logins.access_tokens.get(token, now).cloned());
    if owner.is_some_and(|login| login.client != client) {
        return Err(ErrorCode::UnauthorizedClient.because("the token is another client's"));
    }
    match refreshing {
        Some(login) => logins.end(&login.id),
        None => drop(logins.access_tokens.take(token, now)),
    }
    Ok(reply::empty(StatusCode::OK))
}
