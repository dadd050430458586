//! Optional values. Source: cel-go v0.26, `cel/library.go`. `or` and `orValue` do not evaluate what they do not need, so the
//! evaluator has them.

use super::{Body, first};
use crate::display::plain;
use crate::error::EvalError;
use crate::meter::Meter;
use crate::value::Value;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("optional_of", |_, args| Ok(Value::some(first(args)?.clone()))),
    ("optional_ofNonZeroValue", |_, args| {
        let value = first(args)?;
        Ok(if value.is_zero() { Value::Optional(None) } else { Value::some(value.clone()) })
    }),
    ("optional_none", |_, _| Ok(Value::Optional(None))),
    ("optional_value", |_, args| match first(args)? {
        Value::Optional(Some(value)) => Ok((**value).clone()),
        Value::Optional(None) => Err(EvalError::new("optional.none() dereference")),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("optional_hasValue", |_, args| match first(args)? {
        Value::Optional(value) => Ok(Value::Bool(value.is_some())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("list_first", |_, args| at(args, |length| length.checked_sub(length))),
    ("list_last", |_, args| at(args, |length| length.checked_sub(1))),
    ("optional_unwrap", unwrap),
    ("optional_unwrapOpt", unwrap),
];

type Answer<'a> = Result<Value<'a>, EvalError>;

fn at<'a>(arguments: &[Value<'a>], index: fn(usize) -> Option<usize>) -> Answer<'a> {
    let Value::List(list) = first(arguments)? else { return Err(EvalError::no_such_overload()) };
    let found = index(list.len()).and_then(|index| list.get(index));
    Ok(found.map_or(Value::Optional(None), Value::some))
}

fn unwrap<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> Answer<'a> {
    let Value::List(list) = first(arguments)? else { return Err(EvalError::no_such_overload()) };
    let mut values = Vec::new();
    for item in list.iterate() {
        meter.work(1)?;
        match item {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            other => {
                return Err(EvalError::new(format!("value {} is not optional", plain(&other))));
            }
        }
    }
    Ok(Value::list(values))
}
