//! Operators and what else upstream binds to a name as a whole. Source: cel-go v0.26, `common/stdlib` and `common/types`.

use std::cmp::Ordering;

use super::{Body, first, two};
use crate::equality::contains;
use crate::error::EvalError;
use crate::map::Map;
use crate::meter::Meter;
use crate::value::{Trait, Value};

type Answer<'a> = Result<Value<'a>, EvalError>;

pub const SINGLETONS: &[(&str, Option<Trait>, Body)] = &[
    ("!_", None, not),
    ("-_", Some(Trait::Negator), negate),
    ("_+_", Some(Trait::Adder), add),
    ("_-_", Some(Trait::Subtractor), subtract),
    ("_*_", Some(Trait::Multiplier), multiply),
    ("_/_", Some(Trait::Divider), divide),
    ("_%_", Some(Trait::Modder), modulo),
    ("_<_", Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_lt)),
    ("_<=_", Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_le)),
    ("_>_", Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_gt)),
    ("_>=_", Some(Trait::Comparer), |meter, args| ordered(meter, args, Ordering::is_ge)),
    ("@in", None, is_in),
    ("size", Some(Trait::Sizer), size),
    ("type", None, |_, args| Ok(Value::Type(first(args)?.type_name()))),
    ("dyn", None, |_, args| first(args).cloned()),
];

fn not<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    match first(arguments)? {
        Value::Bool(value) => Ok(Value::Bool(!value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn negate<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    match first(arguments)? {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(int_overflow),
        Value::Double(value) => Ok(Value::Double(-value)),
        Value::Duration(value) => {
            value.checked_neg().map(Value::Duration).ok_or_else(duration_overflow)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn add<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
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
        | (Value::Duration(nanos), Value::Timestamp(time)) => {
            time.plus(i128::from(*nanos)).map(Value::Timestamp).ok_or_else(timestamp_overflow)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn subtract<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
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
        (Value::Timestamp(time), Value::Duration(nanos)) => {
            time.plus(-i128::from(*nanos)).map(Value::Timestamp).ok_or_else(timestamp_overflow)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            i64::try_from(a.nanos_since_epoch() - b.nanos_since_epoch())
                .map(Value::Duration)
                .map_err(|_| duration_overflow())
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn multiply<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
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

fn divide<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
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

fn modulo<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
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
) -> Answer<'a> {
    let (a, b) = two(arguments)?;
    compare(meter, a, b).map(|order| Value::Bool(holds(order)))
}

/// How two values that have an order compare.
///
/// # Errors
/// If they are of different types (numbers aside), or one is NaN.
pub fn compare(meter: &mut Meter, a: &Value, b: &Value) -> Result<Ordering, EvalError> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
        (Value::String(a), Value::String(b)) => {
            meter.work(a.len().min(b.len()) / 16)?;
            Ok(a.as_bytes().cmp(b.as_bytes()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.work(a.len().min(b.len()) / 16)?;
            Ok(a.cmp(b))
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            Ok(a.nanos_since_epoch().cmp(&b.nanos_since_epoch()))
        }
        (Value::Duration(a), Value::Duration(b)) => Ok(a.cmp(b)),
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => a.compare_numbers(b).ok_or_else(|| EvalError::new("NaN values cannot be ordered")),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_in<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    match two(arguments)? {
        (wanted, Value::List(list)) => contains(meter, list, wanted).map(Value::Bool),
        (wanted, Value::Map(map)) if !matches!(map, Map::Claims(_) | Map::User(_)) => {
            meter.work(map.len())?;
            Ok(Value::Bool(map.find_plain(wanted, false).is_some()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn size<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
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

pub fn timestamp_overflow() -> EvalError {
    EvalError::new("timestamp overflow")
}
