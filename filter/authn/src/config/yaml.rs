//! Files in YAML, as sigs.k8s.io/yaml v1.6 turns them into JSON (feature `yaml`, for programs).
//!
//! Beneath that is go-yaml v2: YAML 1.1 in what it takes for a number, a boolean or null. Only the first document is read.
//! The texts about files that are no YAML at all are the parser's own. Source: sigs.k8s.io/yaml `yaml.go`, go-yaml v2.4 `decode.go` and
//! `resolve.go`.

mod node;
mod scalar;

use std::collections::BTreeMap;

use go_compat::json::{Number, Object, Value};

use self::{
    node::{Content, Node},
    scalar::Scalar,
};
use super::{
    AuthenticationConfiguration, LoadOptions, check, decode,
    error::{ConfigError, ConfigErrors},
    raw,
};

/// Reads a configuration in YAML or JSON. As upstream a file that begins with `{` is JSON.
///
/// # Errors
/// As [`super::load`].
pub fn load_yaml(
    file: &[u8],
    options: &LoadOptions,
) -> Result<AuthenticationConfiguration, ConfigErrors> {
    check(decode_yaml(file)?, options)
}

fn decode_yaml(file: &[u8]) -> Result<raw::AuthenticationConfiguration, ConfigErrors> {
    let text = String::from_utf8_lossy(file);
    if file.is_empty() || text.trim_start().starts_with('{') {
        return decode::decode_json(file);
    }
    let failed = |error: String| ConfigErrors::from(ConfigError::Decode(error));
    let document = node::parse(file).map_err(|error| failed(format!("yaml: {error}")))?;
    let mut decoder = Decoder::default();
    let value = match document {
        None => Yaml::Null,
        Some(document) => {
            decoder.value(&document).map_err(|error| failed(format!("yaml: {error}")))?
        }
    };
    let value = value.into_json().map_err(failed)?;
    let mut strict_errors = Vec::new();
    if !decoder.duplicates.is_empty() {
        let duplicates = decoder.duplicates.join("\n  ");
        strict_errors.push(format!("yaml: unmarshal errors:\n  {duplicates}"));
    }
    decode::decode_document(&value, file, &strict_errors)
}

/// A value with YAML's types, before JSON's fewer types are made of them.
#[derive(Debug, Clone, PartialEq)]
enum Yaml {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(String),
    Sequence(Vec<Yaml>),
    /// The keys as Go prints them in errors, which tells `1` from `"1"`.
    Mapping(BTreeMap<String, (Yaml, Yaml)>),
}

/// go-yaml's bounds on aliases: a file may not grow a hundredfold by them.
#[derive(Default)]
struct Decoder {
    decoded: usize,
    decoded_by_alias: usize,
    alias_depth: usize,
    duplicates: Vec<String>,
}

impl Decoder {
    fn value(&mut self, node: &Node) -> Result<Yaml, String> {
        self.decoded += 1;
        self.decoded_by_alias += usize::from(self.alias_depth > 0);
        // go-yaml scales the share down for files beyond 400,000 values; none is that large here.
        if self.decoded_by_alias > 100
            && self.decoded > 1000
            && self.decoded_by_alias * 100 > self.decoded * 99
        {
            return Err("document contains excessive aliasing".to_owned());
        }
        match &node.content {
            Content::Alias(target) => {
                self.alias_depth += 1;
                let value = self.value(target);
                self.alias_depth -= 1;
                value
            }
            Content::Scalar { tag, value, plain } => {
                Ok(match scalar::resolve(tag.as_deref(), value, *plain)? {
                    Scalar::Null => Yaml::Null,
                    Scalar::Bool(value) => Yaml::Bool(value),
                    Scalar::Integer(value) => Yaml::Integer(value),
                    Scalar::Float(value) => Yaml::Float(value),
                    Scalar::String(text) => Yaml::String(text),
                })
            }
            Content::Sequence(items) => {
                let items: Result<Vec<Yaml>, String> =
                    items.iter().map(|item| self.value(item)).collect();
                items.map(Yaml::Sequence)
            }
            Content::Mapping(entries) => {
                let mut mapping = BTreeMap::new();
                self.mapping(entries, &mut mapping)?;
                Ok(Yaml::Mapping(mapping))
            }
        }
    }

    fn mapping(
        &mut self,
        entries: &[(Node, Node)],
        mapping: &mut BTreeMap<String, (Yaml, Yaml)>,
    ) -> Result<(), String> {
        for (key, value) in entries {
            if key.is_merge() {
                self.merge(value, mapping)?;
                continue;
            }
            let line = value.line;
            let key = self.value(key)?;
            if matches!(key, Yaml::Sequence(_) | Yaml::Mapping(_)) {
                return Err(format!("invalid map key: {}", key.go_syntax()));
            }
            let value = self.value(value)?;
            let name = key.go_syntax();
            if mapping.contains_key(&name) {
                self.duplicates.push(format!("line {line}: key {name} already set in map"));
            }
            mapping.insert(name, (key, value));
        }
        Ok(())
    }

    /// `<<`: the entries of one mapping or of several, of which earlier ones win over later ones.
    fn merge(
        &mut self,
        value: &Node,
        mapping: &mut BTreeMap<String, (Yaml, Yaml)>,
    ) -> Result<(), String> {
        let wrong = || "map merge requires map or sequence of maps as the value".to_owned();
        match value.target() {
            Content::Mapping(entries) => self.mapping(entries, mapping),
            Content::Sequence(items) if !value.is_alias() => {
                for item in items.iter().rev() {
                    let Content::Mapping(entries) = item.target() else { return Err(wrong()) };
                    self.mapping(entries, mapping)?;
                }
                Ok(())
            }
            _ => Err(wrong()),
        }
    }
}

impl Yaml {
    /// The value as JSON, its keys as strings in sorted order, as Go's encoder has them.
    fn into_json(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Integer(value) => number(&value.to_string()),
            Self::Float(value) if !value.is_finite() => {
                return Err(format!("json: unsupported value: {}", go_float(value)));
            }
            Self::Float(value) => number(&format!("{value:e}")),
            Self::String(text) => Value::from(text),
            Self::Sequence(items) => {
                let items: Result<Vec<Value>, String> =
                    items.into_iter().map(Self::into_json).collect();
                Value::Array(items?)
            }
            Self::Mapping(entries) => {
                let mut members = BTreeMap::new();
                for (key, value) in entries.into_values() {
                    members.insert(key.into_key(&value)?, value.into_json()?);
                }
                Value::Object(members.into_iter().collect::<Object>())
            }
        })
    }

    fn into_key(self, value: &Yaml) -> Result<String, String> {
        match self {
            Self::String(text) => Ok(text),
            Self::Bool(value) => Ok(value.to_string()),
            Self::Integer(value) if i64::try_from(value).is_ok() => Ok(value.to_string()),
            Self::Float(value) => Ok(go_float(value)),
            other => {
                let (go_type, key) = match other {
                    Self::Integer(value) => ("uint64", format!("0x{value:x}")),
                    _ => ("%!s(<nil>)", "<nil>".to_owned()),
                };
                let value = value.go_syntax();
                Err(format!("unsupported map key of type: {go_type}, key: {key}, value: {value}"))
            }
        }
    }

    /// The value as Go prints it with `%#v`.
    fn go_syntax(&self) -> String {
        match self {
            Self::Null => "<nil>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) if i64::try_from(*value).is_ok() => value.to_string(),
            Self::Integer(value) => format!("0x{value:x}"),
            Self::Float(value) => go_float(*value),
            Self::String(text) => go_compat::strconv::quote(text),
            Self::Sequence(items) => {
                let items: Vec<String> = items.iter().map(Self::go_syntax).collect();
                format!("[]interface {{}}{{{}}}", items.join(", "))
            }
            Self::Mapping(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, (_, value))| format!("{key}:{}", value.go_syntax()))
                    .collect();
                format!("map[interface {{}}]interface {{}}{{{}}}", entries.join(", "))
            }
        }
    }
}

fn number(literal: &str) -> Value {
    Number::from_literal(literal).map_or(Value::Null, Value::Number)
}

fn go_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests;
