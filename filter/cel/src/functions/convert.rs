//! Conversions between types. Source: cel-go v0.26, `ConvertToType` of each type.

use super::operators::timestamp_overflow;
use super::{Body, first};
use crate::error::EvalError;
use crate::meter::Meter;
use crate::time::{TimeError, Timestamp};
use crate::value::Value;
use go_compat::strconv;
use go_compat::time::parse_duration;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("bool_to_bool", same),
    ("string_to_bool", |_, args| {
        parse(args, "bool", |text| strconv::parse_bool(text).map(Value::Bool))
    }),
    ("bytes_to_bytes", same),
    ("string_to_bytes", |_, args| {
        parse(args, "bytes", |text| Some(Value::Bytes(text.as_bytes().into())))
    }),
    ("double_to_double", same),
    ("int64_to_double", to_double),
    ("uint64_to_double", to_double),
    ("string_to_double", |_, args| {
        parse(args, "double", |text| strconv::parse_float(text).map(Value::Double))
    }),
    ("duration_to_duration", same),
    ("int64_to_duration", |_, _| {
        Err(EvalError::new("type conversion error from 'int' to 'google.protobuf.Duration'"))
    }),
    ("string_to_duration", |_, args| {
        parse(args, "google.protobuf.Duration", |text| {
            parse_duration(text).ok().map(Value::Duration)
        })
    }),
    ("int64_to_int64", same),
    ("double_to_int64", to_int),
    ("duration_to_int64", to_int),
    ("timestamp_to_int64", to_int),
    ("uint64_to_int64", to_int),
    ("string_to_int64", |_, args| {
        parse(args, "int", |text| strconv::parse_int(text).map(Value::Int))
    }),
    ("string_to_string", same),
    ("bool_to_string", to_string),
    ("bytes_to_string", to_string),
    ("double_to_string", to_string),
    ("duration_to_string", to_string),
    ("int64_to_string", to_string),
    ("timestamp_to_string", to_string),
    ("uint64_to_string", to_string),
    ("ip_to_string", to_string),
    ("cidr_to_string", to_string),
    ("timestamp_to_timestamp", same),
    ("int64_to_timestamp", |_, args| match first(args)? {
        Value::Int(seconds) => {
            Timestamp::from_unix(*seconds).map(Value::Timestamp).ok_or_else(timestamp_overflow)
        }
        _ => Err(EvalError::no_such_overload()),
    }),
    ("string_to_timestamp", to_timestamp),
    ("uint64_to_uint64", same),
    ("double_to_uint64", to_uint),
    ("int64_to_uint64", to_uint),
    ("string_to_uint64", |_, args| {
        parse(args, "uint", |text| strconv::parse_uint(text).map(Value::Uint))
    }),
];

type Answer<'a> = Result<Value<'a>, EvalError>;

fn same<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    first(arguments).cloned()
}

fn parse<'a>(
    arguments: &[Value<'a>],
    to: &str,
    read: impl FnOnce(&str) -> Option<Value<'static>>,
) -> Answer<'a> {
    super::text(arguments, 0).and_then(|text| {
        read(text)
            .ok_or_else(|| EvalError::new(format!("type conversion error from 'string' to '{to}'")))
    })
}

fn to_timestamp<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    match Timestamp::parse(super::text(arguments, 0)?) {
        Ok(time) => Ok(Value::Timestamp(time)),
        Err(TimeError::Range) => Err(timestamp_overflow()),
        Err(TimeError::Syntax) => Err(EvalError::new(
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        )),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the conversion rounds")]
fn to_double<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    match first(arguments)? {
        Value::Int(value) => Ok(Value::Double(*value as f64)),
        Value::Uint(value) => Ok(Value::Double(*value as f64)),
        _ => Err(EvalError::no_such_overload()),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the range is checked before the cut"
)]
fn to_int<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    let overflow = || EvalError::new("integer overflow");
    match first(arguments)? {
        Value::Uint(value) => i64::try_from(*value).map(Value::Int).map_err(|_| overflow()),
        Value::Double(value) if *value > i64::MIN as f64 && *value < i64::MAX as f64 => {
            Ok(Value::Int(*value as i64))
        }
        Value::Double(_) => Err(overflow()),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(time) => Ok(Value::Int(time.seconds)),
        _ => Err(EvalError::no_such_overload()),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked before the cut"
)]
fn to_uint<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    let overflow = || EvalError::new("unsigned integer overflow");
    match first(arguments)? {
        Value::Int(value) => u64::try_from(*value).map(Value::Uint).map_err(|_| overflow()),
        Value::Double(value) if *value >= 0.0 && *value < u64::MAX as f64 => {
            Ok(Value::Uint(*value as u64))
        }
        Value::Double(_) => Err(overflow()),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_string<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    let value = first(arguments)?;
    if let Value::Bytes(bytes) = value {
        return std::str::from_utf8(bytes)
            .map(Value::string)
            .map_err(|_| EvalError::new("invalid UTF-8 in bytes, cannot convert to string"));
    }
    text(value).map(Value::string).ok_or_else(EvalError::no_such_overload)
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
