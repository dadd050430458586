//! The discovery document (OpenID Connect Discovery, section 3) and the key set it points to.

use serde_json::json;

use crate::{
    config::{ClientAuthentication, GrantType},
    endpoint::Endpoint,
    reply::{self, Reply},
    state::IssuerShared,
};

pub(crate) fn document(issuer: &IssuerShared) -> Reply {
    let state = issuer.lock();
    let at = |endpoint| issuer.endpoint(endpoint);
    let grants: Vec<_> = GrantType::all().into_iter().map(GrantType::name).collect();
    let mut authentication = vec![json!("none")];
    authentication.extend(ClientAuthentication::all().into_iter().map(|method| json!(method)));
    let mut document = json!({
        "issuer": issuer.url(),
        "authorization_endpoint": at(Endpoint::Authorization),
        "token_endpoint": at(Endpoint::Token),
        "jwks_uri": at(Endpoint::Jwks),
        "userinfo_endpoint": at(Endpoint::Userinfo),
        "device_authorization_endpoint": at(Endpoint::DeviceAuthorization),
        "revocation_endpoint": at(Endpoint::Revocation),
        "introspection_endpoint": at(Endpoint::Introspection),
        "end_session_endpoint": at(Endpoint::EndSession),
        "authorization_response_iss_parameter_supported": true,
        "claim_types_supported": ["normal", "distributed"],
        "claims_supported": [
            "aud", "auth_time", "azp", "email", "email_verified", "exp", "groups", "iat", "iss",
            "name", "nonce", "preferred_username", "sub"
        ],
        "code_challenge_methods_supported": ["S256", "plain"],
        "grant_types_supported": grants,
        "id_token_signing_alg_values_supported": state.keys.algorithms(),
        "prompt_values_supported": ["login", "none"],
        "response_modes_supported": ["query"],
        "response_types_supported": ["code"],
        "scopes_supported": state.config.scopes,
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": authentication,
        "revocation_endpoint_auth_methods_supported": authentication,
        "introspection_endpoint_auth_methods_supported": ClientAuthentication::all(),
    });
    if !state.config.acr_values.is_empty() {
        document["acr_values_supported"] = json!(state.config.acr_values);
    }
    reply::document(&document, state.config.cache_control.as_deref())
}

pub(crate) fn key_set(issuer: &IssuerShared) -> Reply {
    let state = issuer.lock();
    reply::document(&state.keys.jwks(), state.config.cache_control.as_deref())
}
