//! Operators and what else upstream binds to a name as a whole. Source: cel-go v0.26, `common/stdlib` and `common/types`.

use std::cmp::Ordering;

use kube_rules::Difference;

use crate::{
    cost,
    error::EvalError,
    function::{
        Code::{self, Evaluator},
        Cost::{ByOverload, One},
        Row, first, function, row, two,
    },
    meter::Meter,
    value::{
        EvalResult, Trait, Value,
        compare::{compare, contains},
    },
};

const NOT: Code = function(None, not);
const NEGATE: Code = function(Some(Trait::Negator), negate);
const ADD: Code = function(Some(Trait::Adder), add);
const SUBTRACT: Code = function(Some(Trait::Subtractor), subtract);
const MULTIPLY: Code = function(Some(Trait::Multiplier), multiply);
const DIVIDE: Code = function(Some(Trait::Divider), divide);
const MODULO: Code = function(Some(Trait::Modder), modulo);
const LESS: Code =
    function(Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_lt));
const LESS_OR_EQUAL: Code =
    function(Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_le));
const GREATER: Code =
    function(Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_gt));
const GREATER_OR_EQUAL: Code =
    function(Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_ge));
const IN: Code = function(None, is_in);
const SIZE: Code = function(Some(Trait::Sizer), size);
const TYPE: Code = function(None, |_, args| Ok(Value::Type(first(args)?.type_name())));
const DYN: Code = function(None, |_, args| first(args).cloned());

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("!_", "logical_not", "(bool) -> bool", One, NOT),
    row("-_", "negate_double", "(double) -> double", One, NEGATE),
    row("-_", "negate_int64", "(int) -> int", One, NEGATE),
    row("@in", "in_list", "(A, list(A)) -> bool", ByOverload(cost::elements), IN),
    row("@in", "in_map", "(A, map(A, B)) -> bool", One, IN),
    row("@not_strictly_false", "not_strictly_false", "(bool) -> bool", One, Evaluator),
    row("_!=_", "not_equals", "(A, A) -> bool", One, Evaluator),
    row("_%_", "modulo_int64", "(int, int) -> int", One, MODULO),
    row("_%_", "modulo_uint64", "(uint, uint) -> uint", One, MODULO),
    row("_&&_", "logical_and", "(bool, bool) -> bool", One, Evaluator),
    row("_*_", "multiply_double", "(double, double) -> double", One, MULTIPLY),
    row("_*_", "multiply_int64", "(int, int) -> int", One, MULTIPLY),
    row("_*_", "multiply_uint64", "(uint, uint) -> uint", One, MULTIPLY),
    row("_+_", "add_bytes", "(bytes, bytes) -> bytes", ByOverload(cost::both_texts), ADD),
    row("_+_", "add_double", "(double, double) -> double", One, ADD),
    row("_+_", "add_duration_duration", "(duration, duration) -> duration", One, ADD),
    row("_+_", "add_duration_timestamp", "(duration, timestamp) -> timestamp", One, ADD),
    row("_+_", "add_timestamp_duration", "(timestamp, duration) -> timestamp", One, ADD),
    row("_+_", "add_int64", "(int, int) -> int", One, ADD),
    row("_+_", "add_list", "(list(A), list(A)) -> list(A)", One, ADD),
    row("_+_", "add_string", "(string, string) -> string", ByOverload(cost::both_texts), ADD),
    row("_+_", "add_uint64", "(uint, uint) -> uint", One, ADD),
    row("_-_", "subtract_double", "(double, double) -> double", One, SUBTRACT),
    row("_-_", "subtract_duration_duration", "(duration, duration) -> duration", One, SUBTRACT),
    row("_-_", "subtract_int64", "(int, int) -> int", One, SUBTRACT),
    row("_-_", "subtract_timestamp_duration", "(timestamp, duration) -> timestamp", One, SUBTRACT),
    row("_-_", "subtract_timestamp_timestamp", "(timestamp, timestamp) -> duration", One, SUBTRACT),
    row("_-_", "subtract_uint64", "(uint, uint) -> uint", One, SUBTRACT),
    row("_/_", "divide_double", "(double, double) -> double", One, DIVIDE),
    row("_/_", "divide_int64", "(int, int) -> int", One, DIVIDE),
    row("_/_", "divide_uint64", "(uint, uint) -> uint", One, DIVIDE),
    row("_<=_", "less_equals_bool", "(bool, bool) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_int64", "(int, int) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_int64_double", "(int, double) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_int64_uint64", "(int, uint) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_uint64", "(uint, uint) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_uint64_double", "(uint, double) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_uint64_int64", "(uint, int) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_double", "(double, double) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_double_int64", "(double, int) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_double_uint64", "(double, uint) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_string", "(string, string) -> bool", ByOverload(cost::shorter_text), LESS_OR_EQUAL),
    row("_<=_", "less_equals_bytes", "(bytes, bytes) -> bool", ByOverload(cost::shorter_text), LESS_OR_EQUAL),
    row("_<=_", "less_equals_timestamp", "(timestamp, timestamp) -> bool", One, LESS_OR_EQUAL),
    row("_<=_", "less_equals_duration", "(duration, duration) -> bool", One, LESS_OR_EQUAL),
    row("_<_", "less_bool", "(bool, bool) -> bool", One, LESS),
    row("_<_", "less_int64", "(int, int) -> bool", One, LESS),
    row("_<_", "less_int64_double", "(int, double) -> bool", One, LESS),
    row("_<_", "less_int64_uint64", "(int, uint) -> bool", One, LESS),
    row("_<_", "less_uint64", "(uint, uint) -> bool", One, LESS),
    row("_<_", "less_uint64_double", "(uint, double) -> bool", One, LESS),
    row("_<_", "less_uint64_int64", "(uint, int) -> bool", One, LESS),
    row("_<_", "less_double", "(double, double) -> bool", One, LESS),
    row("_<_", "less_double_int64", "(double, int) -> bool", One, LESS),
    row("_<_", "less_double_uint64", "(double, uint) -> bool", One, LESS),
    row("_<_", "less_string", "(string, string) -> bool", ByOverload(cost::shorter_text), LESS),
    row("_<_", "less_bytes", "(bytes, bytes) -> bool", ByOverload(cost::shorter_text), LESS),
    row("_<_", "less_timestamp", "(timestamp, timestamp) -> bool", One, LESS),
    row("_<_", "less_duration", "(duration, duration) -> bool", One, LESS),
    row("_==_", "equals", "(A, A) -> bool", One, Evaluator),
    row("_>=_", "greater_equals_bool", "(bool, bool) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_int64", "(int, int) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_int64_double", "(int, double) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_int64_uint64", "(int, uint) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_uint64", "(uint, uint) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_uint64_double", "(uint, double) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_uint64_int64", "(uint, int) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_double", "(double, double) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_double_int64", "(double, int) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_double_uint64", "(double, uint) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_string", "(string, string) -> bool", ByOverload(cost::shorter_text), GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_bytes", "(bytes, bytes) -> bool", ByOverload(cost::shorter_text), GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_timestamp", "(timestamp, timestamp) -> bool", One, GREATER_OR_EQUAL),
    row("_>=_", "greater_equals_duration", "(duration, duration) -> bool", One, GREATER_OR_EQUAL),
    row("_>_", "greater_bool", "(bool, bool) -> bool", One, GREATER),
    row("_>_", "greater_int64", "(int, int) -> bool", One, GREATER),
    row("_>_", "greater_int64_double", "(int, double) -> bool", One, GREATER),
    row("_>_", "greater_int64_uint64", "(int, uint) -> bool", One, GREATER),
    row("_>_", "greater_uint64", "(uint, uint) -> bool", One, GREATER),
    row("_>_", "greater_uint64_double", "(uint, double) -> bool", One, GREATER),
    row("_>_", "greater_uint64_int64", "(uint, int) -> bool", One, GREATER),
    row("_>_", "greater_double", "(double, double) -> bool", One, GREATER),
    row("_>_", "greater_double_int64", "(double, int) -> bool", One, GREATER),
    row("_>_", "greater_double_uint64", "(double, uint) -> bool", One, GREATER),
    row("_>_", "greater_string", "(string, string) -> bool", ByOverload(cost::shorter_text), GREATER),
    row("_>_", "greater_bytes", "(bytes, bytes) -> bool", ByOverload(cost::shorter_text), GREATER),
    row("_>_", "greater_timestamp", "(timestamp, timestamp) -> bool", One, GREATER),
    row("_>_", "greater_duration", "(duration, duration) -> bool", One, GREATER),
    row("_?_:_", "conditional", "(bool, A, A) -> A", One, Evaluator),
    row("_[_]", "index_list", "(list(A), int) -> A", One, Evaluator),
    row("_[_]", "index_map", "(map(A, B), A) -> B", One, Evaluator),
    row("_||_", "logical_or", "(bool, bool) -> bool", One, Evaluator),
    row("dyn", "to_dyn", "(A) -> dyn", One, DYN),
    row("size", "size_bytes", "(bytes) -> int", One, SIZE),
    row("size", "bytes_size", "bytes.() -> int", One, SIZE),
    row("size", "size_list", "(list(A)) -> int", One, SIZE),
    row("size", "list_size", "list(A).() -> int", One, SIZE),
    row("size", "size_map", "(map(A, B)) -> int", One, SIZE),
    row("size", "map_size", "map(A, B).() -> int", One, SIZE),
    row("size", "size_string", "(string) -> int", One, SIZE),
    row("size", "string_size", "string.() -> int", One, SIZE),
    row("type", "type", "(A) -> type(A)", One, TYPE),
];

fn not<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Bool(value) => Ok(Value::Bool(!value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn negate<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(int_overflow),
        Value::Double(value) => Ok(Value::Double(-value)),
        Value::Duration(value) => {
            value.checked_neg().map(Value::Duration).ok_or_else(duration_overflow)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn add<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Int(a), Value::Int(b)) => {
            a.checked_add(*b).map(Value::Int).ok_or_else(int_overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_add(*b).map(Value::Uint).ok_or_else(uint_overflow)
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            meter.work(a.len() + b.len())?;
            Ok(Value::string([&**a, &**b].concat()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.work(a.len() + b.len())?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a), Value::List(b)) => {
            meter.work(a.len() + b.len())?;
            Ok(Value::List(a.clone().concat(b.clone())))
        }
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(*b).map(Value::Duration).ok_or_else(duration_overflow)
        }
        (Value::Timestamp(time), Value::Duration(nanos))
        | (Value::Duration(nanos), Value::Timestamp(time)) => time
            .plus(i128::from(*nanos))
            .map(Value::Timestamp)
            .ok_or_else(EvalError::timestamp_overflow),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn subtract<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Int(a), Value::Int(b)) => {
            a.checked_sub(*b).map(Value::Int).ok_or_else(int_overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_sub(*b).map(Value::Uint).ok_or_else(uint_overflow)
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_sub(*b).map(Value::Duration).ok_or_else(duration_overflow)
        }
        (Value::Timestamp(time), Value::Duration(nanos)) => time
            .plus(-i128::from(*nanos))
            .map(Value::Timestamp)
            .ok_or_else(EvalError::timestamp_overflow),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            i64::try_from(a.nanos_since_epoch() - b.nanos_since_epoch())
                .map(Value::Duration)
                .map_err(|_| duration_overflow())
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn multiply<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Int(a), Value::Int(b)) => {
            a.checked_mul(*b).map(Value::Int).ok_or_else(int_overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_mul(*b).map(Value::Uint).ok_or_else(uint_overflow)
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn divide<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("division by zero"))
        }
        (Value::Int(a), Value::Int(b)) => {
            a.checked_div(*b).map(Value::Int).ok_or_else(int_overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_div(*b).map(Value::Uint).ok_or_else(uint_overflow)
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn modulo<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("modulus by zero"))
        }
        (Value::Int(a), Value::Int(b)) => {
            a.checked_rem(*b).map(Value::Int).ok_or_else(int_overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_rem(*b).map(Value::Uint).ok_or_else(uint_overflow)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ordered<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    holds: fn(Ordering) -> bool,
) -> EvalResult<'a> {
    let (a, b) = two(arguments)?;
    if is_nan(a) || is_nan(b) {
        let numbers =
            [a, b].map(|side| matches!(side, Value::Int(_) | Value::Uint(_) | Value::Double(_)));
        if numbers == [true; 2] && meter.rules().has(Difference::NanOrder) {
            return Ok(Value::Bool(false));
        }
    }
    compare(meter, a, b).map(|order| Value::Bool(holds(order)))
}

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Double(number) if number.is_nan())
}

fn is_in<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (wanted, Value::List(list)) => contains(meter, list, wanted).map(Value::Bool),
        (wanted, Value::Map(map)) if !map.is_variable() => {
            meter.work(map.len())?;
            Ok(Value::Bool(map.find_plain(wanted, false).is_some()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn size<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let value = first(arguments)?;
    if let Value::String(text) = value {
        meter.work(text.len() / 8)?;
    }
    i64::try_from(value.size()).map(Value::Int).map_err(|_| int_overflow())
}

fn int_overflow() -> EvalError {
    EvalError::new("integer overflow")
}

fn uint_overflow() -> EvalError {
    EvalError::new("unsigned integer overflow")
}

/// Durations are integers to upstream when they overflow.
fn duration_overflow() -> EvalError {
    int_overflow()
}
