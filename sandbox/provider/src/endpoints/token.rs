//! The token endpoint (RFC 6749, section 3.2): one module for each grant, and what all of them answer with.

mod authorization_code;
mod client_credentials;
mod device_code;
mod password;
mod refresh;
mod token_exchange;

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use crate::{
    call::Call,
    claims,
    config::{AccessTokenFormat, ClientConfig, GrantType, RefreshTokens},
    encoding::random_secret,
    issuer::{IssuerShared, State},
    logins::{Login, RefreshToken, Scope},
    reply::{self, ErrorCode, OAuthError, Reply},
};

pub(crate) fn answer(issuer: &Arc<IssuerShared>, call: &Call) -> Result<Reply, OAuthError> {
    let grant = call
        .form
        .get("grant_type")
        .ok_or_else(|| ErrorCode::InvalidRequest.because("no grant_type"))?;
    let known = GrantType::all().into_iter().find(|known| known.name() == grant);
    let known = known.ok_or_else(|| {
        ErrorCode::UnsupportedGrantType.because(format_args!("{grant:?} is not known here"))
    })?;
    let granted = match known {
        GrantType::AuthorizationCode => authorization_code::grant(issuer, call),
        GrantType::RefreshToken => refresh::grant(issuer, call),
        GrantType::Password => password::grant(issuer, call),
        GrantType::ClientCredentials => client_credentials::grant(issuer, call),
        GrantType::DeviceCode => device_code::grant(issuer, call),
        GrantType::TokenExchange => token_exchange::grant(issuer, call),
    }?;
    let tokens = tokens(issuer, granted);
    let mut answer = json!(tokens);
    if known == GrantType::TokenExchange {
        // RFC 8693, section 2.2.1.
        answer["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
    }
    Ok(reply::json(StatusCode::OK, &answer))
}

/// The tokens of a login that nobody had to prove.
pub(crate) fn of_login(issuer: &Arc<IssuerShared>, login: Login) -> Tokens {
    let refresh = match issuer.lock().client(&login.client) {
        Some(client) => gets_refresh_token(client, &login),
        None => Refresh::None,
    };
    tokens(issuer, Granted { login, refresh })
}

/// A token endpoint's answer (RFC 6749, section 5.1; OpenID Connect Core, section 3.1.3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the RFC")]
pub struct Tokens {
    pub access_token: String,
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// What a grant comes to.
struct Granted {
    login: Login,
    refresh: Refresh,
}

/// Whether a refresh token goes with the other tokens.
enum Refresh {
    None,
    /// One that stands for this login: when fewer scopes were asked for with a refresh token, the next one still
    /// stands for all (RFC 6749, section 6).
    New {
        of: Login,
    },
}

/// Access token, ID token (if `openid` was asked for) and refresh token (if the client gets one).
fn tokens(issuer: &Arc<IssuerShared>, granted: Granted) -> Tokens {
    let now = issuer.now();
    let login = granted.login;
    let (access_claims, mut id_claims, format, expires_in) = {
        let state = issuer.lock();
        let client = state.client(&login.client);
        (
            claims::access_token(&state, issuer.url(), &login, now),
            claims::id_token(&state, issuer.url(), &login, now),
            client.map(|client| client.access_tokens).unwrap_or_default(),
            claims::lifetime(&state, client),
        )
    };
    let access_token = match format {
        AccessTokenFormat::Jwt => issuer.sign(access_claims),
        AccessTokenFormat::Opaque => random_secret(),
    };
    let id_token = login.scope.has("openid").then(|| {
        let algorithm = issuer.lock().keys.default_key().algorithm();
        let hash = claims::access_token_hash(&access_token, algorithm);
        id_claims.insert("at_hash".to_owned(), json!(hash));
        issuer.sign(id_claims)
    });
    let mut state = issuer.lock();
    let remembered = now + i64::from(state.config.refresh_token_lifetime_seconds).max(expires_in);
    if let Some(id_token) = &id_token {
        state.logins.id_tokens.insert(id_token, login.clone(), remembered, now);
    }
    let scope = login.scope.text();
    state.logins.access_tokens.insert(&access_token, login, now + expires_in, now);
    let refresh_token = match granted.refresh {
        Refresh::New { of } => Some(new_refresh_token(&mut state, of, now)),
        Refresh::None => None,
    };
    Tokens { access_token, token_type: "Bearer", expires_in, scope, id_token, refresh_token }
}

fn new_refresh_token(state: &mut State, login: Login, now: i64) -> String {
    let token = random_secret();
    let expires = now + i64::from(state.config.refresh_token_lifetime_seconds);
    let entry = RefreshToken { login, replaced: false };
    state.logins.refresh_tokens.insert(&token, entry, expires, now);
    token
}

/// Whether a login at this client comes with a refresh token.
fn gets_refresh_token(client: &ClientConfig, login: &Login) -> Refresh {
    let gets = client.grant_types.contains(&GrantType::RefreshToken)
        && match client.refresh_tokens {
            RefreshTokens::Always => true,
            RefreshTokens::OfflineAccessScope => login.scope.has("offline_access"),
            RefreshTokens::AccessTypeOffline => login.offline,
            RefreshTokens::Never => false,
        };
    if gets { Refresh::New { of: login.clone() } } else { Refresh::None }
}

/// The scopes of a request, with those that the client has without asking.
pub(crate) fn requested_scope(
    state: &State,
    client: &ClientConfig,
    scope: Option<&str>,
) -> Result<Scope, OAuthError> {
    let mut asked = Scope::parse(scope.unwrap_or_default());
    asked.add(client.default_scopes.iter().map(String::as_str));
    let unknown = asked.iter().find(|one| !state.config.scopes.iter().any(|known| known == one));
    if let Some(unknown) = unknown {
        return Err(ErrorCode::InvalidScope.because(format_args!("unknown scope {unknown:?}")));
    }
    Ok(asked)
}
