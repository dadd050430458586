//! Maps: the variables `claims` and `user`, objects within a claim, and maps built by the expression.

use std::{collections::BTreeMap, sync::Arc};

use go_compat::json;

use super::{
    Text, Value,
    list::List,
    request::{REQUEST, RequestAttributes},
};
use crate::{error::EvalError, escape::unescape};

/// What `user` is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserInfo<'a> {
    /// `user.username`
    pub username: &'a str,
    /// The unique id.
    pub uid: &'a str,
    /// `user.groups`
    pub groups: &'a [String],
    /// Further values by their keys.
    pub extra: &'a BTreeMap<String, Vec<String>>,
}

/// A map, of whichever of its origins: upstream treats them differently.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// The variable `claims`.
    Claims(&'a json::Members<'a>),
    /// The variable `user`.
    User(&'a UserInfo<'a>),
    /// The variable `request`.
    Request(&'a RequestAttributes<'a>),
    /// The user's extra values.
    Extra { values: &'a BTreeMap<String, Vec<String>>, unescapes: bool },
    /// An object within a claim.
    Json { object: &'a json::Members<'a>, unescapes: bool },
    /// Built by the expression, without duplicates of a key, in the order of insertion.
    Built(Arc<Vec<(Value<'a>, Value<'a>)>>),
}

impl Default for Map<'_> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<'a> Map<'a> {
    /// A map of these entries.
    pub fn new(entries: Vec<(Value<'a>, Value<'a>)>) -> Self {
        Self::Built(Arc::new(entries))
    }

    /// Whether it is a variable itself, which can be selected from and iterated but is no map otherwise.
    pub fn is_variable(&self) -> bool {
        matches!(self, Self::Claims(_) | Self::User(_) | Self::Request(_))
    }

    /// Whether upstream has it within the wrapper that unescapes.
    pub fn is_wrapped(&self) -> bool {
        matches!(self, Self::Json { unescapes: true, .. } | Self::Extra { unescapes: true, .. })
    }

    /// The name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Claims(_) => "kubernetes.claims",
            Self::User(_) => "kubernetes.UserInfo",
            Self::Request(_) => REQUEST,
            _ => "map",
        }
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Claims(object) | Self::Json { object, .. } => members(object).count(),
            Self::User(_) => 4,
            Self::Request(_) => RequestAttributes::FIELDS.len(),
            Self::Extra { values, .. } => values.len(),
            Self::Built(entries) => entries.len(),
        }
    }

    /// How many entries a look-up may go through: of an object all that are written, duplicates included. Unlike [`Self::len`] it sorts
    /// nothing.
    pub fn written(&self) -> usize {
        match self {
            Self::Claims(object) | Self::Json { object, .. } => object.members().count(),
            _ => self.len(),
        }
    }

    /// The value of a key by selection or index, field names unescaped where this kind of map does that.
    ///
    /// # Errors
    /// If the variable is asked for a key that is not a string, or the claim cannot be decoded.
    pub fn find(&self, key: &Value) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Claims(object) => {
                let Some(name) = key.as_str() else { return Err(EvalError::no_such_overload()) };
                let Some(name) = unescape(name) else { return Ok(None) };
                object.get(&name).map(|value| claim(&name, value)).transpose()
            }
            Self::User(user) => {
                let Some(name) = key.as_str() else { return Err(EvalError::no_such_overload()) };
                Ok(unescape(name).and_then(|name| user.field(&name)))
            }
            Self::Request(request) => {
                let Some(name) = key.as_str() else { return Err(EvalError::no_such_overload()) };
                Ok(request.field(name).map(|text| Value::String(Text::Borrowed(text))))
            }
            Self::Json { unescapes: true, .. } | Self::Extra { unescapes: true, .. } => {
                match key.as_str().and_then(unescape) {
                    Some(name) => Ok(self.find_plain(&Value::String(Text::Borrowed(&name)), true)),
                    None => Ok(self.find_plain(key, true)),
                }
            }
            _ => Ok(self.find_plain(key, false)),
        }
    }

    /// The value of a key as it is written. `unescapes` is for what is found.
    pub fn find_plain(&self, key: &Value, unescapes: bool) -> Option<Value<'a>> {
        match self {
            Self::Claims(_) | Self::User(_) | Self::Request(_) => None,
            Self::Json { object, .. } => key
                .as_str()
                .and_then(|key| object.get(key))
                .map(|value| Value::from_json(value, unescapes)),
            Self::Extra { values, .. } => key
                .as_str()
                .and_then(|key| values.get(key))
                .map(|list| Value::List(List::Strings(list))),
            Self::Built(entries) => entries
                .iter()
                .find(|(candidate, _)| same_key(candidate, key))
                .map(|(_, value)| value.clone()),
        }
    }

    /// Keys with their values, in an order of no meaning.
    pub fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Self::Built(entries) => entries.to_vec(),
            map => map.iterate().into_iter().filter_map(|key| map.entry(key)).collect(),
        }
    }

    fn entry(&self, key: Value<'a>) -> Option<(Value<'a>, Value<'a>)> {
        self.find_plain(&key, false).map(|value| (key, value))
    }

    /// The entry that is asked for the types of all.
    pub fn first(&self) -> Option<(Value<'a>, Value<'a>)> {
        match self {
            Self::Built(entries) => entries.first().cloned(),
            Self::Json { object, .. } => {
                let (name, _) = object.members().next()?;
                self.entry(Value::String(Text::Borrowed(name)))
            }
            map => map.entries().into_iter().next(),
        }
    }

    /// The keys, in an order of no meaning: upstream's is random. `claims` yields its values instead, as upstream.
    pub fn iterate(&self) -> Vec<Value<'a>> {
        let string = |text| Value::String(Text::Borrowed(text));
        match self {
            Self::Claims(object) => members(object)
                .map(|(name, _)| self.find(&string(name)).ok().flatten().unwrap_or(Value::Null))
                .collect(),
            Self::User(user) => ["username", "uid", "groups", "extra"]
                .into_iter()
                .filter_map(|name| user.field(name))
                .collect(),
            Self::Request(request) => RequestAttributes::FIELDS
                .into_iter()
                .filter_map(|name| request.field(name))
                .map(string)
                .collect(),
            Self::Json { object, .. } => members(object).map(|(name, _)| string(name)).collect(),
            Self::Extra { values, .. } => values.keys().map(|name| string(name)).collect(),
            Self::Built(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }
}

impl<'a> UserInfo<'a> {
    /// Nobody: all is empty.
    pub const NOBODY: UserInfo<'static> = {
        static EMPTY: BTreeMap<String, Vec<String>> = BTreeMap::new();
        UserInfo { username: "", uid: "", groups: &[], extra: &EMPTY }
    };

    fn field(&self, name: &str) -> Option<Value<'a>> {
        Some(match name {
            "username" => Value::String(Text::Borrowed(self.username)),
            "uid" => Value::String(Text::Borrowed(self.uid)),
            "groups" => Value::List(List::Strings(self.groups)),
            "extra" => Value::Map(Map::Extra { values: self.extra, unescapes: true }),
            _ => return None,
        })
    }
}

/// The members of an object, of duplicates the last one: what Go makes of it.
fn members<'a>(
    object: &'a json::Members<'a>,
) -> impl Iterator<Item = (&'a str, &'a json::Node<'a>)> {
    // Collected, they would be sorted first, by code of their own for each type.
    let mut last = BTreeMap::new();
    last.extend(object.members());
    last.into_iter()
}

fn claim<'a>(name: &str, value: &'a json::Node<'a>) -> Result<Value<'a>, EvalError> {
    match number_out_of_range(value) {
        None => Ok(Value::from_json(value, true)),
        Some(literal) => Err(EvalError::new(format!(
            "claim {} failed to unmarshal: json: cannot unmarshal number {literal} into Go value of type float64",
            go_compat::strconv::quote(name)
        ))),
    }
}

fn number_out_of_range<'n>(value: &'n json::Node<'_>) -> Option<&'n str> {
    match value {
        json::Node::Number(number) if number.as_f64().is_none() => Some(number.as_str()),
        json::Node::Array(items) => items.iter().find_map(number_out_of_range),
        json::Node::Object(object) => {
            object.members().find_map(|(_, value)| number_out_of_range(value))
        }
        _ => None,
    }
}

/// Whether two keys name the same entry: numbers by value whatever their type, as far as that loses nothing.
pub fn same_key(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Null, Value::Null) => true,
        _ => a.compare_numbers(b) == Some(std::cmp::Ordering::Equal),
    }
}

/// Puts an entry into a map under construction; the last of a key counts.
pub fn put<'a>(entries: &mut Vec<(Value<'a>, Value<'a>)>, key: Value<'a>, value: Value<'a>) {
    match entries
        .iter_mut()
        .find(|(known, _)| known.type_name() == key.type_name() && same_key(known, &key))
    {
        Some((_, slot)) => *slot = value,
        None => entries.push((key, value)),
    }
}

/// Whether a value can be a field or an index.
pub fn is_key(value: &Value) -> bool {
    matches!(
        value,
        Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_)
    )
}
