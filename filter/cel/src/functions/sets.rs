//! Lists as sets. Source: cel-go v0.26, `ext/sets.go`.

use super::{Body, two};
use crate::equality::contains;
use crate::error::EvalError;
use crate::list::List;
use crate::meter::Meter;
use crate::value::Value;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("list_sets_contains_list", |meter, args| {
        let (whole, part) = lists(args)?;
        includes(meter, whole, part).map(Value::Bool)
    }),
    ("list_sets_equivalent_list", |meter, args| {
        let (a, b) = lists(args)?;
        Ok(Value::Bool(includes(meter, a, b)? && includes(meter, b, a)?))
    }),
    ("list_sets_intersects_list", |meter, args| {
        let (a, b) = lists(args)?;
        for item in a.iterate() {
            if contains(meter, b, &item)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
];

fn lists<'v, 'a>(arguments: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match two(arguments)? {
        (Value::List(a), Value::List(b)) => Ok((a, b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn includes(meter: &mut Meter, whole: &List, part: &List) -> Result<bool, EvalError> {
    for item in part.iterate() {
        if !contains(meter, whole, &item)? {
            return Ok(false);
        }
    }
    Ok(true)
}
