//! Token exchange (RFC 8693): a token that was issued here becomes one for another client of this issuer.

use super::issue::{Granted, Refresh};
use crate::{
    call::Call,
    config::GrantType,
    endpoints::client,
    logins::{Login, Scope},
    reply::{ErrorCode, OAuthError},
    state::IssuerShared,
};

const TYPES: &str = "urn:ietf:params:oauth:token-type:";

pub(super) fn grant(issuer: &IssuerShared, call: &Call) -> Result<Granted, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let client = client::authorize(&state, call, GrantType::TokenExchange)?.clone();
    let field = |name: &str| {
        call.form
            .get(name)
            .ok_or_else(|| ErrorCode::InvalidRequest.because(format_args!("no {name}")))
    };
    let (subject, kind) = (field("subject_token")?, field("subject_token_type")?);
    let known = match kind.strip_prefix(TYPES) {
        Some("access_token") => state.logins.access_tokens.get(subject, now).cloned(),
        Some("id_token" | "jwt") => state.logins.id_tokens.get(subject, now).cloned(),
        _ => return Err(ErrorCode::InvalidRequest.because(format_args!("{kind:?} is not taken"))),
    };
    let known = known.ok_or_else(|| {
        ErrorCode::InvalidRequest.because("the subject_token is unknown or expired")
    })?;
    let audience = call.form.get("audience").unwrap_or(&client.id).to_owned();
    if state.client(&audience).is_none() {
        return Err(ErrorCode::InvalidTarget.because(format_args!("{audience:?} is unknown")));
    }
    // The answer's token is an access token, whose form has no place for an ID token.
    let mut scope = Scope::default();
    scope.add(known.scope.iter().filter(|one| *one != "openid"));
    let login = Login::new(&audience, known.user.as_deref(), scope, known.auth_time);
    Ok(Granted { login, refresh: Refresh::None })
}
