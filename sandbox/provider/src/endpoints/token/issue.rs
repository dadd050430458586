//! What every grant comes to: access token, ID token and refresh token of a login.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::{
    claims,
    config::{AccessTokenFormat, ClientConfig, GrantType, RefreshTokens},
    encoding::random_secret,
    logins::{Login, RefreshToken, Scope},
    reply::{ErrorCode, OAuthError},
    state::{IssuerShared, State},
};

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

/// The claims of a lightweight token.
const LIGHTWEIGHT: [&str; 6] = ["iss", "iat", "exp", "jti", "azp", "scope"];

/// What a grant comes to.
pub(super) struct Granted {
    pub(super) login: Login,
    pub(super) refresh: Refresh,
}

/// Whether a refresh token goes with the other tokens.
pub(super) enum Refresh {
    None,
    /// One that stands for this login: when fewer scopes were asked for with a refresh token, the next one still
    /// stands for all (RFC 6749, section 6).
    New {
        of: Login,
    },
}

/// Access token, ID token (if `openid` was asked for) and refresh token (if the client gets one).
pub(super) fn tokens(issuer: &Arc<IssuerShared>, granted: Granted) -> Tokens {
    let now = issuer.now();
    let login = granted.login;
    let (mut access_claims, mut id_claims, format, prefix, expires_in) = {
        let state = issuer.lock();
        let client = state.client(&login.client);
        (
            claims::access_token(&state, issuer.url(), &login, now),
            claims::id_token(&state, issuer.url(), &login, now),
            client.map(|client| client.access_tokens).unwrap_or_default(),
            client.map(|client| client.access_token_prefix.clone()).unwrap_or_default(),
            claims::lifetime(&state, client),
        )
    };
    let access_token = match format {
        AccessTokenFormat::Jwt => issuer.sign(access_claims),
        AccessTokenFormat::Opaque => prefix + &random_secret(),
        AccessTokenFormat::Lightweight => {
            access_claims.retain(|name, _| LIGHTWEIGHT.contains(&name.as_str()));
            issuer.sign(access_claims)
        }
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
pub(super) fn gets_refresh_token(client: &ClientConfig, login: &Login) -> Refresh {
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
