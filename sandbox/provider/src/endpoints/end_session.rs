//! Logout (OpenID Connect RP-Initiated Logout 1.0).

use http::{StatusCode, header};
use url::Url;

use super::authorization::SESSION_COOKIE;
use crate::{
    call::Call,
    pages,
    reply::{self, Reply},
    state::IssuerShared,
};

/// Ends the session and all tokens of the user whom the ID token or the browser's session names, then sends the browser
/// back if the client may ask for that.
pub(super) fn answer(issuer: &IssuerShared, call: &Call) -> Reply {
    let now = issuer.now();
    let mut state = issuer.lock();
    let parameters = call.parameters();
    let refuse = |why| pages::error(StatusCode::BAD_REQUEST, why);

    let hint = match parameters.get("id_token_hint") {
        Some(token) => match state.logins.id_tokens.get(token, now) {
            Some(login) => Some(login.clone()),
            None => return refuse("The ID token is not ours."),
        },
        None => None,
    };
    let named = parameters.get("client_id");
    if let (Some(login), Some(named)) = (&hint, named)
        && login.client != named
    {
        return refuse("The ID token is another client's.");
    }
    let back = match parameters.get("post_logout_redirect_uri") {
        Some(uri) => {
            let id = hint.as_ref().map(|login| login.client.as_str()).or(named);
            let client = id.and_then(|id| state.client(id));
            if !client.is_some_and(|client| client.may_return_after_logout_to(uri)) {
                return refuse("The redirect URI is not registered for the client.");
            }
            Url::parse(uri).ok()
        }
        None => None,
    };

    let session = call
        .cookie(SESSION_COOKIE)
        .and_then(|cookie| state.logins.sessions.take(cookie, now).map(|session| session.user));
    if let Some(user) = hint.and_then(|login| login.user).or(session) {
        state.logins.end_user(&user, None);
    }
    let reply = match back {
        Some(mut url) => {
            if let Some(value) = parameters.get("state") {
                url.query_pairs_mut().append_pair("state", value);
            }
            reply::see_other(url.as_str())
        }
        None => pages::done("You are logged out", "You may close this page."),
    };
    let path = if issuer.path().is_empty() { "/" } else { issuer.path() };
    let gone = format!("{SESSION_COOKIE}=; Path={path}; Max-Age=0; HttpOnly; Secure; SameSite=Lax");
    reply::with(reply, header::SET_COOKIE, &gone)
}
