//! Distributed claims (OpenID Connect Core, section 5.6.2): a signed JWT with the user's groups, for whoever holds the
//! access token of its source. kube-apiserver fetches groups from such a place.

use std::sync::Arc;

use serde_json::json;

use crate::{
    call::Call,
    reply::{self, ErrorCode, OAuthError, Reply},
    state::IssuerShared,
};

pub(super) fn answer(issuer: &Arc<IssuerShared>, call: &Call) -> Result<Reply, OAuthError> {
    let now = issuer.now();
    let refused = || ErrorCode::InvalidToken.because("no claims for this access token");
    let claims = {
        let mut state = issuer.lock();
        let token = call.bearer_token().ok_or_else(refused)?;
        let source = state.logins.claims_sources.get(token, now).ok_or_else(refused)?.clone();
        let user = state.user(&source.user).ok_or_else(refused)?;
        json!({
            "iss": issuer.url(),
            "sub": user.sub_claim(),
            "aud": source.audience,
            "iat": now,
            "exp": now + i64::from(state.config.token_lifetime_seconds),
            "groups": user.groups,
        })
    };
    let claims = claims.as_object().cloned().unwrap_or_default();
    Ok(reply::jwt(issuer.sign(claims)))
}
