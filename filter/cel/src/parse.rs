//! From source to tree. Source: cel-go v0.26, `parser/gen/CEL.g4` and `parser/parser.go`.
//!
//! A descent by the grammar's rules, with macros expanded on the way up ([`macros`]). It ends at the first error of the
//! grammar, while upstream goes on and looks for more.

mod builder;
mod literal;
mod macros;
mod operators;
mod primary;
#[cfg(test)]
mod tests;
mod tokens;

pub use builder::Builder;

use kube_rules::Rules;

use self::tokens::{Kind as Word, Token, Tokens, Unknown};
use super::ast::{Call, Kind, Node};

/// Why an expression is no expression.
#[derive(Debug)]
pub struct SyntaxError {
    /// Byte, if a part of the expression is to blame.
    pub at: Option<usize>,
    pub text: String,
}

/// Upstream's limit.
const MOST_CHARACTERS: usize = 100_000;

/// Expressions inside one another, the whole being the first (cel-go `parser.go`, `defaultMaxRecursionDepth`). Each takes a part of
/// a Wasm module's stack: the parser has few calls for each.
pub const MOST_DEPTH: usize = 250;

/// Nodes from the root to a leaf, which are also made by parts one after the other (`a.b.c`): all that follows the parser
/// walks the tree recursively.
const MOST_LEVELS: usize = 250;

/// Parses an expression.
///
/// # Errors
/// All that is wrong with its macros and names, and the first that is wrong with its syntax.
pub fn parse(source: &str, rules: Rules) -> Result<Node, Vec<SyntaxError>> {
    let characters = source.chars().count();
    if characters > MOST_CHARACTERS {
        let text = format!(
            "expression code point size exceeds limit: size: {characters}, limit {MOST_CHARACTERS}"
        );
        return Err(vec![SyntaxError { at: None, text }]);
    }
    let next = Token { kind: Word::End, text: "", at: 0 };
    let mut parser =
        Parser { tokens: Tokens::new(source), next, rules, depth: 0, builder: Builder::default() };
    let tree = parser.whole();
    match tree {
        Ok(tree) if parser.builder.errors.is_empty() => Ok(tree.node),
        Ok(_) | Err(Refused) => Err(parser.builder.errors),
    }
}

/// There is no tree, and the error is in the builder.
struct Refused;

type Parsed<T> = Result<T, Refused>;

/// A tree and its height, in nodes.
struct Part {
    node: Node,
    levels: usize,
}

struct Parser<'s> {
    tokens: Tokens<'s>,
    /// The word that is looked at.
    next: Token<'s>,
    rules: Rules,
    depth: usize,
    builder: Builder,
}

impl Parser<'_> {
    fn whole(&mut self) -> Parsed<Part> {
        self.advance()?;
        let part = self.expression()?;
        if self.next.kind == Word::End { Ok(part) } else { Err(self.unexpected("<EOF>")) }
    }

    fn call(
        &mut self,
        at: usize,
        function: impl Into<String>,
        target: Option<Part>,
        arguments: Vec<Part>,
    ) -> Parsed<Part> {
        let levels = self.above(at, target.iter().chain(&arguments).map(|part| part.levels))?;
        let call = Call {
            function: function.into(),
            target: target.map(|target| Box::new(target.node)),
            arguments: arguments.into_iter().map(|argument| argument.node).collect(),
        };
        let kind = macros::expand(&mut self.builder, at, call);
        Ok(Part { node: self.builder.make(at, kind), levels })
    }

    fn leaf(&mut self, at: usize, kind: Kind) -> Part {
        Part { node: self.builder.make(at, kind), levels: 1 }
    }

    /// The height of a node over nodes of these heights.
    fn above(&mut self, at: usize, below: impl IntoIterator<Item = usize>) -> Parsed<usize> {
        let levels = 1 + below.into_iter().max().unwrap_or(0);
        if levels > MOST_LEVELS {
            Err(self.refuse(at, "max recursion depth exceeded"))
        } else {
            Ok(levels)
        }
    }

    fn advance(&mut self) -> Parsed<()> {
        self.next = self
            .tokens
            .next()
            .map_err(|Unknown(at)| self.refuse(at, "Syntax error: token recognition error"))?;
        Ok(())
    }

    /// Takes a symbol if it is the next word.
    fn accept(&mut self, symbol: &str) -> Parsed<Option<usize>> {
        let token = self.next;
        if !token.is(symbol) {
            return Ok(None);
        }
        self.advance()?;
        Ok(Some(token.at))
    }

    fn expect(&mut self, symbol: &str) -> Parsed<usize> {
        self.accept(symbol)?.ok_or_else(|| self.unexpected(&format!("'{symbol}'")))
    }

    fn unexpected(&mut self, wanted: &str) -> Refused {
        let Token { kind, text, at } = self.next;
        let text = if kind == Word::End { "<EOF>" } else { text };
        self.refuse(at, format!("Syntax error: mismatched input '{text}' expecting {wanted}"))
    }

    fn refuse(&mut self, at: usize, text: impl Into<String>) -> Refused {
        self.builder.refuse(at, text);
        Refused
    }
}
