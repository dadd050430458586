//! JSON as Go's `encoding/json` reads it, duplicates, bad UTF-8 and great numbers included.
//!
//! `serde_json` cannot stand in: it refuses what Go repairs (invalid UTF-8 and lone surrogates become U+FFFD), it loses
//! what Go keeps (every duplicate of a member, numbers beyond `f64` and `u64` as long as nobody asks for their value).
//! Every difference would let a document mean one thing here and another to a program in Go. Source of the rules: Go 1.26,
//! `encoding/json` (scanner.go, decode.go).

use std::borrow::Cow;

mod fold;
mod number;
mod parse;
mod quote;

pub use fold::field_matches;
pub use number::Number;
pub use parse::{JsonError, Limits, parse, parse_in_place};
pub use quote::quote;

/// A JSON value that keeps all of its own.
pub type Value = Node<'static>;

/// An object that keeps all of its own.
pub type Object = Members<'static>;

/// A JSON value, whose strings may stand in the text `'t` that it was read from. They are valid UTF-8: what was not is U+FFFD already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'t> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it was written.
    Number(Number),
    /// A string, unescaped.
    String(Cow<'t, str>),
    /// An array, in its order.
    Array(Vec<Node<'t>>),
    /// An object with all its members.
    Object(Members<'t>),
}

impl Node<'_> {
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
pub struct Members<'t> {
    members: Vec<(Cow<'t, str>, Node<'t>)>,
}

impl<'t> Members<'t> {
    /// The value of `name`, case-sensitive; the last one counts, as in a Go map.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node<'t>> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All members as written: a duplicate stands here as often as it was sent.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Node<'t>)> {
        self.members.iter().map(|(key, value)| (&**key, value))
    }

    /// Replaces every member called `name` with one of this value.
    pub fn set(&mut self, name: &str, value: Node<'t>) {
        self.members.retain(|(key, _)| key != name);
        self.members.push((name.to_owned().into(), value));
    }

    /// Whether two members have the same name.
    #[must_use]
    pub fn has_duplicates(&self) -> bool {
        let mut names: Vec<&str> = self.members.iter().map(|(key, _)| &**key).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
    }
}

impl<'t> FromIterator<(String, Node<'t>)> for Members<'t> {
    fn from_iter<I: IntoIterator<Item = (String, Node<'t>)>>(members: I) -> Self {
        Self { members: members.into_iter().map(|(name, value)| (name.into(), value)).collect() }
    }
}

impl From<String> for Node<'_> {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}
