//! What a function is: a row of a table in [`crate::library`], which says all that the checker, the planner, the evaluator and the
//! cost model have to know of it.

use kube_rules::{Difference, Rules};

use crate::{
    cost::Count,
    error::EvalError,
    meter::Meter,
    value::{EvalResult, Trait, Value},
};

/// One overload of a function.
#[derive(Debug)]
pub struct Row {
    /// The function's name in expressions.
    pub name: &'static str,
    /// The overload's name in cel-go.
    pub id: &'static str,
    /// `(ARGUMENT, ..) -> RESULT`, or `TARGET.(ARGUMENT, ..) -> RESULT`.
    pub signature: &'static str,
    pub cost: Cost,
    pub code: Code,
    since: Option<Difference>,
    until: Option<Difference>,
}

impl Row {
    /// The same row, which there is only once `difference` holds.
    pub const fn since(self, difference: Difference) -> Self {
        Self { since: Some(difference), ..self }
    }

    /// The same row, which there is only until `difference` holds.
    pub const fn until(self, difference: Difference) -> Self {
        Self { until: Some(difference), ..self }
    }

    /// Whether there is such an overload.
    pub fn is_part_of(&self, rules: Rules) -> bool {
        self.since.is_none_or(|difference| rules.has(difference))
            && !self.until.is_some_and(|difference| rules.has(difference))
    }
}

/// How a call is counted.
#[derive(Debug, Clone, Copy)]
pub enum Cost {
    /// One unit, whatever the arguments.
    One,
    /// Where it is known before the call runs that this is the overload. Otherwise a unit: cel-go counts so.
    ByOverload(Count),
    /// Always: Kubernetes' libraries count by the function's name. Of rows with one name the first with such a cost counts where the
    /// overload is not known.
    ByName(Count),
}

/// What runs.
#[derive(Debug, Clone, Copy)]
pub enum Code {
    /// The evaluator does it itself: it need not evaluate all arguments, or it selects from an attribute.
    Evaluator,
    /// It would ask an authorizer, and there is none: calls find no overload.
    Authorizer,
    /// Code of this overload alone.
    Overload(Implementation),
    /// Code that upstream binds to the name as a whole. All rows of the name have the same.
    Function(Implementation),
}

/// A function's code. It gets as many arguments as its signature has.
pub type Body = for<'a> fn(&mut Meter, &[Value<'a>]) -> EvalResult<'a>;

/// Code, and what is asked before it runs.
#[derive(Debug, Clone, Copy)]
pub struct Implementation {
    pub body: Body,
    /// What the first argument must be capable of.
    pub operand: Option<Trait>,
    /// Whether the arguments' types are held to the signature.
    pub guarded: bool,
    /// Whether upstream gives it any number of arguments: it then evaluates none behind one that fails.
    pub variadic: bool,
}

/// A row of a table.
pub const fn row(
    name: &'static str,
    id: &'static str,
    signature: &'static str,
    cost: Cost,
    code: Code,
) -> Row {
    Row { name, id, signature, cost, code, since: None, until: None }
}

/// Code of an overload, which runs if the arguments fit the signature.
pub const fn overload(body: Body) -> Code {
    Code::Overload(Implementation { body, operand: None, guarded: true, variadic: false })
}

/// The same, whatever the arguments are.
pub const fn unguarded(body: Body) -> Code {
    Code::Overload(Implementation { body, operand: None, guarded: false, variadic: false })
}

/// Code of an overload that upstream binds for any number of arguments.
pub const fn variadic(body: Body) -> Code {
    Code::Overload(Implementation { body, operand: None, guarded: true, variadic: true })
}

/// Code of all overloads of a name, whose first argument must be capable of `operand`.
pub const fn function(operand: Option<Trait>, body: Body) -> Code {
    Code::Function(Implementation { body, operand, guarded: false, variadic: false })
}

/// The string among the arguments; anything else has no overload.
pub fn text<'v>(arguments: &'v [Value], index: usize) -> Result<&'v str, EvalError> {
    arguments.get(index).and_then(Value::as_str).ok_or_else(EvalError::no_such_overload)
}

/// The integer among the arguments.
pub fn integer(arguments: &[Value], index: usize) -> Result<i64, EvalError> {
    match arguments.get(index) {
        Some(Value::Int(value)) => Ok(*value),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The first argument.
pub fn first<'v, 'a>(arguments: &'v [Value<'a>]) -> Result<&'v Value<'a>, EvalError> {
    arguments.first().ok_or_else(EvalError::no_such_overload)
}

/// The first two arguments.
pub fn two<'v, 'a>(
    arguments: &'v [Value<'a>],
) -> Result<(&'v Value<'a>, &'v Value<'a>), EvalError> {
    match arguments {
        [a, b, ..] => Ok((a, b)),
        _ => Err(EvalError::no_such_overload()),
    }
}
