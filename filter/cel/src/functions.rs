//! What the functions do, a file a library. Each file has a table by overload (or by name, where upstream binds a function
//! as a whole); [`crate::signatures`] joins it with the types.

use crate::error::EvalError;
use crate::meter::Meter;
use crate::value::{Trait, Value};

mod convert;
mod lists;
pub mod maps;
pub mod named_format;
pub mod net;
mod operators;
mod optionals;
pub mod quantity;
pub mod regex;
pub mod semver;
mod sets;
pub mod string_format;
mod strings;
mod times;
pub mod url;

pub use convert::text as convert_text;

/// A function's code. It gets as many arguments as its signature has.
pub type Body = for<'a> fn(&mut Meter, &[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// How a function is run.
#[derive(Debug, Clone, Copy)]
pub struct Implementation {
    pub body: Body,
    /// What the first argument must be capable of.
    pub operand: Option<Trait>,
    /// Whether the arguments' types are held to the signature before the code runs.
    pub guarded: bool,
}

type Table = &'static [(&'static str, Body)];

/// The code of an overload.
pub fn overload(id: &str) -> Option<Implementation> {
    const TABLES: [Table; 14] = [
        convert::OVERLOADS,
        lists::OVERLOADS,
        maps::OVERLOADS,
        named_format::OVERLOADS,
        net::OVERLOADS,
        optionals::OVERLOADS,
        quantity::OVERLOADS,
        regex::OVERLOADS,
        semver::OVERLOADS,
        sets::OVERLOADS,
        string_format::OVERLOADS,
        strings::OVERLOADS,
        times::OVERLOADS,
        url::OVERLOADS,
    ];
    let body = TABLES.iter().copied().flatten().find(|(name, _)| *name == id)?.1;
    let guarded = !matches!(
        id,
        "contains_string"
            | "ends_with_string"
            | "starts_with_string"
            | "list_flatten"
            | "list_flatten_int"
    );
    Some(Implementation { body, operand: None, guarded })
}

/// The code of a function that upstream binds as a whole.
pub fn singleton(name: &str) -> Option<Implementation> {
    let (_, operand, body) = operators::SINGLETONS
        .iter()
        .chain(lists::SINGLETONS)
        .chain(regex::SINGLETONS)
        .find(|(candidate, ..)| *candidate == name)?;
    Some(Implementation { body: *body, operand: *operand, guarded: false })
}

/// The strings among the first arguments; anything else has no overload.
fn text<'v>(arguments: &'v [Value], index: usize) -> Result<&'v str, EvalError> {
    arguments.get(index).and_then(Value::as_str).ok_or_else(EvalError::no_such_overload)
}

fn integer(arguments: &[Value], index: usize) -> Result<i64, EvalError> {
    match arguments.get(index) {
        Some(Value::Int(value)) => Ok(*value),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn first<'v, 'a>(arguments: &'v [Value<'a>]) -> Result<&'v Value<'a>, EvalError> {
    arguments.first().ok_or_else(EvalError::no_such_overload)
}

fn two<'v, 'a>(arguments: &'v [Value<'a>]) -> Result<(&'v Value<'a>, &'v Value<'a>), EvalError> {
    match arguments {
        [a, b, ..] => Ok((a, b)),
        _ => Err(EvalError::no_such_overload()),
    }
}
