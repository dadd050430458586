//! What each step costs. Source: cel-go v0.26, `interpreter/runtimecost.go`, `ext/lists.go` and `ext/sets.go`; k8s.io/apiserver,
//! `pkg/cel/library/cost.go`.

#![expect(clippy::unnecessary_wraps, reason = "all counts have one shape")]

use kube_rules::{Difference, Rules};

use crate::{
    error::EvalError,
    value::{EvalResult, Value},
};

/// Of a variable, a field or an element.
pub const SELECT: u64 = 1;
/// Of building a list.
pub const LIST: u64 = 10;
/// Of building a map.
pub const MAP: u64 = 30;

/// Of a call of a library's function.
const CALL: u64 = 1;
/// Of asking an authorizer.
const AUTHORIZATION: u64 = 350_000;

/// A call that has run.
#[derive(Debug, Clone, Copy)]
pub struct Called<'c, 'a> {
    pub rules: Rules,
    pub arguments: &'c [EvalResult<'a>],
    pub result: &'c EvalResult<'a>,
}

/// Counts a call whose arguments were all evaluated. It fails where upstream's count falls over: that takes for a list what is none.
pub type Count = for<'c, 'a> fn(Called<'c, 'a>) -> Result<u64, EvalError>;

impl<'c, 'a> Called<'c, 'a> {
    fn argument(self, index: usize) -> Option<&'c EvalResult<'a>> {
        self.arguments.get(index)
    }

    fn size(self, index: usize) -> u64 {
        size(self.argument(index))
    }
}

/// Of an error's place among arguments.
fn size(value: Option<&EvalResult>) -> u64 {
    size_of(value.and_then(|value| value.as_ref().ok()))
}

fn size_of(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Optional(Some(value))) => value.size(),
        Some(value) => value.size(),
        None => 1,
    }
}

/// A tenth of so many characters, rounded up after the product is.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rounding is upstream's, and casts saturate"
)]
fn traversal(characters: u64) -> u64 {
    (characters as f64 * 0.1).ceil() as u64
}

/// The cost of `==` or `!=`, of values or errors in their places.
pub fn of_equality(a: Option<&Value>, b: Option<&Value>, negated: bool) -> u64 {
    let is_library_value = matches!(
        a,
        Some(
            Value::Ip(_)
                | Value::Cidr(_)
                | Value::Url(_)
                | Value::Quantity(_)
                | Value::Semver(_)
                | Value::Format(_)
        )
    );
    if is_library_value && !negated {
        return 1;
    }
    traversal(size_of(a).min(size_of(b)))
}

/// Reading the first argument.
pub fn text(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(call.size(0)))
}

/// Reading the second argument.
pub fn argument(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(call.size(1)))
}

/// Reading the first argument and writing as much.
pub fn text_twice(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(2 * call.size(0)))
}

/// Reading and writing what comes out.
pub fn result_twice(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(2 * size(Some(call.result))))
}

/// Reading two arguments.
pub fn both_texts(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(call.size(0) + call.size(1)))
}

/// Comparing two arguments up to the end of the shorter.
pub fn shorter_text(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(call.size(0).min(call.size(1))))
}

/// Looking for the second argument in the first.
pub fn search(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(call.size(0)).saturating_mul(traversal(call.size(1))))
}

/// Matching the first argument with the second.
pub fn regex(call: Called) -> Result<u64, EvalError> {
    Ok(matching(call.size(0), call.size(1)))
}

/// Matching the second argument with the expression of the format that is the first.
pub fn format(call: Called) -> Result<u64, EvalError> {
    Ok(match call.argument(0) {
        Some(Ok(Value::Format(format))) => matching(call.size(1), format.regex_size()),
        _ => 1,
    })
}

fn matching(text: u64, pattern: u64) -> u64 {
    traversal(text + 1).saturating_mul(pattern.div_ceil(4))
}

/// Looking at each element of the second argument.
pub fn elements(call: Called) -> Result<u64, EvalError> {
    Ok(call.size(1))
}

/// Comparing an address with a network.
pub fn network(call: Called) -> Result<u64, EvalError> {
    Ok(traversal(2 * call.size(0)))
}

/// The same with an address to be read first.
pub fn network_and_text(call: Called) -> Result<u64, EvalError> {
    Ok(network(call)? + traversal(call.size(1)))
}

/// Comparing two networks.
pub fn subnet(call: Called) -> Result<u64, EvalError> {
    Ok(network(call)? + traversal(call.size(0)) + 1)
}

/// The same with a network to be read first.
pub fn subnet_and_text(call: Called) -> Result<u64, EvalError> {
    Ok(subnet(call)? + traversal(call.size(1)))
}

/// The authorizer's functions are known, though nothing here has them.
pub fn authorization(_: Called) -> Result<u64, EvalError> {
    Ok(AUTHORIZATION)
}

/// A list as long as what comes out.
pub fn allocated_result(call: Called) -> Result<u64, EvalError> {
    let length = match call.result {
        Err(_) if call.rules.has(Difference::ErrorCost) => 0,
        result => size(Some(result)),
    };
    Ok(length.saturating_add(CALL + LIST))
}

/// A list as long as the first argument.
pub fn allocated_list(call: Called) -> Result<u64, EvalError> {
    Ok(call.size(0).saturating_add(CALL + LIST))
}

/// The same as often as the second argument says.
pub fn allocated_levels(call: Called) -> Result<u64, EvalError> {
    match call.argument(1) {
        // A negative depth wraps around and makes the cost less; the call itself fails.
        Some(Ok(Value::Int(depth))) => Ok(times(call.size(0), *depth).wrapping_add(CALL + LIST)),
        _ => Err(EvalError::internal("the depth is not an integer")),
    }
}

/// The same, a negative depth counting as one, or not at all.
pub fn allocated_some_levels(call: Called) -> Result<u64, EvalError> {
    match call.argument(1) {
        Some(Ok(Value::Int(depth @ 0..))) => {
            Ok(times(call.size(0), *depth).saturating_add(CALL + LIST))
        }
        Some(Ok(Value::Int(_))) if call.rules.has(Difference::ErrorCost) => Ok(CALL + LIST),
        Some(Ok(Value::Int(_))) => allocated_list(call),
        _ => Err(EvalError::internal("the depth is not an integer")),
    }
}

/// Each element of one list with each of the other.
pub fn list_with_list(call: Called) -> Result<u64, EvalError> {
    Ok(CALL.saturating_add(call.size(0).saturating_mul(call.size(1))))
}

/// The same both ways.
pub fn list_with_list_twice(call: Called) -> Result<u64, EvalError> {
    Ok(CALL.saturating_add(call.size(0).saturating_mul(call.size(1)).saturating_mul(2)))
}

/// Each element of the first argument with each other.
pub fn list_with_itself(call: Called) -> Result<u64, EvalError> {
    with_itself(call.argument(0))
}

/// The same of the second argument.
pub fn keys_with_themselves(call: Called) -> Result<u64, EvalError> {
    with_itself(call.argument(1))
}

/// Every element with every other; a twentieth more for texts.
fn with_itself(list: Option<&EvalResult>) -> Result<u64, EvalError> {
    let Some(Ok(Value::List(list))) = list else {
        return Err(EvalError::internal("the value to be counted is not a list"));
    };
    let pairs = (list.len() as u64).saturating_mul(list.len() as u64);
    let texts = matches!(list.get(0), Some(Value::String(_) | Value::Bytes(_)));
    let compared = if texts { scaled(pairs, 2.1) } else { pairs.saturating_mul(2) };
    Ok(compared.saturating_add(CALL + LIST))
}

/// Everything in the first argument; bytes of texts, rounded down.
pub fn everything(call: Called) -> Result<u64, EvalError> {
    let value = call.argument(0).and_then(|value| value.as_ref().ok());
    Ok(value.map_or(1, deep_traversal))
}

fn deep_traversal(value: &Value) -> u64 {
    match value {
        Value::String(text) => scaled(text.len() as u64, 0.1),
        Value::Bytes(bytes) => scaled(bytes.len() as u64, 0.1),
        Value::List(list) => list.iterate().map(|item| deep_traversal(&item)).sum(),
        // The variables iterate their values, and are then asked for those.
        Value::Map(map) if map.is_variable() => map
            .iterate()
            .iter()
            .map(|value| {
                let found = map.find(value).ok().flatten();
                deep_traversal(value) + found.as_ref().map_or(1, deep_traversal)
            })
            .sum(),
        Value::Map(map) => map
            .iterate()
            .iter()
            .map(|key| {
                let value = map.find_plain(key, false);
                deep_traversal(key) + value.as_ref().map_or(0, deep_traversal)
            })
            .sum(),
        _ => 1,
    }
}

/// `uint64(float64(size) * float64(factor))`, where a negative product keeps its bits.
fn times(size: u64, factor: i64) -> u64 {
    i64::try_from(size).unwrap_or(i64::MAX).saturating_mul(factor).cast_unsigned()
}

/// `uint64(float64(size) * factor)` as Go computes it.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rounding is upstream's, and casts saturate"
)]
fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor) as u64
}
