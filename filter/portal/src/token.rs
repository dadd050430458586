//! Making a token. [`gateway_core::portal_token`] says what stands in it, and when it is good.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gateway_core::{
    access::{ORIGIN, Origin},
    portal_keys::KeyRing,
};
use kube_authn::Identity;
use serde_json::{Map, Value, json};

use crate::settings::Settings;

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

/// What a token says of the login with which it is made.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub identity: &'a Identity,
    pub session: Option<&'a str>,
    pub names: Option<&'a Origin>,
}

/// Makes a token of a login. `None` if the library could not sign.
#[must_use]
pub fn issue(
    settings: &Settings,
    keys: &KeyRing,
    login: Login<'_>,
    lifetime: Duration,
    now: Duration,
    random: [u8; 16],
) -> Option<Issued> {
    let Login { identity, session, names } = login;
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
    if let Some(names) = names {
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
