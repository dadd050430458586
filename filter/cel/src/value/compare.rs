//! When two values are equal, and which of two is the less. Source: cel-go v0.26, `types.Equal` and the `Equal` of each type.

use std::cmp::Ordering;

use super::{Value, list::List, map::Map};
use crate::{error::EvalError, meter::Meter};

/// `a == b`. Numbers are equal by value whatever their type; values of different types are not equal, but those of the
/// libraries know only their own kind and have no overload for others.
///
/// # Errors
/// If there is no overload, or the evaluation may not work that much.
pub fn equal(meter: &mut Meter, a: &Value, b: &Value) -> Result<bool, EvalError> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(matches!((a, b), (Value::Null, Value::Null))),
        _ => same(meter, a, b),
    }
}

fn same(meter: &mut Meter, a: &Value, b: &Value) -> Result<bool, EvalError> {
    meter.work(1)?;
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::String(a), Value::String(b)) => {
            meter.work(a.len().min(b.len()) / 16)?;
            Ok(**a == **b)
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.work(a.len().min(b.len()) / 16)?;
            Ok(a == b)
        }
        (Value::List(a), Value::List(b)) => lists(meter, a, b),
        (Value::Map(a), other) => maps(meter, a, other),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            Ok(a.nanos_since_epoch() == b.nanos_since_epoch())
        }
        (Value::Duration(a), Value::Duration(b)) => Ok(a == b),
        (Value::Type(a), Value::Type(b)) => Ok(a == b),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => same_or_null(meter, a, b),
            (None, None) => Ok(true),
            _ => Ok(false),
        },
        (Value::Ip(a), Value::Ip(b)) => Ok(a == b),
        (Value::Cidr(a), Value::Cidr(b)) => Ok(a == b),
        (Value::Url(a), Value::Url(b)) => Ok(a.to_string() == b.to_string()),
        (Value::Quantity(a), Value::Quantity(b)) => Ok(a.compare(b).is_eq()),
        (Value::Semver(a), Value::Semver(b)) => Ok(a.precedence(b).is_eq()),
        (Value::Format(a), Value::Format(b)) => Ok(a == b),
        (
            Value::Ip(_)
            | Value::Cidr(_)
            | Value::Url(_)
            | Value::Quantity(_)
            | Value::Semver(_)
            | Value::Format(_),
            _,
        ) => Err(EvalError::no_such_overload()),
        _ => Ok(a.compare_numbers(b).is_some_and(Ordering::is_eq)),
    }
}

/// Inside an optional nothing is asked about null first; null equals null alone all the same.
fn same_or_null(meter: &mut Meter, a: &Value, b: &Value) -> Result<bool, EvalError> {
    match (a, b) {
        (Value::Null, other) => Ok(matches!(other, Value::Null)),
        _ => same(meter, a, b),
    }
}

fn lists(meter: &mut Meter, a: &List, b: &List) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iterate().zip(b.by_position()) {
        if matches!(absorb(equal(meter, &a, &b))?, Some(false)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps(meter: &mut Meter, a: &Map, other: &Value) -> Result<bool, EvalError> {
    let Value::Map(b) = other else {
        return if a.is_variable() { Err(EvalError::no_such_overload()) } else { Ok(false) };
    };
    match (a, b) {
        (Map::Claims(_), Map::Claims(_)) => return Ok(true),
        (Map::User(a), Map::User(b)) => return Ok(a == b),
        (Map::Claims(_) | Map::User(_) | Map::Request(_), _) => {
            return Err(EvalError::no_such_overload());
        }
        _ => {}
    }
    meter.work(a.len() + b.len())?;
    if a.len() != b.len() {
        return Ok(false);
    }
    for key in a.iterate() {
        let Some(here) = a.find_plain(&key, false) else { return Ok(false) };
        let Some(there) = b.find(&key)? else { return Ok(false) };
        if matches!(absorb(equal(meter, &here, &there))?, Some(false)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Elements that cannot be compared do not count as different, as upstream; running out of cost ends everything.
fn absorb(result: Result<bool, EvalError>) -> Result<Option<bool>, EvalError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_cancelled() => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether the list has an element equal to the value. Null is asked like any other value here.
///
/// # Errors
/// If the evaluation may not work that much.
pub fn contains(meter: &mut Meter, list: &List, wanted: &Value) -> Result<bool, EvalError> {
    for element in list.iterate() {
        if absorb(same_or_null(meter, wanted, &element))? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether one of the target's elements, or a target that is no list, is equal to the value. What cannot be compared is not.
///
/// # Errors
/// If the evaluation may not work that much.
pub fn is_included(meter: &mut Meter, target: &Value, wanted: &Value) -> Result<bool, EvalError> {
    let Value::List(list) = target else {
        return Ok(absorb(same_or_null(meter, target, wanted))? == Some(true));
    };
    for element in list.iterate() {
        if absorb(same_or_null(meter, &element, wanted))? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
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
