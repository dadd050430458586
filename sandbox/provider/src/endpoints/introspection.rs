//! Token introspection (RFC 7662).

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::client;
use crate::{
    call::Call,
    claims,
    logins::Login,
    reply::{self, ErrorCode, OAuthError, Reply},
    state::{IssuerShared, State},
};

/// What a token stands for, said to clients that have a secret alone. As many servers do, this one answers for refresh tokens, too.
pub(super) fn answer(issuer: &IssuerShared, call: &Call) -> Result<Reply, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    if !client::authenticate(&state, call)?.is_confidential() {
        return Err(ErrorCode::InvalidClient.because("a public client may not ask"));
    }
    let token =
        call.form.get("token").ok_or_else(|| ErrorCode::InvalidRequest.because("no token"))?;
    let access = state.logins.access_tokens.get(token, now).cloned();
    let refresh = state.logins.refresh_tokens.get(token, now);
    let refresh = refresh.filter(|token| !token.replaced).map(|token| token.login.clone());
    let answer = match (access, refresh) {
        (Some(login), _) => {
            let expires = state.logins.access_tokens.expires(token);
            described(&state, issuer, &login, expires, "Bearer")
        }
        (None, Some(login)) => {
            let expires = state.logins.refresh_tokens.expires(token);
            described(&state, issuer, &login, expires, "Refresh")
        }
        (None, None) => json!({"active": false}),
    };
    Ok(reply::json(StatusCode::OK, &answer))
}

fn described(
    state: &State,
    issuer: &IssuerShared,
    login: &Login,
    expires: Option<i64>,
    kind: &str,
) -> Value {
    let mut answer: Map<String, Value> =
        claims::access_token(state, issuer.url(), login, login.auth_time);
    answer.insert("active".to_owned(), json!(true));
    answer.insert("token_type".to_owned(), json!(kind));
    answer.insert("exp".to_owned(), json!(expires));
    // The same for as long as the token lives.
    answer.insert("jti".to_owned(), json!(login.id));
    if let Some(user) = &login.user {
        answer.insert("username".to_owned(), json!(user));
    }
    Value::Object(answer)
}
