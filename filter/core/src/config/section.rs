//! How a section of a [`GatewayConfiguration`](super::GatewayConfiguration) is declared: each field with its default and its
//! bounds in one place.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// A number of a [`GatewayConfiguration`](super::GatewayConfiguration) and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The field's path.
    pub field: String,
    /// Its value.
    pub value: u32,
    /// What is allowed.
    pub allowed: RangeInclusive<u32>,
    /// The same in words.
    pub rule: String,
}

/// Makes a section of its fields. A field is `name: type = default`, and a number has the range it must be in after that. Where another
/// field of the section bounds it further: `at least` that one, `at most` that one.
///
/// ```text
/// section! {
///     /// When the issuers' key sets are fetched.
///     KeySetPolicy
///         /// Seconds for which a key set without cache headers is fresh.
///         default_lifetime_seconds: u32 = 300, 1..=604_800, at least minimum_lifetime_seconds;
/// }
/// ```
macro_rules! section {
    ($(#[$attribute:meta])* $section:ident $(
        $(#[$about:meta])* $field:ident: $type:ty = $default:expr
        $(, $range:expr $(, at least $least:ident)? $(, at most $most:ident)?)?;
    )+) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $section {
            $($(#[$about])* pub $field: $type,)+
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $section {
            /// Its numbers and their bounds; `path` is the section's own.
            #[allow(dead_code, reason = "the items of a list have no numbers")]
            #[must_use]
            pub(super) fn bounds(&self, path: &str) -> Vec<$crate::config::section::Bound> {
                #[allow(unused_mut, reason = "a section may have no numbers")]
                let mut bounds = Vec::new();
                $($(
                    #[allow(unused_mut, reason = "most have a range alone")]
                    let mut bound =
                        $crate::config::section::bound(path, stringify!($field), self.$field, $range);
                    $(bound.at_least(path, stringify!($least), self.$least);)?
                    $(bound.at_most(path, stringify!($most), self.$most);)?
                    bounds.push(bound);
                )?)+
                let _ = path;
                bounds
            }
        }
    };
}

pub(super) use section;

/// The same for a section of many fields, of texts, numbers and the like: it is read field by field from a JSON object. What `serde` makes of
/// such a type is ten times as large, and the module has to stay small. A field that is not in the usual form has its name after its type.
macro_rules! plain_section {
    ($(#[$attribute:meta])* $section:ident $(
        $(#[$about:meta])* $field:ident: $type:ty $(as $name:literal)? = $default:expr $(, $range:expr)?;
    )+) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $section {
            $($(#[$about])* $(#[serde(rename = $name)])? pub $field: $type,)+
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $section {
            /// Its numbers and their bounds; `path` is the section's own.
            #[allow(dead_code, reason = "not all have numbers")]
            #[must_use]
            pub(super) fn bounds(&self, path: &str) -> Vec<$crate::config::section::Bound> {
                let _ = path;
                vec![$($($crate::config::section::bound(path, stringify!($field), self.$field, $range),)?)+]
            }
        }

        impl $crate::config::section::FromValue for $section {
            fn from_value(value: serde_json::Value) -> Result<Self, String> {
                let mut fields = $crate::config::section::Fields::of(value)?;
                let mut section = Self::default();
                $(
                    #[allow(unused_mut, unused_assignments, reason = "few have names of their own")]
                    let mut name = "";
                    $(name = $name;)?
                    fields.take(stringify!($field), name, &mut section.$field)?;
                )+
                fields.end()?;
                Ok(section)
            }
        }

        impl<'de> serde::Deserialize<'de> for $section {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                $crate::config::section::FromValue::from_value(value)
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use plain_section;

/// What is read from JSON without `serde`'s help. Errors name the field.
pub(super) trait FromValue: Sized {
    /// Reads it.
    fn from_value(value: Value) -> Result<Self, String>;
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(format!("invalid type: {other}, expected a string")),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| format!("invalid type: {value}, expected a boolean"))
    }
}

impl FromValue for u32 {
    fn from_value(value: Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|number| number.try_into().ok());
        number.ok_or_else(|| format!("invalid type: {value}, expected u32"))
    }
}

impl FromValue for Vec<String> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => items.into_iter().map(String::from_value).collect(),
            other => Err(format!("invalid type: {other}, expected a sequence")),
        }
    }
}

/// Reads one of a few words.
pub(super) fn word<T: Copy>(value: Value, words: &[(&str, T)]) -> Result<T, String> {
    let text = String::from_value(value)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, it)| *it);
    found.ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("unknown variant `{text}`, expected one of {}", words.join(", "))
    })
}

/// The fields of an object that have not been read yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn of(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            other => Err(format!("invalid type: {other}, expected an object")),
        }
    }

    /// Reads a field into its place, if it is there. `field` is its name in Rust, `name` the document's if that is not the same in camel case.
    pub(super) fn take<T: FromValue>(
        &mut self,
        field: &str,
        name: &str,
        to: &mut T,
    ) -> Result<(), String> {
        let usual = camel(field);
        let name = if name.is_empty() { usual.as_str() } else { name };
        if let Some(value) = self.0.remove(name) {
            *to = T::from_value(value).map_err(|error| {
                // An inner section's field stands behind this one's name.
                let separator = if error.starts_with("invalid type") { ": " } else { "." };
                let separator = if error.starts_with("unknown") { ": " } else { separator };
                format!("{name}{separator}{error}")
            })?;
        }
        Ok(())
    }

    pub(super) fn end(self) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown field `{name}`")),
        }
    }
}

/// The bound of a field that is written in Rust's form.
pub(super) fn bound(path: &str, field: &str, value: u32, allowed: RangeInclusive<u32>) -> Bound {
    let rule = format!("{} to {}", allowed.start(), allowed.end());
    Bound { field: full(path, field), value, allowed, rule }
}

impl Bound {
    /// Narrows it to what is no less than another field.
    pub(super) fn at_least(&mut self, path: &str, field: &str, least: u32) {
        self.allowed = *self.allowed.start().max(&least)..=*self.allowed.end();
        self.rule = format!("{}, at least {}", self.rule, full(path, field));
    }

    /// Narrows it to what is no more than another field.
    pub(super) fn at_most(&mut self, path: &str, field: &str, most: u32) {
        self.allowed = *self.allowed.start()..=*self.allowed.end().min(&most);
        self.rule = format!("{}, at most {}", self.rule, full(path, field));
    }
}

/// A field's path in a document: `keySets.timeoutSeconds` of `keySets` and `timeout_seconds`.
fn full(path: &str, field: &str) -> String {
    [path, ".", &camel(field)].concat()
}

/// `timeoutSeconds` of `timeout_seconds`.
fn camel(field: &str) -> String {
    let mut words = field.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

#[cfg(test)]
mod tests {
    section! {
        /// Nothing real.
        Example
            /// A number.
            first_seconds: u32 = 2, 1..=9, at most last_seconds;
            /// Another.
            last_seconds: u32 = 5, 0..=60;
            /// No number.
            enabled: bool = true;
    }

    #[test]
    fn a_field_has_its_default_and_its_bounds() {
        let example = Example::default();
        assert_eq!((example.first_seconds, example.last_seconds, example.enabled), (2, 5, true));
        let bounds = example.bounds("example");
        let shown: Vec<_> =
            bounds.iter().map(|b| (b.field.as_str(), b.value, b.rule.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("example.firstSeconds", 2, "1 to 9, at most example.lastSeconds"),
                ("example.lastSeconds", 5, "0 to 60"),
            ]
        );
        assert_eq!(bounds[0].allowed, 1..=5);
    }
}
