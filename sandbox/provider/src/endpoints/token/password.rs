//! Resource owner password credentials (RFC 6749, section 4.3).

use super::issue::{Granted, gets_refresh_token, requested_scope};
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
    let client = client::authorize(&state, call, GrantType::Password)?;
    let (Some(name), Some(password)) = (call.form.get("username"), call.form.get("password"))
    else {
        return Err(ErrorCode::InvalidRequest.because("username and password are required"));
    };
    let user = state
        .log_in(name, password)
        .ok_or_else(|| ErrorCode::InvalidGrant.because("wrong user name or password"))?;
    let scope = requested_scope(&state, client, call.form.get("scope"))?;
    let login = Login::new(&client.id, Some(&user.name), scope, now);
    Ok(Granted { refresh: gets_refresh_token(client, &login), login })
}
