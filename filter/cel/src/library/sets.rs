//! Lists as sets. Source: cel-go v0.26, `ext/sets.go`.

use crate::{
    cost,
    error::EvalError,
    function::{Cost::ByOverload, Row, overload, row, two},
    meter::Meter,
    value::{EvalResult, Value, compare, list::List},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("sets.contains", "list_sets_contains_list", "(list(T), list(T)) -> bool", ByOverload(cost::list_with_list), overload(contains)),
    row("sets.equivalent", "list_sets_equivalent_list", "(list(T), list(T)) -> bool", ByOverload(cost::list_with_list_twice), overload(equivalent)),
    row("sets.intersects", "list_sets_intersects_list", "(list(T), list(T)) -> bool", ByOverload(cost::list_with_list), overload(intersects)),
];

fn contains<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (whole, part) = lists(arguments)?;
    includes(meter, whole, part).map(Value::Bool)
}

fn equivalent<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (a, b) = lists(arguments)?;
    Ok(Value::Bool(includes(meter, a, b)? && includes(meter, b, a)?))
}

fn intersects<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (a, b) = lists(arguments)?;
    for item in a.iterate() {
        if compare::contains(meter, b, &item)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn lists<'v, 'a>(arguments: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match two(arguments)? {
        (Value::List(a), Value::List(b)) => Ok((a, b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn includes(meter: &mut Meter, whole: &List, part: &List) -> Result<bool, EvalError> {
    for item in part.iterate() {
        if !compare::contains(meter, whole, &item)? {
            return Ok(false);
        }
    }
    Ok(true)
}
