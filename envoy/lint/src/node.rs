//! A value of a configuration file that knows where it stands.

use std::{fmt, time::Duration};

use serde_json::Value;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    file: &'a str,
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    /// The whole of a file.
    pub fn root(file: &'a str, value: &'a Value) -> Self {
        Self { file, path: String::new(), value }
    }

    pub fn value(&self) -> &'a Value {
        self.value
    }

    pub fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        let dot = if self.path.is_empty() { "" } else { "." };
        let shown = if key.contains('.') { format!("[{key:?}]") } else { format!("{dot}{key}") };
        Some(Self { path: format!("{}{shown}", self.path), value, file: self.file })
    }

    /// A value some levels down.
    pub fn at(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |node, key| node.get(key))
    }

    /// The items of a list; none if there is no such field.
    pub fn items(&self, key: &str) -> Vec<Self> {
        let Some(list) = self.get(key) else { return Vec::new() };
        if list.value.is_array() { list.children() } else { Vec::new() }
    }

    /// The fields of an object with their names; none if there is no such field.
    pub fn fields(&self, key: &str) -> Vec<(&'a str, Self)> {
        let Some(object) = self.get(key) else { return Vec::new() };
        let Value::Object(fields) = object.value else { return Vec::new() };
        let node = |name: &'a String| Some((name.as_str(), object.get(name)?));
        fields.keys().filter_map(node).collect()
    }

    /// What is in it, one level down.
    pub fn children(&self) -> Vec<Self> {
        match self.value {
            Value::Object(fields) => fields.keys().filter_map(|key| self.get(key)).collect(),
            Value::Array(items) => {
                let item = |(index, value)| Self {
                    path: format!("{}[{index}]", self.path),
                    value,
                    file: self.file,
                };
                items.iter().enumerate().map(item).collect()
            }
            _ => Vec::new(),
        }
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.value.get(key)?.as_str()
    }

    /// A protobuf bool, which is false where it is absent; of `BoolValue` likewise.
    pub fn flag(&self, key: &str) -> bool {
        self.value.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        self.value.get(key)?.as_u64()
    }

    /// A protobuf duration such as `1.5s`.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        let seconds = self.text(key)?.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The message's name in `@type`, without its package.
    pub fn type_name(&self) -> &'a str {
        self.text("@type").and_then(|url| url.rsplit('.').next()).unwrap_or_default()
    }
}

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.path)
    }
}
