//! Values in messages. Source: Go's `%v` of cel-go's values.

use go_compat::strconv;

use super::Value;

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
        other => text(other).unwrap_or_else(|| other.type_name().into_owned()),
    }
}

/// What `string(value)` gives, apart from bytes. `None` if the type has no such conversion.
pub fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => strconv::format_general(*value),
        Value::String(text) => (**text).to_owned(),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_owned(),
        Value::Duration(nanos) => format!("{}s", strconv::format_plain(seconds(*nanos))),
        Value::Timestamp(time) => time.format(),
        Value::Type(name) => name.clone().into_owned(),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(cidr) => cidr.to_string(),
        _ => return None,
    })
}

/// Go's `Duration.Seconds`.
#[expect(clippy::cast_precision_loss, reason = "as Go computes it")]
pub fn seconds(nanos: i64) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}
