//! From source to tree: the `cel` crate's parser, which has cel-go's grammar, then our macros.
//!
//! The crate's own macros are left out: some are not kube-apiserver's and others are missing (see [`super::macros`]).

use std::sync::LazyLock;

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SourceInfo};

use super::ast::{Call, Entry, Kind, Node};
use super::macros;
use super::size;
use super::value::Value;

/// Why an expression is no expression.
#[derive(Debug)]
pub struct SyntaxError {
    /// Line, from 1, and column, from 1, if the parser knows.
    pub position: Option<(usize, usize)>,
    /// Byte, if a part of the expression is to blame.
    pub at: Option<usize>,
    pub text: String,
}

/// Expressions inside one another. Upstream allows 250; deeper than this the parser could outgrow a Wasm module's stack.
pub const MOST_DEPTH: usize = 64;

/// Parts of an expression one after the other (`a.b.c`, `!!x`), which nest in the tree without brackets.
const MOST_CHAIN: usize = 250;

/// Parses an expression.
///
/// # Errors
/// All that is wrong with its syntax and its macros.
pub fn parse(source: &str) -> Result<Node, Vec<SyntaxError>> {
    static ENV: LazyLock<cel::Env> = LazyLock::new(cel::Env::default);
    size::check(source).map_err(|text| vec![SyntaxError { position: None, at: None, text }])?;
    let depth = u16::try_from(MOST_DEPTH).unwrap_or(u16::MAX);
    let parser = ENV.parser().max_recursion_depth(depth);
    let (expression, positions) = parser
        .parse_with_source_info(source)
        .map_err(|failed| failed.errors.into_iter().map(syntax_error).collect::<Vec<_>>())?;
    let mut lowering = Lowering { positions, next_id: 0, errors: Vec::new(), depth: 0 };
    let tree = lowering.node(expression);
    if lowering.errors.is_empty() { Ok(tree) } else { Err(lowering.errors) }
}

fn syntax_error(error: cel::ParseError) -> SyntaxError {
    let part = |number: isize| usize::try_from(number).ok().filter(|number| *number > 0);
    let (line, column) = error.pos;
    SyntaxError { position: part(line).zip(part(column)), at: None, text: error.msg }
}

/// Turns the parser's tree into ours.
pub struct Lowering {
    positions: SourceInfo,
    next_id: usize,
    pub errors: Vec<SyntaxError>,
    depth: usize,
}

impl Lowering {
    /// A node of its own at a place in the source.
    pub fn make(&mut self, at: usize, kind: Kind) -> Node {
        let id = self.next_id;
        self.next_id += 1;
        Node { id, at, kind }
    }

    /// The same tree with numbers of its own.
    pub fn copy(&mut self, node: &Node) -> Node {
        let kind = match &node.kind {
            Kind::Select { operand, field, test } => Kind::Select {
                operand: Box::new(self.copy(operand)),
                field: field.clone(),
                test: *test,
            },
            Kind::Call(call) => Kind::Call(Call {
                function: call.function.clone(),
                target: call.target.as_ref().map(|target| Box::new(self.copy(target))),
                arguments: call.arguments.iter().map(|argument| self.copy(argument)).collect(),
            }),
            Kind::List { elements, optional } => Kind::List {
                elements: elements.iter().map(|element| self.copy(element)).collect(),
                optional: optional.clone(),
            },
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: self.copy(&entry.key),
                        value: self.copy(&entry.value),
                        optional: entry.optional,
                    })
                    .collect(),
            ),
            Kind::Fold(fold) => {
                let mut fold = fold.clone();
                for part in [
                    &mut fold.range,
                    &mut fold.init,
                    &mut fold.condition,
                    &mut fold.step,
                    &mut fold.result,
                ] {
                    *part = self.copy(part);
                }
                Kind::Fold(fold)
            }
            leaf => leaf.clone(),
        };
        self.make(node.at, kind)
    }

    /// Records that the expression is wrong at a place.
    pub fn refuse(&mut self, at: usize, text: impl Into<String>) {
        self.errors.push(SyntaxError { position: None, at: Some(at), text: text.into() });
    }

    fn node(&mut self, expression: IdedExpr) -> Node {
        let at = self.positions.offset_for(expression.id).map_or(0, |(start, _)| start as usize);
        self.depth += 1;
        if self.depth > MOST_CHAIN {
            if self.depth == MOST_CHAIN + 1 {
                self.refuse(at, "max recursion depth exceeded");
            }
            self.depth -= 1;
            return self.make(at, Kind::Literal(Value::Null));
        }
        let kind = self.kind(expression.expr, at);
        self.depth -= 1;
        self.make(at, kind)
    }

    fn kind(&mut self, expression: Expr, at: usize) -> Kind {
        match expression {
            Expr::Literal(literal) => Kind::Literal(value(literal)),
            Expr::Ident(name) => Kind::Ident(name),
            Expr::Select(select) => Kind::Select {
                operand: Box::new(self.node(*select.operand)),
                field: select.field,
                test: select.test,
            },
            Expr::Call(call) => {
                let target = call.target.map(|target| Box::new(self.node(*target)));
                let arguments = call.args.into_iter().map(|argument| self.node(argument)).collect();
                macros::expand(self, at, Call { function: call.func_name, target, arguments })
            }
            Expr::List(list) => Kind::List {
                elements: list.elements.into_iter().map(|element| self.node(element)).collect(),
                optional: list.optional_indices,
            },
            Expr::Map(map) => {
                Kind::Map(map.entries.into_iter().filter_map(|entry| self.entry(entry)).collect())
            }
            Expr::Struct(literal) => Kind::Struct { name: literal.type_name },
            Expr::Comprehension(_) | Expr::Unspecified => {
                self.refuse(at, "unsupported expression");
                Kind::Literal(Value::Null)
            }
        }
    }

    fn entry(&mut self, entry: IdedEntryExpr) -> Option<Entry> {
        match entry.expr {
            EntryExpr::MapEntry(entry) => Some(Entry {
                key: self.node(entry.key),
                value: self.node(entry.value),
                optional: entry.optional,
            }),
            EntryExpr::StructField(_) => None,
        }
    }
}

fn value(literal: LiteralValue) -> Value<'static> {
    match literal {
        LiteralValue::Boolean(value) => Value::Bool(value.into_inner()),
        LiteralValue::Bytes(value) => Value::Bytes(value.into_inner().into()),
        LiteralValue::Double(value) => Value::Double(value.into_inner()),
        LiteralValue::Int(value) => Value::Int(value.into_inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(value) => Value::string(value.into_inner()),
        LiteralValue::UInt(value) => Value::Uint(value.into_inner()),
    }
}
