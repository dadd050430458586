//! Making a token. [`gateway_core::portal_token`] says what stands in it, and when it is good.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gateway_core::{access::ORIGIN, portal_keys::KeyRing};
use serde_json::{Map, Value, json};

use crate::{caller::Caller, settings::Settings};

/// A token that has just been made.
pub struct Issued {
    /// In compact form (RFC 7515, section 3.1).
    pub token: String,
    /// The id of the key that signed it.
    pub key: String,
    /// `jti`
    pub id: String,
    /// How long it lives.
    pub lifetime: Duration,
}

/// Makes a token for a caller, which names the session and the login that it is of. `None` if the library could not sign.
#[must_use]
pub fn issue(
    settings: &Settings,
    keys: &KeyRing,
    caller: &Caller,
    lifetime: Duration,
    now: Duration,
    random: [u8; 16],
) -> Option<Issued> {
    let Caller { identity, session, origin, .. } = caller;
    let id = BASE64.encode(random);
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("aud", json!(settings.audience));
    put("exp", json!(now.saturating_add(lifetime).as_secs()));
    put("nbf", json!(now.as_secs()));
    put("sub", json!(identity.username));
    put("iat", json!(now.as_secs()));
    put("jti", json!(id));
    if let Some(session) = session {
        put("sid", json!(session));
    }
    if let Some(names) = origin.as_ref().and_then(|origin| origin.names.as_ref()) {
        put(ORIGIN, json!(names.text()));
    }
    let groups = if keys.signs_es256() {
        put("iss", json!(settings.issuer));
        "groups"
    } else {
        "grp"
    };
    if !identity.groups.is_empty() {
        put(groups, json!(identity.groups));
    }
    let (key, token) = keys.sign(&Value::Object(claims))?;
    Some(Issued { token, key: key.to_owned(), id, lifetime })
}
