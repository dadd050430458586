//! What each step costs. Source: cel-go v0.26, `interpreter/runtimecost.go`, `ext/lists.go` and `ext/sets.go`; k8s.io/apiserver,
//! `pkg/cel/library/cost.go`.

use crate::error::EvalError;
use crate::plan::Call;
use crate::value::{Trait, Value};

type Answer<'a> = Result<Value<'a>, EvalError>;

/// Of a variable, a field or an element.
pub const SELECT: u64 = 1;
/// Of building a list.
pub const LIST: u64 = 10;
/// Of building a map.
pub const MAP: u64 = 30;

/// Of an error's place among arguments.
fn size(value: Option<&Answer>) -> u64 {
    match value {
        Some(Ok(Value::Optional(Some(value)))) => value.size(),
        Some(Ok(value)) => value.size(),
        _ => 1,
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

/// The cost of `==` or `!=`.
pub fn of_equality(a: &Answer, b: &Answer, negated: bool) -> u64 {
    let is_library_value = matches!(
        a,
        Ok(Value::Ip(_)
            | Value::Cidr(_)
            | Value::Url(_)
            | Value::Quantity(_)
            | Value::Semver(_)
            | Value::Format(_))
    );
    if is_library_value && !negated {
        return 1;
    }
    traversal(size(Some(a)).min(size(Some(b))))
}

/// The cost of a call whose arguments were all evaluated.
///
/// # Errors
/// Where upstream's count falls over: it takes for a list what is none.
pub fn of_call(call: &Call, arguments: &[Answer], result: &Answer) -> Result<u64, EvalError> {
    let overload = call.overload.map_or("", |overload| overload.id);
    let at = |index: usize| size(arguments.get(index));
    let first = arguments.first().and_then(|value| value.as_ref().ok());
    Ok(of_extension(overload, arguments, result)?
        .or_else(|| of_library(call.function.name, overload, &at, first, result))
        .unwrap_or_else(|| of_standard(overload, &at)))
}

/// The lists and sets extensions count by overload.
fn of_extension(
    overload: &str,
    arguments: &[Answer],
    result: &Answer,
) -> Result<Option<u64>, EvalError> {
    const CALL: u64 = 1;
    let allocating = |size: u64| size.saturating_add(CALL + LIST);
    let product = || size(arguments.first()).saturating_mul(size(arguments.get(1)));
    Ok(Some(match overload {
        "list_slice" | "lists_range" | "list_reverse" => allocating(size(Some(result))),
        "list_flatten" => allocating(size(arguments.first())),
        "list_flatten_int" => match arguments.get(1) {
            // A negative depth wraps around and makes the cost less; the call itself fails.
            Some(Ok(Value::Int(depth))) => {
                times(size(arguments.first()), *depth).wrapping_add(CALL + LIST)
            }
            Some(Ok(other)) => return Err(no_integer(other.go_type())),
            _ => return Err(no_integer("*types.Err")),
        },
        "list_distinct" => self_compare(arguments.first())?,
        "list_sets_contains_list" | "list_sets_intersects_list" => CALL.saturating_add(product()),
        "list_sets_equivalent_list" => CALL.saturating_add(product().saturating_mul(2)),
        _ if overload.ends_with("_sort") => self_compare(arguments.first())?,
        _ if overload.ends_with("_sortByAssociatedKeys") => self_compare(arguments.get(1))?,
        _ => return Ok(None),
    }))
}

/// Every element with every other; a twentieth more for texts.
fn self_compare(list: Option<&Answer>) -> Result<u64, EvalError> {
    let Some(Ok(Value::List(list))) = list else { return Err(no_list(list)) };
    let pairs = (list.len() as u64).saturating_mul(list.len() as u64);
    let texts = matches!(list.get(0), Some(Value::String(_) | Value::Bytes(_)));
    let compared = if texts { scaled(pairs, 2.1) } else { pairs.saturating_mul(2) };
    Ok(compared.saturating_add(1 + LIST))
}

fn no_integer(name: &str) -> EvalError {
    EvalError::internal(&format!("interface conversion: ref.Val is {name}, not types.Int"))
}

fn no_list(value: Option<&Answer>) -> EvalError {
    let (name, missing) = match value {
        Some(Ok(value)) if value.has(Trait::Adder) => (value.go_type(), "Contains"),
        Some(Ok(value)) => (value.go_type(), "Add"),
        _ => ("*types.Err", "Add"),
    };
    EvalError::internal(&format!(
        "interface conversion: {name} is not traits.Lister: missing method {missing}"
    ))
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

fn of_library(
    function: &str,
    overload: &str,
    at: &impl Fn(usize) -> u64,
    first: Option<&Value>,
    result: &Answer,
) -> Option<u64> {
    Some(match function {
        // The authorizer's functions are known, though nothing here has them.
        "check" => 350_000,
        "ip" if overload == "cidr_ip" => 1,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            first.map_or(1, deep_traversal)
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR"
        | "quantity" | "isQuantity" | "semver" | "isSemver" | "ip" => traversal(at(0)),
        "replace" | "split" | "ip.isCanonical" => traversal(2 * at(0)),
        "join" => traversal(2 * size(Some(result))),
        "find" | "findAll" => regex(at(0), at(1)),
        "containsIP" => {
            traversal(2 * at(0))
                + if overload == "cidr_contains_ip_string" { traversal(at(1)) } else { 0 }
        }
        "containsCIDR" => {
            let text = if overload == "cidr_contains_cidr_string" { traversal(at(1)) } else { 0 };
            traversal(2 * at(0)) + traversal(at(0)) + 1 + text
        }
        "validate" => match first {
            Some(Value::Format(format)) => regex(at(1), format.regex_size()),
            _ => return None,
        },
        "serviceAccount"
        | "path"
        | "group"
        | "resource"
        | "subresource"
        | "namespace"
        | "name"
        | "allowed"
        | "reason"
        | "error"
        | "errored"
        | "masked"
        | "prefixLength"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "format.named"
        | "sign"
        | "asInteger"
        | "isInteger"
        | "asApproximateFloat"
        | "isGreaterThan"
        | "isLessThan"
        | "compareTo"
        | "add"
        | "sub"
        | "major"
        | "minor"
        | "patch"
        | "getScheme"
        | "getHostname"
        | "getHost"
        | "getPort"
        | "getEscapedPath"
        | "getQuery" => 1,
        _ => return None,
    })
}

fn regex(text: u64, pattern: u64) -> u64 {
    traversal(text + 1).saturating_mul(pattern.div_ceil(4))
}

/// Of everything in a value; bytes of texts, rounded down.
fn deep_traversal(value: &Value) -> u64 {
    match value {
        Value::String(text) => scaled(text.len() as u64, 0.1),
        Value::Bytes(bytes) => scaled(bytes.len() as u64, 0.1),
        Value::List(list) => list.iterate().map(|item| deep_traversal(&item)).sum(),
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

fn of_standard(overload: &str, at: &impl Fn(usize) -> u64) -> u64 {
    match overload {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
        | "strings_quote" | "string_format" => traversal(at(0)),
        "in_list" => at(1),
        "less_string"
        | "greater_string"
        | "less_equals_string"
        | "greater_equals_string"
        | "less_bytes"
        | "greater_bytes"
        | "less_equals_bytes"
        | "greater_equals_bytes" => traversal(at(0).min(at(1))),
        "add_string" | "add_bytes" => traversal(at(0) + at(1)),
        "matches_string" => regex(at(0), at(1)),
        "contains_string" => traversal(at(0)).saturating_mul(traversal(at(1))),
        _ => 1,
    }
}
