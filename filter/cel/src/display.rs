//! Values in messages. Source: Go's `%v` of cel-go's values.

use crate::functions::convert_text;
use crate::value::Value;
use go_compat::strconv;

/// The type of a value as `%v` prints it.
pub fn type_of(value: &Value) -> String {
    match value {
        Value::List(_) => "list(dyn)".to_owned(),
        Value::Map(map) if !map.is_variable() => "map(dyn, dyn)".to_owned(),
        other => other.type_name().into_owned(),
    }
}

/// As `%v` prints it: strings bare, containers with their elements.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "0".to_owned(),
        Value::Double(value) => strconv::format_general(*value),
        Value::Bytes(bytes) => format!("{bytes:?}").replace(", ", " "),
        Value::List(list) => {
            let items: Vec<String> = list.iterate().map(|item| plain(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let entry = |key: Value| {
                let value = map.find_plain(&key, false).as_ref().map(plain).unwrap_or_default();
                format!("{}: {value}", plain(&key))
            };
            let entries: Vec<String> = map.iterate().into_iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Optional(None) => "optional.none()".to_owned(),
        Value::Optional(Some(value)) => format!("optional({})", plain(value)),
        other => convert_text(other).unwrap_or_else(|| other.type_name().into_owned()),
    }
}
