//! What each endpoint answers when it behaves.

mod authorization;
mod client;
pub(crate) mod device;
mod directory;
mod discovery;
mod distributed_claims;
mod end_session;
mod introspection;
mod revocation;
pub(crate) mod token;
mod userinfo;

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::{
    call::Call,
    endpoint::Endpoint,
    reply::{self, Reply},
    state::IssuerShared,
};

/// The good answer of an endpoint.
pub(crate) fn answer(issuer: &Arc<IssuerShared>, endpoint: Endpoint, call: &Call) -> Reply {
    if !methods(endpoint).contains(&call.method) {
        return reply::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    }
    let answer = match endpoint {
        Endpoint::Discovery => Ok(discovery::document(issuer)),
        Endpoint::Jwks => Ok(discovery::key_set(issuer)),
        Endpoint::Authorization => Ok(authorization::answer(issuer, call)),
        Endpoint::Token => token::answer(issuer, call),
        Endpoint::DeviceAuthorization => device::authorize(issuer, call),
        Endpoint::DeviceVerification => Ok(device::verify(issuer, call)),
        Endpoint::Userinfo => userinfo::answer(issuer, call),
        Endpoint::Revocation => revocation::answer(issuer, call),
        Endpoint::Introspection => introspection::answer(issuer, call),
        Endpoint::EndSession => Ok(end_session::answer(issuer, call)),
        Endpoint::Claims => distributed_claims::answer(issuer, call),
        Endpoint::Directory => directory::answer(issuer, call),
    };
    answer.unwrap_or_else(|error| error.reply())
}

fn methods(endpoint: Endpoint) -> &'static [Method] {
    match endpoint {
        Endpoint::Discovery | Endpoint::Jwks | Endpoint::Claims => &[Method::GET, Method::HEAD],
        Endpoint::Token
        | Endpoint::DeviceAuthorization
        | Endpoint::Revocation
        | Endpoint::Introspection => &[Method::POST],
        Endpoint::Authorization
        | Endpoint::DeviceVerification
        | Endpoint::Userinfo
        | Endpoint::Directory
        | Endpoint::EndSession => &[Method::GET, Method::POST],
    }
}
