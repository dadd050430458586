//! Kubernetes' library of semantic versions. Source: k8s.io/apiserver, `pkg/cel/library/semverlib.go`.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    cost,
    error::EvalError,
    function::{
        Cost::{ByName, One},
        Row, first, overload, row, text, two,
    },
    value::{EvalResult, Value, semver::Semver},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("compareTo", "semver_compare_to", "kubernetes.Semver.(kubernetes.Semver) -> int", One, overload(|_, args| ordered(args, |order| Value::Int(order as i64)))),
    row("isGreaterThan", "semver_is_greater_than", "kubernetes.Semver.(kubernetes.Semver) -> bool", One, overload(|_, args| ordered(args, |order| Value::Bool(order.is_gt())))),
    row("isLessThan", "semver_is_less_than", "kubernetes.Semver.(kubernetes.Semver) -> bool", One, overload(|_, args| ordered(args, |order| Value::Bool(order.is_lt())))),
    row("isSemver", "is_semver_string", "(string) -> bool", ByName(cost::text), overload(|_, args| is_version(args, false))),
    row("isSemver", "is_semver_string_bool", "(string, bool) -> bool", ByName(cost::text), overload(|_, args| is_version(args, flag(args)?))),
    row("major", "semver_major", "kubernetes.Semver.() -> int", One, overload(|_, args| number(args, |version| version.major))),
    row("minor", "semver_minor", "kubernetes.Semver.() -> int", One, overload(|_, args| number(args, |version| version.minor))),
    row("patch", "semver_patch", "kubernetes.Semver.() -> int", One, overload(|_, args| number(args, |version| version.patch))),
    row("semver", "string_to_semver", "(string) -> kubernetes.Semver", ByName(cost::text), overload(|_, args| version(args, false))),
    row("semver", "string_bool_to_semver", "(string, bool) -> kubernetes.Semver", ByName(cost::text), overload(|_, args| version(args, flag(args)?))),
];

fn flag(arguments: &[Value]) -> Result<bool, EvalError> {
    match two(arguments)? {
        (_, Value::Bool(normalize)) => Ok(*normalize),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn parse(arguments: &[Value], normalize: bool) -> Result<Result<Semver, String>, EvalError> {
    text(arguments, 0)
        .map(|text| if normalize { Semver::parse_tolerant(text) } else { Semver::parse(text) })
}

fn version<'a>(arguments: &[Value<'a>], normalize: bool) -> EvalResult<'a> {
    parse(arguments, normalize)?
        .map(|version| Value::Semver(Arc::new(version)))
        .map_err(EvalError::new)
}

fn is_version<'a>(arguments: &[Value<'a>], normalize: bool) -> EvalResult<'a> {
    Ok(Value::Bool(parse(arguments, normalize)?.is_ok()))
}

fn ordered<'a>(arguments: &[Value<'a>], answer: fn(Ordering) -> Value<'static>) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Semver(a), Value::Semver(b)) => Ok(answer(a.precedence(b))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn number<'a>(arguments: &[Value<'a>], of: fn(&Semver) -> u64) -> EvalResult<'a> {
    match first(arguments)? {
        // Go's conversion wraps around.
        Value::Semver(version) => Ok(Value::Int(of(version).cast_signed())),
        _ => Err(EvalError::no_such_overload()),
    }
}
