//! Which functions there are, as a table: `signatures.txt` lists every overload that kube-apiserver's environment
//! declares, in the order in which the compiler tries them. A test holds it to the list that the reference program prints.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::functions::{self, Implementation};
use crate::types::Type;

/// One overload of a function.
#[derive(Debug)]
pub struct Overload {
    /// Its name in cel-go, by which cost and implementation are found.
    pub id: &'static str,
    /// Called on a target, which is the first argument.
    pub member: bool,
    pub arguments: Vec<Type>,
    pub result: Type,
    /// `None` for what the evaluator does itself (operators that do not evaluate all their arguments, indexing).
    pub implementation: Option<Implementation>,
}

/// All overloads of one name.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
    /// What runs for every overload, where upstream binds the function as a whole.
    pub singleton: Option<Implementation>,
}

/// The function of that name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| parse(TABLE));

const TABLE: &str = include_str!("signatures.txt");

fn parse(table: &'static str) -> HashMap<&'static str, Function> {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for (name, overload) in table.lines().filter_map(parse_line) {
        functions
            .entry(name)
            .or_insert_with(|| Function {
                name,
                overloads: Vec::new(),
                singleton: functions::singleton(name),
            })
            .overloads
            .push(overload);
    }
    functions
}

/// `NAME ID (ARGUMENT, ..) -> RESULT`, or `NAME ID TARGET.(ARGUMENT, ..) -> RESULT`.
fn parse_line(line: &'static str) -> Option<(&'static str, Overload)> {
    let (name, rest) = line.split_once(' ')?;
    let (id, rest) = rest.split_once(' ')?;
    let (left, result) = rest.split_once(" -> ")?;
    let (target, list) = match left.split_once(".(") {
        Some((target, list)) => (Some(target), list),
        None => (None, left.strip_prefix('(')?),
    };
    let mut arguments: Vec<Type> =
        target.and_then(|text| Reader(text).read()).into_iter().collect();
    let mut reader = Reader(list.strip_suffix(')')?);
    while let Some(argument) = reader.read() {
        arguments.push(argument);
        reader.skip(", ");
    }
    let result = Reader(result).read()?;
    let implementation = functions::overload(id);
    Some((name, Overload { id, member: target.is_some(), arguments, result, implementation }))
}

/// Reads types from the table.
struct Reader(&'static str);

impl Reader {
    fn read(&mut self) -> Option<Type> {
        let end = self.0.find(['(', ')', ',']).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at_checked(end)?;
        if name.is_empty() {
            return None;
        }
        self.0 = rest;
        let mut parameters = Vec::new();
        if self.skip("(") {
            while let Some(parameter) = self.read() {
                parameters.push(parameter);
                self.skip(", ");
            }
            self.skip(")");
        }
        let mut parameters = parameters.into_iter();
        Some(match name {
            "list" => Type::list(parameters.next()?),
            "map" => Type::map(parameters.next()?, parameters.next()?),
            "type" => Type::Type(parameters.next().map(Box::new)),
            _ => named(name).unwrap_or_else(|| match name.chars().next() {
                Some(letter) if name.len() == 1 => {
                    Type::Param(crate::types::Param::Declared(letter))
                }
                _ if name.starts_with("kubernetes.") => Type::Struct(name),
                _ => Type::Opaque(name, parameters.collect()),
            }),
        })
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

fn named(name: &str) -> Option<Type> {
    Some(match name {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_understood() {
        let count: usize = FUNCTIONS.values().map(|function| function.overloads.len()).sum();
        assert_eq!(count, TABLE.lines().count());
    }

    /// What the evaluator does by itself.
    const BUILT_IN: [&str; 11] = [
        "_&&_",
        "_||_",
        "_?_:_",
        "_==_",
        "_!=_",
        "_[_]",
        "_[?_]",
        "_?._",
        "or",
        "orValue",
        "@not_strictly_false",
    ];

    /// There is no authorizer to ask, so calls of its functions compile and find no overload.
    fn needs_authorizer(overload: &Overload) -> bool {
        matches!(overload.arguments.first(), Some(Type::Struct(name)) if name.starts_with("kubernetes.authorization."))
    }

    #[test]
    fn every_overload_is_implemented() {
        for function in FUNCTIONS.values() {
            if function.singleton.is_some() || BUILT_IN.contains(&function.name) {
                continue;
            }
            for overload in function.overloads.iter().filter(|overload| !needs_authorizer(overload))
            {
                assert!(overload.implementation.is_some(), "{} {}", function.name, overload.id);
            }
        }
    }

    /// The reference program prints what kube-apiserver's environment declares, and macros and types besides.
    #[test]
    fn the_table_is_kube_apiservers() {
        let printed = include_str!("../../../tests/conformance/cel/signatures.txt");
        let functions: Vec<&str> =
            printed.lines().filter(|line| parse_line(line).is_some()).collect();
        assert_eq!(functions, TABLE.lines().collect::<Vec<_>>());
    }

    #[test]
    fn types_are_read_as_written() {
        for line in TABLE.lines() {
            let (_, overload) = parse_line(line).expect(line);
            let (_, result) = line.split_once(" -> ").expect(line);
            assert_eq!(overload.result.to_string(), result, "{line}");
        }
    }
}
