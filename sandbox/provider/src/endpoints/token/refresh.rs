//! Refresh tokens (RFC 6749, section 6), with rotation and reuse detection (RFC 9700, section 4.14.2).

use super::issue::{Granted, Refresh};
use crate::{
    call::Call,
    config::GrantType,
    endpoints::client,
    logins::Scope,
    reply::{ErrorCode, OAuthError},
    state::IssuerShared,
};

pub(super) fn grant(issuer: &IssuerShared, call: &Call) -> Result<Granted, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let client = client::authorize(&state, call, GrantType::RefreshToken)?.clone();
    let secret = call
        .form
        .get("refresh_token")
        .ok_or_else(|| ErrorCode::InvalidRequest.because("no refresh_token"))?;
    let invalid = |why| ErrorCode::InvalidGrant.because(why);
    let token = state
        .logins
        .refresh_tokens
        .get(secret, now)
        .filter(|token| token.login.client == client.id)
        .ok_or_else(|| invalid("the refresh token is unknown, expired or revoked"))?;
    let mut login = token.login.clone();
    if token.replaced {
        state.logins.end(&login.id);
        return Err(invalid("the refresh token has been replaced; the login is ended"));
    }
    let user = login.user.as_deref();
    if user.is_none_or(|user| state.user(user).is_none()) {
        return Err(invalid("the user is gone"));
    }
    let refresh = if client.rotate_refresh_tokens {
        if let Some(token) = state.logins.refresh_tokens.get(secret, now) {
            token.replaced = true;
        }
        Refresh::New { of: login.clone() }
    } else {
        Refresh::None
    };
    if let Some(mut fewer) = call.form.get("scope").map(Scope::parse) {
        fewer.add(client.default_scopes.iter().map(String::as_str));
        if !fewer.is_within(&login.scope) {
            return Err(ErrorCode::InvalidScope.because("more than was granted"));
        }
        login.scope = fewer;
    }
    // OpenID Connect Core, section 12.2: the nonce belongs to the first ID token.
    login.nonce = None;
    Ok(Granted { login, refresh })
}
