//! What is evaluated. Source: cel-go v0.26, `interpreter/interpretable.go`.

use std::sync::Arc;

use crate::{
    check::Variable,
    cost::Count,
    function::Implementation,
    library::{Function, Overload},
    regex::{Operation, Regex},
    value::Value,
};

/// A part of a program.
#[derive(Debug)]
pub enum Plan {
    Constant(Value<'static>),
    Attribute(Box<Attribute>),
    And(Vec<Plan>),
    Or(Vec<Plan>),
    Equal {
        sides: Box<[Plan; 2]>,
        negated: bool,
    },
    /// `optional.or(optional)`, or `optional.orValue(value)` if it `unwraps`.
    OptionalOr {
        sides: Box<[Plan; 2]>,
        unwraps: bool,
    },
    /// `in` a list of constants.
    Member {
        value: Box<Plan>,
        set: Vec<Value<'static>>,
    },
    Call(Box<Call>),
    /// `matches`, `find` or `findAll` with a constant pattern.
    Regex(Box<RegexCall>),
    NotStrictlyFalse(Box<Plan>),
    List {
        elements: Vec<(Plan, bool)>,
    },
    Map {
        entries: Vec<(Plan, Plan, bool)>,
    },
    Fold(Box<Fold>),
}

/// Something that can be selected from, and what is selected.
#[derive(Debug)]
pub struct Attribute {
    pub root: Root,
    pub qualifiers: Vec<Qualifier>,
    /// Whether only presence is asked.
    pub test: bool,
}

/// Where an attribute begins.
#[derive(Debug)]
pub enum Root {
    /// A variable of the environment. Upstream, the observer that counts does not see what is selected from a hidden one.
    Environment { variable: Variable, hidden: bool },
    /// A variable of the fold at that depth.
    Fold { depth: usize, which: FoldVariable },
    /// What an expression gives.
    Value(Plan),
    /// One of two attributes; qualifiers apply to the one chosen.
    Conditional { condition: Plan, branches: Box<[Attribute; 2]> },
}

/// A variable of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldVariable {
    Accumulator,
    /// The accumulator, taken out because the step replaces it: what is appended to is not copied.
    TakenAccumulator,
    First,
    Second,
}

/// A field or an index.
#[derive(Debug)]
pub struct Qualifier {
    pub key: Key,
    /// `.?field` or `[?index]`.
    pub optional: bool,
}

/// What is selected.
#[derive(Debug)]
pub enum Key {
    Constant(Value<'static>),
    Computed(Plan),
}

/// A call of a function.
#[derive(Debug)]
pub struct Call {
    pub function: &'static Function,
    /// The one overload that fits the types, if it is one.
    pub overload: Option<&'static Overload>,
    pub arguments: Vec<Plan>,
}

impl Call {
    /// The code that runs whatever the arguments' types are, if the function has such.
    pub fn fixed(&self) -> Option<Implementation> {
        self.function.implementation().or_else(|| {
            match (self.overload, self.function.overloads.as_slice()) {
                (Some(overload), _) | (None, [overload]) => overload.implementation(),
                _ => None,
            }
        })
    }

    /// How the call is counted, unless it is a unit.
    pub fn cost(&self) -> Option<Count> {
        match self.overload {
            Some(overload) => overload.cost(),
            None => self.function.cost(),
        }
    }
}

/// A call with a compiled pattern.
#[derive(Debug)]
pub struct RegexCall {
    pub call: Call,
    pub operation: Operation,
    pub regex: Arc<Regex>,
}

/// A comprehension: what `all`, `map`, `filter` and their like become.
#[derive(Debug)]
pub struct Fold {
    pub depth: usize,
    pub range: Plan,
    pub two_variables: bool,
    pub init: Plan,
    pub condition: Plan,
    pub step: Plan,
    pub result: Plan,
}
