//! A signed assertion as a grant (RFC 7523, section 2.1), as Google has it for service accounts: with domain-wide delegation `sub` is whom
//! the client acts as.

use serde_json::Value;

use super::issue::{Granted, Refresh, requested_scope};
use crate::{
    call::Call,
    client_key,
    config::GrantType,
    logins::Login,
    reply::{ErrorCode, OAuthError},
    state::IssuerShared,
};

pub(super) fn grant(issuer: &IssuerShared, call: &Call) -> Result<Granted, OAuthError> {
    let now = issuer.now();
    let state = issuer.lock();
    let assertion = call
        .form
        .get("assertion")
        .ok_or_else(|| ErrorCode::InvalidRequest.because("no assertion"))?;
    let client = client_key::issuer_of(assertion).and_then(|id| state.client(&id));
    let client = client.ok_or_else(|| ErrorCode::InvalidGrant.because("Invalid issuer."))?;
    if !client.grant_types.contains(&GrantType::JwtBearer) {
        return Err(ErrorCode::UnauthorizedClient.because("the client may not use this grant"));
    }
    let claims = client_key::verify(&state, client, assertion)
        .map_err(|why| ErrorCode::InvalidGrant.because(why))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // Google's words.
    if !client.acts_as.iter().any(|known| Some(known.as_str()) == text("sub")) {
        return Err(ErrorCode::UnauthorizedClient.because(
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.",
        ));
    }
    let scope = requested_scope(&state, client, text("scope").or(call.form.get("scope")))?;
    Ok(Granted { login: Login::new(&client.id, None, scope, now), refresh: Refresh::None })
}
