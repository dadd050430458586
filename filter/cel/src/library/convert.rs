//! Conversions between types. Source: cel-go v0.26, `ConvertToType` of each type.

use go_compat::{strconv, time::parse_duration};
use kube_rules::Difference;

use crate::{
    cost,
    error::EvalError,
    function::{
        Cost::{ByOverload, One},
        Row, first, overload, row, text,
    },
    meter::Meter,
    value::{
        EvalResult, Value, display,
        timestamp::{TimeError, Timestamp},
    },
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("bool", "bool_to_bool", "(bool) -> bool", One, overload(same)),
    row("bool", "string_to_bool", "(string) -> bool", One, overload(string_to_bool)),
    row("bytes", "bytes_to_bytes", "(bytes) -> bytes", One, overload(same)),
    row("bytes", "string_to_bytes", "(string) -> bytes", ByOverload(cost::text), overload(string_to_bytes)),
    row("double", "double_to_double", "(double) -> double", One, overload(same)),
    row("double", "int64_to_double", "(int) -> double", One, overload(to_double)),
    row("double", "string_to_double", "(string) -> double", One, overload(string_to_double)),
    row("double", "uint64_to_double", "(uint) -> double", One, overload(to_double)),
    row("duration", "duration_to_duration", "(duration) -> duration", One, overload(same)),
    row("duration", "int64_to_duration", "(int) -> duration", One, overload(int_to_duration)).until(Difference::DurationOfInt),
    row("duration", "string_to_duration", "(string) -> duration", One, overload(string_to_duration)),
    row("int", "int64_to_int64", "(int) -> int", One, overload(same)),
    row("int", "double_to_int64", "(double) -> int", One, overload(to_int)),
    row("int", "duration_to_int64", "(duration) -> int", One, overload(to_int)),
    row("int", "string_to_int64", "(string) -> int", One, overload(string_to_int)),
    row("int", "timestamp_to_int64", "(timestamp) -> int", One, overload(to_int)),
    row("int", "uint64_to_int64", "(uint) -> int", One, overload(to_int)),
    row("string", "string_to_string", "(string) -> string", One, overload(same)),
    row("string", "bool_to_string", "(bool) -> string", One, overload(to_string)),
    row("string", "bytes_to_string", "(bytes) -> string", ByOverload(cost::text), overload(to_string)),
    row("string", "double_to_string", "(double) -> string", One, overload(to_string)),
    row("string", "duration_to_string", "(duration) -> string", One, overload(to_string)),
    row("string", "int64_to_string", "(int) -> string", One, overload(to_string)),
    row("string", "timestamp_to_string", "(timestamp) -> string", One, overload(to_string)),
    row("string", "uint64_to_string", "(uint) -> string", One, overload(to_string)),
    row("string", "ip_to_string", "(net.IP) -> string", One, overload(to_string)),
    row("string", "cidr_to_string", "(net.CIDR) -> string", One, overload(to_string)),
    row("timestamp", "timestamp_to_timestamp", "(timestamp) -> timestamp", One, overload(same)),
    row("timestamp", "int64_to_timestamp", "(int) -> timestamp", One, overload(int_to_timestamp)),
    row("timestamp", "string_to_timestamp", "(string) -> timestamp", One, overload(string_to_timestamp)),
    row("uint", "uint64_to_uint64", "(uint) -> uint", One, overload(same)),
    row("uint", "double_to_uint64", "(double) -> uint", One, overload(to_uint)),
    row("uint", "int64_to_uint64", "(int) -> uint", One, overload(to_uint)),
    row("uint", "string_to_uint64", "(string) -> uint", One, overload(string_to_uint)),
];

fn string_to_bool<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    parse(arguments, "bool", |text| strconv::parse_bool(text).map(Value::Bool))
}

fn string_to_bytes<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    parse(arguments, "bytes", |text| Some(Value::Bytes(text.as_bytes().into())))
}

fn string_to_double<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    parse(arguments, "double", |text| strconv::parse_float(text).map(Value::Double))
}

fn string_to_duration<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    parse(arguments, "google.protobuf.Duration", |text| {
        parse_duration(text).ok().map(Value::Duration)
    })
}

fn string_to_int<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    parse(arguments, "int", |text| strconv::parse_int(text).map(Value::Int))
}

fn string_to_uint<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    parse(arguments, "uint", |text| strconv::parse_uint(text).map(Value::Uint))
}

fn int_to_duration<'a>(_: &mut Meter, _: &[Value<'a>]) -> EvalResult<'a> {
    Err(EvalError::new("type conversion error from 'int' to 'google.protobuf.Duration'"))
}

fn int_to_timestamp<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Int(seconds) => Timestamp::from_unix(*seconds)
            .map(Value::Timestamp)
            .ok_or_else(EvalError::timestamp_overflow),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn same<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    first(arguments).cloned()
}

fn parse<'a>(
    arguments: &[Value<'a>],
    to: &str,
    read: impl FnOnce(&str) -> Option<Value<'static>>,
) -> EvalResult<'a> {
    text(arguments, 0).and_then(|text| {
        read(text)
            .ok_or_else(|| EvalError::new(format!("type conversion error from 'string' to '{to}'")))
    })
}

fn string_to_timestamp<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match Timestamp::parse(text(arguments, 0)?) {
        Ok(time) => Ok(Value::Timestamp(time)),
        Err(TimeError::Range) => Err(EvalError::timestamp_overflow()),
        Err(TimeError::Syntax) => Err(EvalError::new(
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        )),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the conversion rounds")]
fn to_double<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
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
fn to_int<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
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
fn to_uint<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
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

fn to_string<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let value = first(arguments)?;
    if let Value::Bytes(bytes) = value {
        return std::str::from_utf8(bytes)
            .map(Value::string)
            .map_err(|_| EvalError::new("invalid UTF-8 in bytes, cannot convert to string"));
    }
    display::text(value).map(Value::string).ok_or_else(EvalError::no_such_overload)
}
