//! The discovery document and the key set, for whoever checks the portal's ES256 tokens (OpenID Connect Discovery 1.0).

use serde_json::json;

use super::{KeyRing, Response, Settings};

/// How long the answers may be kept. Less than what a key must be published before it signs.
const KEPT: &str = "public, max-age=300";

/// `GET /.well-known/openid-configuration`
#[must_use]
pub fn document(settings: &Settings) -> Response {
    let Some(issuer) = &settings.issuer else { return Response::text(404, "404 page not found") };
    Response::json(
        200,
        &json!({
            "issuer": issuer,
            "jwks_uri": format!("{}/keys", issuer.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
    )
    .with("cache-control", KEPT)
}

/// `GET /keys`
#[must_use]
pub fn keys(settings: &Settings, keys: &KeyRing) -> Response {
    if settings.issuer.is_none() {
        return Response::text(404, "404 page not found");
    }
    Response::json(200, keys.jwks()).with("cache-control", KEPT)
}
