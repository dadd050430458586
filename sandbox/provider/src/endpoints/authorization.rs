//! The authorization endpoint: code flow (RFC 6749, section 4.1; OpenID Connect Core, section 3.1) with PKCE (RFC 7636),
//! a login page, and a session so that the next client need not ask again.

mod request;

use http::{StatusCode, header};
use url::Url;

use self::request::{Prompt, Request};
use crate::{
    call::Call,
    encoding::random_secret,
    endpoint::Endpoint,
    logins::{Code, Login, Session},
    pages,
    reply::{self, ErrorCode, OAuthError, Reply},
    state::IssuerShared,
};

/// The cookie that holds the session.
pub(super) const SESSION_COOKIE: &str = "oidc_provider_session";

/// Seconds that a code is good for; RFC 6749 (4.1.2) allows ten minutes, clients need less than one.
const CODE_LIFETIME: i64 = 60;
const SESSION_LIFETIME: i64 = 8 * 3600;

pub(super) fn answer(issuer: &IssuerShared, call: &Call) -> Reply {
    // The login page posts back to the request's own address; any other POST is a request in the body.
    let is_login = call.form.get("cancel").or(call.form.get("username")).is_some();
    let parameters = if is_login { &call.query } else { call.parameters() };
    let request = match Request::parse(&issuer.lock(), parameters) {
        Ok(request) => request,
        Err(request::Refused::NoWayBack(why)) => {
            return pages::error(StatusCode::BAD_REQUEST, &why);
        }
        Err(request::Refused::ToClient { redirect_uri, state, error }) => {
            return back_with_error(issuer, &redirect_uri, state.as_deref(), &error);
        }
    };
    if call.form.get("cancel").is_some() {
        let error = ErrorCode::AccessDenied.because("the login was cancelled");
        return back_with_error(issuer, &request.redirect_uri, request.state.as_deref(), &error);
    }
    let action = format!("{}?{}", issuer.endpoint(Endpoint::Authorization), parameters.encode());
    if is_login {
        return log_in(issuer, call, request, &action);
    }
    match usable_session(issuer, call, &request) {
        Some(session) => back_with_code(issuer, request, &session),
        None if request.prompt == Prompt::None => {
            let error = ErrorCode::LoginRequired.because("nobody is logged in");
            back_with_error(issuer, &request.redirect_uri, request.state.as_deref(), &error)
        }
        None => pages::login(StatusCode::OK, issuer.name(), &request.client, &action, None),
    }
}

fn log_in(issuer: &IssuerShared, call: &Call, request: Request, action: &str) -> Reply {
    let now = issuer.now();
    let name = call.form.get("username").unwrap_or_default();
    let password = call.form.get("password").unwrap_or_default();
    let user = issuer.lock().log_in(name, password).map(|user| user.name.clone());
    let Some(user) = user else {
        return pages::login(
            StatusCode::FORBIDDEN,
            issuer.name(),
            &request.client,
            action,
            Some("Wrong user name or password."),
        );
    };
    let session = Session { user, auth_time: now, acr: request.acr.clone() };
    let secret = random_secret();
    issuer.lock().logins.sessions.insert(&secret, session.clone(), now + SESSION_LIFETIME, now);
    let path = if issuer.path().is_empty() { "/" } else { issuer.path() };
    let cookie = format!("{SESSION_COOKIE}={secret}; Path={path}; HttpOnly; Secure; SameSite=Lax");
    reply::with(back_with_code(issuer, request, &session), header::SET_COOKIE, &cookie)
}

/// The browser's session, if the request allows to use it.
fn usable_session(issuer: &IssuerShared, call: &Call, request: &Request) -> Option<Session> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let session = state.logins.sessions.get(call.cookie(SESSION_COOKIE)?, now)?.clone();
    let young_enough = request.max_age.is_none_or(|age| now - session.auth_time <= age);
    let strong_enough = request.acr.is_none() || request.acr == session.acr;
    let still_there = state.user(&session.user).is_some();
    (request.prompt != Prompt::Login && young_enough && strong_enough && still_there)
        .then_some(session)
}

fn back_with_code(issuer: &IssuerShared, request: Request, session: &Session) -> Reply {
    let now = issuer.now();
    let secret = random_secret();
    let mut login =
        Login::new(&request.client, Some(&session.user), request.scope, session.auth_time);
    login.nonce = request.nonce;
    login.acr.clone_from(&session.acr);
    login.offline = request.offline;
    let code = Code {
        login,
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge,
        used: false,
    };
    issuer.lock().logins.codes.insert(&secret, code, now + CODE_LIFETIME, now);
    back(issuer, &request.redirect_uri, request.state.as_deref(), &[("code", &secret)])
}

fn back_with_error(
    issuer: &IssuerShared,
    redirect_uri: &str,
    state: Option<&str>,
    error: &OAuthError,
) -> Reply {
    let parameters =
        [("error", error.code.name()), ("error_description", error.description.as_str())];
    back(issuer, redirect_uri, state, &parameters)
}

/// Back to the client, with its `state` and our `iss` (RFC 9207).
fn back(
    issuer: &IssuerShared,
    redirect_uri: &str,
    state: Option<&str>,
    parameters: &[(&str, &str)],
) -> Reply {
    // It was parsed when it was compared with the registered ones.
    let Ok(mut url) = Url::parse(redirect_uri) else {
        return pages::error(StatusCode::BAD_REQUEST, "the redirect URI is not a URL");
    };
    url.query_pairs_mut()
        .extend_pairs(parameters)
        .extend_pairs(state.map(|state| ("state", state)))
        .append_pair("iss", issuer.url());
    reply::see_other(url.as_str())
}
