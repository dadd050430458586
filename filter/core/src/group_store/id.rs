//! Under what an answer is kept.

use std::hash::Hasher;

use go_compat::json;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::Store;
use crate::{
    groups::{Question, Source},
    lookups::LookupId,
};

impl Store {
    /// Under what a question's answer is kept: a keyed hash of the source, and of all that the answer depends on.
    #[must_use]
    pub fn id(&self, source: &Source, question: &Question) -> LookupId {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&source.digest);
        let body = question.body.as_deref().unwrap_or_default();
        // With a user's own token, what the server tells is what this token may see.
        let own = question.authorization.as_deref().unwrap_or_default();
        for part in [&source.name, &question.subject, &question.path, body, own] {
            write(&mut hasher, part);
        }
        write_object(&mut hasher, &question.claims);
        hasher.finish128().as_u128()
    }
}

fn write(hasher: &mut impl Hasher, text: &str) {
    hasher.write_usize(text.len());
    hasher.write(text.as_bytes());
}

/// Its nesting is bounded where the token is read.
fn write_object(hasher: &mut impl Hasher, object: &json::Object) {
    for (name, value) in object.members() {
        write(hasher, name);
        write_value(hasher, value);
    }
    hasher.write_u8(b'}');
}

fn write_value(hasher: &mut impl Hasher, value: &json::Value) {
    write(hasher, value.kind());
    match value {
        json::Value::Null => {}
        json::Value::Bool(value) => hasher.write_u8((*value).into()),
        json::Value::Number(number) => write(hasher, number.as_str()),
        json::Value::String(text) => write(hasher, text),
        json::Value::Array(items) => {
            for item in items {
                write_value(hasher, item);
            }
            hasher.write_u8(b']');
        }
        json::Value::Object(object) => write_object(hasher, object),
    }
}
