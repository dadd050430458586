//! The token endpoint (RFC 6749, section 3.2): one module for each grant, and what all of them answer with.

mod authorization_code;
mod client_credentials;
mod device_code;
pub(crate) mod issue;
mod jwt_bearer;
mod password;
mod refresh;
mod token_exchange;

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use crate::{
    call::Call,
    config::GrantType,
    reply::{self, ErrorCode, OAuthError, Reply},
    state::IssuerShared,
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
        GrantType::JwtBearer => jwt_bearer::grant(issuer, call),
    }?;
    let tokens = issue::tokens(issuer, granted);
    let mut answer = json!(tokens);
    if known == GrantType::TokenExchange {
        // RFC 8693, section 2.2.1.
        answer["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
    }
    Ok(reply::json(StatusCode::OK, &answer))
}
