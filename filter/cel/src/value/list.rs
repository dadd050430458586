//! Lists: of a claim's JSON, of the user's groups, or built by the expression.

use std::sync::Arc;

use go_compat::json;

use super::{Text, Value};

/// A list, of whichever of its four origins: upstream treats them differently.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// An array of a claim. Elements taken by position unescape field names if `unescapes`; those that an iteration
    /// yields do not, as upstream.
    Json {
        /// As the token has it.
        items: &'a [json::Node<'a>],
        /// Whether field names below an element are unescaped when they are looked up.
        unescapes: bool,
    },
    /// Strings that are not the expression's.
    Strings(&'a [String]),
    /// Built by the expression.
    Built(Arc<Vec<Value<'a>>>),
    /// The same, of strings that a function made: upstream's mapper takes no groups from such a list.
    Native(Arc<Vec<Value<'a>>>),
}

impl Default for List<'_> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<'a> List<'a> {
    /// A list of these items.
    #[must_use]
    pub fn new(items: Vec<Value<'a>>) -> Self {
        Self::Built(Arc::new(items))
    }

    /// A list of strings that a function made.
    #[must_use]
    pub fn native(items: Vec<Value<'a>>) -> Self {
        Self::Native(Arc::new(items))
    }

    /// Whether upstream has it within the wrapper that unescapes.
    #[must_use]
    pub fn is_wrapped(&self) -> bool {
        matches!(self, Self::Json { unescapes: true, .. } | Self::Strings(_))
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json { items, .. } => items.len(),
            Self::Strings(items) => items.len(),
            Self::Built(items) | Self::Native(items) => items.len(),
        }
    }

    /// The element at the position.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json { items, unescapes } => {
                items.get(index).map(|item| Value::from_json(item, *unescapes))
            }
            Self::Strings(items) => {
                items.get(index).map(|item| Value::String(Text::Borrowed(item)))
            }
            Self::Built(items) | Self::Native(items) => items.get(index).cloned(),
        }
    }

    /// The elements as positions give them.
    pub fn by_position(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The elements as an iteration yields them.
    pub fn iterate(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        let plain = self.plain();
        (0..self.len()).filter_map(move |index| plain.get(index))
    }

    /// The same list without unescaping.
    #[must_use]
    pub fn plain(&self) -> List<'a> {
        match self {
            Self::Json { items, .. } => Self::Json { items, unescapes: false },
            other => other.clone(),
        }
    }

    /// Both lists in a row. The first loses its unescaping and an empty one leaves the other as it is, as upstream.
    #[must_use]
    pub fn concat(self, other: List<'a>) -> List<'a> {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self.plain();
        }
        let mut items = match self {
            Self::Built(items) | Self::Native(items) => {
                Arc::try_unwrap(items).unwrap_or_else(|shared| shared.to_vec())
            }
            list => list.iterate().collect(),
        };
        items.extend(other.by_position());
        Self::new(items)
    }
}
