//! Regular expressions: `matches` of the standard library, `find` and `findAll` of Kubernetes. Source: k8s.io/apiserver,
//! `pkg/cel/library/regex.go`. Constant patterns are compiled by the planner, and do not come here.

use kube_rules::Difference;

use crate::{
    cost,
    error::EvalError,
    function::{
        Code,
        Cost::{ByName, ByOverload, One},
        Row, function, overload, row, text,
    },
    meter::Meter,
    regex::{self, Operation},
    value::{EvalResult, Trait, Value},
};

const MATCHES: Code = function(Some(Trait::Matcher), matches);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("find", "string_find_string", "string.(string) -> string", ByName(cost::regex), overload(find)),
    row("findAll", "string_find_all_string", "string.(string) -> list(string)", ByName(cost::regex), overload(find_all)),
    row("findAll", "string_find_all_string_int", "string.(string, int) -> list(string)", ByName(cost::regex), overload(find_all)),
    row("matches", "matches", "(string, string) -> bool", One, MATCHES).until(Difference::MatchesCost),
    row("matches", "matches", "(string, string) -> bool", ByOverload(cost::regex), MATCHES).since(Difference::MatchesCost),
    row("matches", "matches_string", "string.(string) -> bool", ByOverload(cost::regex), MATCHES),
];

fn matches<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    dynamic(meter, Operation::Matches, arguments)
}

fn find<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    dynamic(meter, Operation::Find, arguments)
}

fn find_all<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    dynamic(meter, Operation::FindAll, arguments)
}

fn dynamic<'a>(meter: &mut Meter, operation: Operation, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let pattern = text(arguments, 1)?;
    text(arguments, 0)?;
    meter.work(pattern.len().saturating_mul(200))?;
    let regex = regex::compile(pattern).map_err(|why| {
        EvalError::new(match operation {
            Operation::Matches => why,
            Operation::Find | Operation::FindAll => format!("Illegal regex: {why}"),
        })
    })?;
    meter.work(regex.memory() / 16)?;
    regex.call(meter, operation, arguments)
}
