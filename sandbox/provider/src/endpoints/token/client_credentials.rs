//! Client credentials (RFC 6749, section 4.4): the client acts for itself.

use super::issue::{Granted, Refresh, requested_scope};
use crate::{
    call::Call,
    config::GrantType,
    endpoints::client,
    logins::Login,
    reply::{ErrorCode, OAuthError},
    state::IssuerShared,
};

pub(super) fn grant(issuer: &IssuerShared, call: &Call) -> Result<Granted, OAuthError> {
    let now = issuer.now();
    let state = issuer.lock();
    let client = client::authorize(&state, call, GrantType::ClientCredentials)?;
    if !client.is_confidential() {
        return Err(ErrorCode::UnauthorizedClient.because("a public client proves nothing"));
    }
    let scope = requested_scope(&state, client, call.form.get("scope"))?;
    Ok(Granted { login: Login::new(&client.id, None, scope, now), refresh: Refresh::None })
}
