//! Orders to one issuer.
//!
//! ```text
//! GET    /issuers/NAME/requests                        {"discovery": 1, …}
//! DELETE /issuers/NAME/requests                        count from zero again
//! PATCH  /issuers/NAME/settings                        {"token_lifetime_seconds": 60, "jti": false,
//!                                                       "cache_control": "max-age=60", "clock_offset_seconds": -90}
//! POST   /issuers/NAME/keys/rotate                     "overlap" or "replace"
//! POST   /issuers/NAME/keys/retire                     the end of an overlap
//! PUT    /issuers/NAME/misbehaviours/ENDPOINT          {"delay_ms": 500, "answer": {"status": 503}, "times": 3}
//! DELETE /issuers/NAME/misbehaviours[/ENDPOINT]        good again
//! POST   /issuers/NAME/users                           a user, as in the configuration; replaces one of that name
//! DELETE /issuers/NAME/users/USER
//! PUT    /issuers/NAME/users/USER/groups               ["a", "b"]
//! PUT    /issuers/NAME/users/USER/groups/GROUP         and DELETE
//! DELETE /issuers/NAME/users/USER/logins               refresh and access tokens are refused from now on
//! POST   /issuers/NAME/clients                         a client, as in the configuration
//! POST   /issuers/NAME/devices/USER_CODE               {"user": "alice"}, or {} to refuse it
//! POST   /issuers/NAME/tokens                          {"user": "alice", "client": "cli", "expires_in": -10,
//!                                                       "claims": {…}, "without": [], "header": {…}, "sign": "none"}
//! ```

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Order, Refused, done};
use crate::{
    config::{ClientConfig, User},
    endpoint::Endpoint,
    issuer::Issuer,
    keys::Rotation,
    mint::SignWith,
    misbehaviour::Misbehaviour,
    reply::{self, Reply},
};

pub(super) fn route(issuer: &Issuer, order: &Order, path: &[&str]) -> Result<Reply, Refused> {
    match (order.method.as_str(), path) {
        ("GET", ["requests"]) => Ok(reply::json(StatusCode::OK, &json!(issuer.all_requests()))),
        ("DELETE", ["requests"]) => {
            issuer.reset_requests();
            Ok(done())
        }
        ("PATCH", ["settings"]) => order.json().map(|settings: Settings| settings.apply(issuer)),
        ("POST", ["keys", "rotate"]) => {
            issuer.rotate(order.json::<Rotation>()?);
            Ok(done())
        }
        ("POST", ["keys", "retire"]) => {
            issuer.retire_old_keys();
            Ok(done())
        }
        ("PUT", ["misbehaviours", endpoint]) => {
            let misbehaviour = order.json::<Misbehaviour>()?;
            issuer.misbehave(parse(endpoint)?, misbehaviour).map_err(Refused::bad)?;
            Ok(done())
        }
        ("DELETE", ["misbehaviours", endpoint]) => {
            issuer.behave_at(parse(endpoint)?);
            Ok(done())
        }
        ("DELETE", ["misbehaviours"]) => {
            issuer.behave();
            Ok(done())
        }
        ("POST", ["clients"]) => {
            issuer.put_client(order.json::<ClientConfig>()?);
            Ok(done())
        }
        ("POST", ["devices", code]) => decide(issuer, code, order),
        ("POST", ["tokens"]) => order.json::<Token>()?.mint(issuer),
        (_, ["users", rest @ ..]) => users(issuer, order, rest),
        _ => Err(Refused::unknown(order)),
    }
}

fn users(issuer: &Issuer, order: &Order, path: &[&str]) -> Result<Reply, Refused> {
    let changed = match (order.method.as_str(), path) {
        ("POST", []) => {
            issuer.put_user(order.json::<User>()?);
            Ok(())
        }
        ("DELETE", [user]) => {
            issuer.remove_user(user);
            Ok(())
        }
        ("DELETE", [user, "logins"]) => {
            issuer.end_logins(user);
            Ok(())
        }
        ("PUT", [user, "groups"]) => issuer.set_groups(user, order.json::<Vec<String>>()?),
        ("PUT", [user, "groups", group]) => issuer.add_group(user, group),
        ("DELETE", [user, "groups", group]) => issuer.remove_group(user, group),
        _ => return Err(Refused::unknown(order)),
    };
    changed.map(|()| done()).map_err(Refused::missing)
}

fn decide(issuer: &Issuer, code: &str, order: &Order) -> Result<Reply, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Decision {
        user: Option<String>,
    }
    let waits = match order.json::<Decision>()?.user {
        Some(user) => issuer.approve_device(code, &user).map_err(Refused::missing)?,
        None => issuer.deny_device(code),
    };
    if waits { Ok(done()) } else { Err(Refused::missing("no device waits with this code")) }
}

fn parse(endpoint: &str) -> Result<Endpoint, Refused> {
    endpoint.parse().map_err(Refused::missing)
}

/// Settings to change; absent ones stay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    token_lifetime_seconds: Option<u32>,
    jti: Option<bool>,
    /// Empty: no such header.
    cache_control: Option<String>,
    clock_offset_seconds: Option<i64>,
}

impl Settings {
    fn apply(&self, issuer: &Issuer) -> Reply {
        if let Some(seconds) = self.token_lifetime_seconds {
            issuer.set_token_lifetime(Duration::from_secs(seconds.into()));
        }
        if let Some(jti) = self.jti {
            issuer.set_jti(jti);
        }
        if let Some(value) = &self.cache_control {
            issuer.set_cache_control(Some(value.as_str()).filter(|value| !value.is_empty()));
        }
        if let Some(seconds) = self.clock_offset_seconds {
            issuer.set_clock_offset(seconds);
        }
        done()
    }
}

/// A token to make, from a user's claims or from nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    user: Option<String>,
    #[serde(default)]
    client: String,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
    expires_in: Option<i64>,
    valid_in: Option<i64>,
    #[serde(default)]
    header: Map<String, Value>,
    #[serde(default)]
    sign: SignWith,
}

impl Token {
    fn mint(self, issuer: &Issuer) -> Result<Reply, Refused> {
        let mut token = match &self.user {
            Some(user) => issuer.try_token(user, &self.client).map_err(Refused::missing)?,
            None => issuer.token_of(&json!({})),
        };
        for (name, value) in self.claims {
            token = token.claim(&name, value);
        }
        for name in &self.without {
            token = token.without(name);
        }
        if let Some(seconds) = self.expires_in {
            token = token.expires_in(seconds);
        }
        if let Some(seconds) = self.valid_in {
            token = token.valid_in(seconds);
        }
        for (name, value) in self.header {
            token = token.header(&name, value);
        }
        let token = token.sign(self.sign).try_mint().map_err(Refused::bad)?;
        Ok(reply::json(StatusCode::OK, &json!({"token": token})))
    }
}
