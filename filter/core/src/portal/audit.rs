//! What the audit trail is told: which key, which user, which token id, how long. Never a token.

use kube_authn::Identity;
use serde_json::{Value, json};

use super::{token::Issued, who::Source};

/// A token was made.
#[must_use]
pub fn issued(token: &Issued, identity: &Identity, source: Source) -> String {
    json!({
        "event": "issued", "user": identity.username, "groups": identity.groups, "by": source.name(),
        "key": token.key, "jti": token.id, "lifetimeSeconds": token.lifetime.as_secs(),
    })
    .to_string()
}

/// A token was reviewed.
#[must_use]
pub fn reviewed(result: Result<(&str, &str), &str>) -> String {
    match result {
        Ok((user, key)) => json!({"event": "reviewed", "user": user, "key": key}),
        Err(why) => json!({"event": "reviewed", "refused": why}),
    }
    .to_string()
}

/// A request was refused.
#[must_use]
pub fn refused(why: &str) -> String {
    Value::from_iter([("event", "refused"), ("why", why)]).to_string()
}
