//! What the audit trail is told: which key, which user, which token id, how long, with which login. Never a token. Its size is bounded: names
//! that have no room are left out, and `truncated` says so.

use gateway_core::record::SizeBudget;
use serde_json::{Value, json};

use super::{caller::Caller, token::Issued};

/// Bytes for what somebody chooses, as JSON.
const BYTES: usize = 8 << 10;

/// A token was made.
#[must_use]
pub fn issued(token: &Issued, caller: &Caller) -> String {
    let Caller { identity, source, origin, .. } = caller;
    let mut room = SizeBudget::new(BYTES);
    let (user, groups) = (room.value(&identity.username), room.values(&identity.groups));
    let mut audit = json!({
        "event": "issued", "user": user, "groups": groups, "by": source.name(),
        "key": token.key, "jti": token.id, "lifetimeSeconds": token.lifetime.as_secs(),
    });
    if let Some(names) = origin.as_ref().and_then(|origin| origin.names.as_deref()) {
        let names = room.value(&names.text()).into_owned();
        audit.as_object_mut().and_then(|fields| fields.insert("login".to_owned(), names.into()));
    }
    if room.is_short
        && let Some(fields) = audit.as_object_mut()
    {
        fields.insert("truncated".to_owned(), true.into());
    }
    audit.to_string()
}

/// A token was reviewed.
#[must_use]
pub fn reviewed(result: Result<(&str, &str), &str>) -> String {
    match result {
        Ok((user, key)) => {
            json!({"event": "reviewed", "user": SizeBudget::new(BYTES).value(user), "key": key})
        }
        Err(why) => json!({"event": "reviewed", "refused": SizeBudget::new(BYTES).value(why)}),
    }
    .to_string()
}

/// A request was refused.
#[must_use]
pub fn refused(why: &str) -> String {
    Value::from_iter([("event", "refused"), ("why", &*SizeBudget::new(BYTES).value(why))])
        .to_string()
}
