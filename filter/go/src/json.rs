//! JSON as Go's `encoding/json` reads it, duplicates, bad UTF-8 and great numbers included.
//!
//! `serde_json` cannot stand in: it refuses what Go repairs (invalid UTF-8 and lone surrogates become U+FFFD), it loses
//! what Go keeps (every duplicate of a member, numbers beyond `f64` and `u64` as long as nobody asks for their value).
//! Every difference would let a document mean one thing here and another to a program in Go. Source of the rules: Go 1.26,
//! `encoding/json` (scanner.go, decode.go).

mod fold;
mod number;
mod parse;
mod quote;

pub use fold::field_matches;
pub use number::Number;
pub use parse::{JsonError, Limits, parse};
pub use quote::quote;

/// A JSON value. Strings are valid UTF-8: what was not is U+FFFD already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it was written.
    Number(Number),
    /// A string, unescaped.
    String(String),
    /// An array, in its order.
    Array(Vec<Value>),
    /// An object with all its members.
    Object(Object),
}

impl Value {
    /// Go's word for the kind of value, as its type errors use it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// The members of an object in the order they were written, duplicates included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(String, Value)>,
}

impl Object {
    /// The value of `name`, case-sensitive; the last one counts, as in a Go map.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All members as written: a duplicate stands here as often as it was sent.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Replaces every member called `name` with one of this value.
    pub fn set(&mut self, name: &str, value: Value) {
        self.members.retain(|(key, _)| key != name);
        self.members.push((name.to_owned(), value));
    }

    /// Whether two members have the same name.
    #[must_use]
    pub fn has_duplicates(&self) -> bool {
        let mut names: Vec<&str> = self.members.iter().map(|(key, _)| key.as_str()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        Self { members: members.into_iter().collect() }
    }
}
