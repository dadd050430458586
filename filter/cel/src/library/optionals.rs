//! Optional values. Source: cel-go v0.26, `cel/library.go`. `or` and `orValue` do not evaluate what they do not need, so the
//! evaluator has them.

#![expect(clippy::unnecessary_wraps, reason = "the code of all functions has one shape")]

use crate::{
    error::EvalError,
    function::{Code::Evaluator, Cost::One, Row, first, overload, row},
    meter::Meter,
    value::{EvalResult, Value, display::plain},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("_?._", "select_optional_field", "(dyn, string) -> optional_type(V)", One, Evaluator),
    row("_[?_]", "list_optindex_optional_int", "(list(V), int) -> optional_type(V)", One, Evaluator),
    row("_[?_]", "optional_list_optindex_optional_int", "(optional_type(list(V)), int) -> optional_type(V)", One, Evaluator),
    row("_[?_]", "map_optindex_optional_value", "(map(K, V), K) -> optional_type(V)", One, Evaluator),
    row("_[?_]", "optional_map_optindex_optional_value", "(optional_type(map(K, V)), K) -> optional_type(V)", One, Evaluator),
    row("_[_]", "optional_list_index_int", "(optional_type(list(V)), int) -> optional_type(V)", One, Evaluator),
    row("_[_]", "optional_map_index_value", "(optional_type(map(K, V)), K) -> optional_type(V)", One, Evaluator),
    row("first", "list_first", "list(V).() -> optional_type(V)", One, overload(first_of)),
    row("hasValue", "optional_hasValue", "optional_type(V).() -> bool", One, overload(has_value)),
    row("last", "list_last", "list(V).() -> optional_type(V)", One, overload(last_of)),
    row("optional.none", "optional_none", "() -> optional_type(V)", One, overload(none)),
    row("optional.of", "optional_of", "(V) -> optional_type(V)", One, overload(of)),
    row("optional.ofNonZeroValue", "optional_ofNonZeroValue", "(V) -> optional_type(V)", One, overload(of_non_zero)),
    row("optional.unwrap", "optional_unwrap", "(list(optional_type(V))) -> list(V)", One, overload(unwrap)),
    row("or", "optional_or_optional", "optional_type(V).(optional_type(V)) -> optional_type(V)", One, Evaluator),
    row("orValue", "optional_orValue_value", "optional_type(V).(V) -> V", One, Evaluator),
    row("unwrapOpt", "optional_unwrapOpt", "list(optional_type(V)).() -> list(V)", One, overload(unwrap)),
    row("value", "optional_value", "optional_type(V).() -> V", One, overload(value)),
];

fn of<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::some(first(arguments)?.clone()))
}

fn of_non_zero<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let value = first(arguments)?;
    Ok(if value.is_zero() { Value::Optional(None) } else { Value::some(value.clone()) })
}

fn none<'a>(_: &mut Meter, _: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::Optional(None))
}

fn value<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Optional(Some(value)) => Ok((**value).clone()),
        Value::Optional(None) => Err(EvalError::new("optional.none() dereference")),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn has_value<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Optional(value) => Ok(Value::Bool(value.is_some())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn first_of<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    at(arguments, |length| length.checked_sub(length))
}

fn last_of<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    at(arguments, |length| length.checked_sub(1))
}

fn at<'a>(arguments: &[Value<'a>], index: fn(usize) -> Option<usize>) -> EvalResult<'a> {
    let Value::List(list) = first(arguments)? else { return Err(EvalError::no_such_overload()) };
    let found = index(list.len()).and_then(|index| list.get(index));
    Ok(found.map_or(Value::Optional(None), Value::some))
}

fn unwrap<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
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
