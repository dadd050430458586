//! Kubernetes' quantity library. Source: k8s.io/apiserver, `pkg/cel/library/quantity.go`.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    cost,
    error::EvalError,
    function::{
        Cost::{ByName, One},
        Row, first, overload, row, text, two,
    },
    meter::Meter,
    value::{EvalResult, Value, quantity::Quantity},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("add", "quantity_add", "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity", One, overload(add)),
    row("add", "quantity_add_int", "kubernetes.Quantity.(int) -> kubernetes.Quantity", One, overload(add)),
    row("asApproximateFloat", "quantity_get_float", "kubernetes.Quantity.() -> double", One, overload(|_, args| of(args, |quantity| Value::Double(quantity.as_float())))),
    row("asInteger", "quantity_get_int", "kubernetes.Quantity.() -> int", One, overload(as_integer)),
    row("compareTo", "quantity_compare_to", "kubernetes.Quantity.(kubernetes.Quantity) -> int", One, overload(|_, args| ordered(args, |order| Value::Int(order as i64)))),
    row("isGreaterThan", "quantity_is_greater_than", "kubernetes.Quantity.(kubernetes.Quantity) -> bool", One, overload(|_, args| ordered(args, |order| Value::Bool(order.is_gt())))),
    row("isInteger", "quantity_is_integer", "kubernetes.Quantity.() -> bool", One, overload(|_, args| of(args, |quantity| Value::Bool(quantity.as_integer().is_some())))),
    row("isLessThan", "quantity_is_less_than", "kubernetes.Quantity.(kubernetes.Quantity) -> bool", One, overload(|_, args| ordered(args, |order| Value::Bool(order.is_lt())))),
    row("isQuantity", "is_quantity_string", "(string) -> bool", ByName(cost::text), overload(is_quantity)),
    row("quantity", "string_to_quantity", "(string) -> kubernetes.Quantity", ByName(cost::text), overload(quantity)),
    row("sign", "quantity_sign", "(kubernetes.Quantity) -> int", One, overload(|_, args| of(args, |quantity| Value::Int(quantity.sign())))),
    row("sub", "quantity_sub", "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity", One, overload(subtract)),
    row("sub", "quantity_sub_int", "kubernetes.Quantity.(int) -> kubernetes.Quantity", One, overload(subtract)),
];

fn quantity<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let text = text(arguments, 0)?;
    meter.work(text.len())?;
    Quantity::parse(text, meter.rules())
        .map(|quantity| Value::Quantity(Arc::new(quantity)))
        .map_err(EvalError::new)
}

fn is_quantity<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let text = text(arguments, 0)?;
    meter.work(text.len())?;
    Ok(Value::Bool(Quantity::parse(text, meter.rules()).is_ok()))
}

fn as_integer<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Quantity(quantity) => quantity
            .as_integer()
            .map(Value::Int)
            .ok_or_else(|| EvalError::new("cannot convert value to integer")),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn of<'a>(arguments: &[Value<'a>], answer: fn(&Quantity) -> Value<'static>) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Quantity(quantity) => Ok(answer(quantity)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ordered<'a>(arguments: &[Value<'a>], answer: fn(Ordering) -> Value<'static>) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Quantity(a), Value::Quantity(b)) => Ok(answer(a.compare(b))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn add<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    sum(meter, arguments, |other| other)
}

fn subtract<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    sum(meter, arguments, Quantity::negated)
}

fn sum<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    sign: fn(Quantity) -> Quantity,
) -> EvalResult<'a> {
    let (Value::Quantity(a), other) = two(arguments)? else {
        return Err(EvalError::no_such_overload());
    };
    let b = sign(match other {
        Value::Quantity(b) => (**b).clone(),
        Value::Int(value) => Quantity::from_int(*value),
        _ => return Err(EvalError::no_such_overload()),
    });
    meter.work(a.length() + b.length() + 100)?;
    a.plus(&b).map(|sum| Value::Quantity(Arc::new(sum))).ok_or_else(EvalError::cost_exceeded)
}
