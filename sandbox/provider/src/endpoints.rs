//! What each endpoint answers when it behaves.

mod client;
mod discovery;
mod token;

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::{
    call::Call,
    endpoint::Endpoint,
    issuer::IssuerShared,
    reply::{self, OAuthError, Reply},
};

/// The good answer of an endpoint.
pub(crate) fn answer(issuer: &Arc<IssuerShared>, endpoint: Endpoint, call: &Call) -> Reply {
    if !methods(endpoint).contains(&call.method) {
        return reply::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    }
    let answer: Result<Reply, OAuthError> = match endpoint {
        Endpoint::Discovery => Ok(discovery::document(issuer)),
        Endpoint::Jwks => Ok(discovery::key_set(issuer)),
        Endpoint::Token => token::answer(issuer, call),
        _ => Ok(reply::text(StatusCode::NOT_FOUND, "not found")),
    };
    answer.unwrap_or_else(|error| error.reply())
}

fn methods(endpoint: Endpoint) -> &'static [Method] {
    match endpoint {
        Endpoint::Discovery | Endpoint::Jwks | Endpoint::Claims => &[Method::GET, Method::HEAD],
        Endpoint::Token | Endpoint::DeviceAuthorization | Endpoint::Revocation => &[Method::POST],
        Endpoint::Authorization
        | Endpoint::DeviceVerification
        | Endpoint::Userinfo
        | Endpoint::EndSession => &[Method::GET, Method::POST],
    }
}
