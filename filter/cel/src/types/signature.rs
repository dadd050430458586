//! Reads the signature of an overload.

use crate::types::{Param, Type};

/// What an overload takes and gives.
#[derive(Debug)]
pub struct Signature {
    /// Called on a target, which is the first argument.
    pub member: bool,
    pub arguments: Vec<Type>,
    pub result: Type,
}

impl Signature {
    /// Reads `(ARGUMENT, ..) -> RESULT` or `TARGET.(ARGUMENT, ..) -> RESULT`. `None` if it is neither.
    pub fn read(text: &'static str) -> Option<Self> {
        let (left, result) = text.split_once(" -> ")?;
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
        Some(Self { member: target.is_some(), arguments, result })
    }
}

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
                Some(letter) if name.len() == 1 => Type::Param(Param::Declared(letter)),
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
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn signatures_are_read_as_written() {
        for (text, member, arguments) in [
            ("() -> bool", false, ""),
            ("(map(A, B), A) -> B", false, "map(A, B), A"),
            ("list(T).(list(int)) -> list(T)", true, "list(T), list(int)"),
            (
                "kubernetes.NamedFormat.(string) -> optional_type(list(string))",
                true,
                "kubernetes.NamedFormat, string",
            ),
        ] {
            let signature = Signature::read(text).expect(text);
            let shown: Vec<String> = signature.arguments.iter().map(Type::to_string).collect();
            assert_eq!(
                (signature.member, shown.join(", ")),
                (member, arguments.to_owned()),
                "{text}"
            );
            assert!(text.ends_with(&format!("-> {}", signature.result)), "{text}");
        }
    }
}
