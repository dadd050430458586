//! What operators stand between: names, calls, literals, and what is selected from them.

use super::{Parsed, Parser, Part, literal, tokens::Kind as Word};
use kube_rules::Difference;

use crate::{
    ast::{Entry, Kind},
    escape::RESERVED,
    value::Value,
};

impl<'s> Parser<'s> {
    /// A primary and what is selected from it, called on it or looked up in it. A number's sign stands at `sign`.
    pub(super) fn member(&mut self, sign: Option<usize>) -> Parsed<Part> {
        let mut part = self.primary(sign)?;
        loop {
            if let Some(at) = self.accept(".")? {
                part = self.selection(part, at)?;
            } else if let Some(at) = self.accept("[")? {
                let optional = self.accept("?")?.is_some();
                let index = self.expression()?;
                self.expect("]")?;
                let function = if optional { "_[?_]" } else { "_[_]" };
                part = self.call(at, function, None, vec![part, index])?;
            } else {
                return Ok(part);
            }
        }
    }

    fn selection(&mut self, operand: Part, at: usize) -> Parsed<Part> {
        let optional = self.accept("?")?.is_some();
        let token = self.next;
        let field = self.field()?;
        if optional {
            let literal = self.leaf(token.at, Kind::Literal(Value::string(field)));
            return self.call(at, "_?._", None, vec![operand, literal]);
        }
        if token.kind == Word::Name
            && let Some(open) = self.accept("(")?
        {
            let arguments = self.arguments()?;
            return self.call(open, field, Some(operand), arguments);
        }
        let levels = self.above(at, [operand.levels])?;
        let kind =
            Kind::Select { operand: Box::new(operand.node), field: field.to_owned(), test: false };
        Ok(Part { node: self.builder.make(at, kind), levels })
    }

    /// A name of a field, which may stand in backquotes.
    fn field(&mut self) -> Parsed<&'s str> {
        let token = self.next;
        match token.kind {
            Word::Name => self.advance().map(|()| token.text),
            Word::Escaped if self.rules.has(Difference::EscapedNames) => {
                self.advance().map(|()| token.text.trim_matches('`'))
            }
            Word::Escaped => Err(self.refuse(token.at, "unsupported syntax: '`'")),
            _ => Err(self.unexpected("a name")),
        }
    }

    fn name(&mut self) -> Parsed<&'s str> {
        let token = self.next;
        if token.kind != Word::Name {
            return Err(self.unexpected("a name"));
        }
        self.advance().map(|()| token.text)
    }

    fn primary(&mut self, sign: Option<usize>) -> Parsed<Part> {
        let token = self.next;
        match token.kind {
            Word::Name => self.named(""),
            Word::Symbol => match token.text {
                "." => {
                    self.advance()?;
                    self.named(".")
                }
                "(" => {
                    self.advance()?;
                    let part = self.expression()?;
                    self.expect(")")?;
                    Ok(part)
                }
                "[" => self.list(),
                "{" => self.map(),
                "true" | "false" | "null" => self.literal(None),
                _ => Err(self.unexpected("an expression")),
            },
            Word::Escaped | Word::End => Err(self.unexpected("an expression")),
            _ => self.literal(sign),
        }
    }

    /// A variable, a function with its arguments or a message; `dot` stands before it.
    fn named(&mut self, dot: &str) -> Parsed<Part> {
        let token = self.next;
        if token.kind != Word::Name {
            return Err(self.unexpected("a name"));
        }
        if self.names_message() {
            return self.message(dot);
        }
        self.advance()?;
        let name = format!("{dot}{}", token.text);
        if RESERVED.contains(&token.text) {
            self.builder.refuse(token.at, format!("reserved identifier: {}", token.text));
        }
        match self.accept("(")? {
            Some(open) => {
                let arguments = self.arguments()?;
                self.call(open, name, None, arguments)
            }
            None => Ok(self.leaf(token.at, Kind::Ident(name))),
        }
    }

    /// Whether what follows is `a.b.c{`.
    fn names_message(&self) -> bool {
        let mut ahead = self.tokens.clone();
        loop {
            match ahead.next() {
                Ok(token) if token.is("{") => return true,
                Ok(token) if token.is(".") => {}
                _ => return false,
            }
            if !ahead.next().is_ok_and(|token| token.kind == Word::Name) {
                return false;
            }
        }
    }

    /// A message, whose fields must be right and are of no use: such literals are refused.
    fn message(&mut self, dot: &str) -> Parsed<Part> {
        let mut name = format!("{dot}{}", self.name()?);
        while self.accept(".")?.is_some() {
            name = format!("{name}.{}", self.name()?);
        }
        let at = self.expect("{")?;
        self.items("}", |parser| {
            parser.accept("?")?;
            parser.field()?;
            parser.expect(":")?;
            parser.expression()
        })?;
        Ok(self.leaf(at, Kind::Struct { name }))
    }

    fn list(&mut self) -> Parsed<Part> {
        let at = self.expect("[")?;
        let elements = self.items("]", |parser| {
            let optional = parser.accept("?")?.is_some();
            Ok((parser.expression()?, optional))
        })?;
        let levels = self.above(at, elements.iter().map(|(element, _)| element.levels))?;
        let optional =
            elements.iter().enumerate().filter(|(_, element)| element.1).map(|(at, _)| at);
        let kind = Kind::List {
            optional: optional.collect(),
            elements: elements.into_iter().map(|(element, _)| element.node).collect(),
        };
        Ok(Part { node: self.builder.make(at, kind), levels })
    }

    fn map(&mut self) -> Parsed<Part> {
        let at = self.expect("{")?;
        let entries = self.items("}", |parser| {
            let optional = parser.accept("?")?.is_some();
            let key = parser.expression()?;
            parser.expect(":")?;
            Ok((key, parser.expression()?, optional))
        })?;
        let levels =
            self.above(at, entries.iter().map(|(key, value, _)| key.levels.max(value.levels)))?;
        let entry = |(key, value, optional): (Part, Part, bool)| Entry {
            key: key.node,
            value: value.node,
            optional,
        };
        let kind = Kind::Map(entries.into_iter().map(entry).collect());
        Ok(Part { node: self.builder.make(at, kind), levels })
    }

    /// What stands between commas, the last of which may end the list.
    fn items<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        if self.accept(",")?.is_none() {
            while !self.next.is(close) {
                items.push(item(self)?);
                if self.accept(",")?.is_none() {
                    break;
                }
            }
        }
        self.expect(close)?;
        Ok(items)
    }

    /// The rest of a call behind its bracket, where no comma may be too many.
    fn arguments(&mut self) -> Parsed<Vec<Part>> {
        let mut arguments = Vec::new();
        if self.accept(")")?.is_some() {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.accept(",")?.is_none() {
                self.expect(")")?;
                return Ok(arguments);
            }
        }
    }

    fn literal(&mut self, sign_at: Option<usize>) -> Parsed<Part> {
        let token = self.next;
        let text = token.text;
        let sign = if sign_at.is_some() { "-" } else { "" };
        let (value, kind) = match token.kind {
            Word::Int => (literal::int(sign, text).map(Value::Int), "int"),
            Word::Uint => (literal::uint(text).map(Value::Uint), "uint"),
            Word::Double => (literal::double(sign, text).map(Value::Double), "double"),
            Word::String => (literal::string(text).map(Value::string), "string"),
            Word::Bytes => (literal::bytes(text).map(|bytes| Value::Bytes(bytes.into())), "bytes"),
            _ if text == "null" => (Some(Value::Null), text),
            _ => (Some(Value::Bool(text == "true")), text),
        };
        let at = sign_at.unwrap_or(token.at);
        let Some(value) = value else {
            return Err(self.refuse(at, format!("invalid {kind} literal")));
        };
        self.advance()?;
        Ok(self.leaf(at, Kind::Literal(value)))
    }
}
