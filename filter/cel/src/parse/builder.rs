//! Makes the nodes of a tree, each with a number of its own, and keeps what is wrong.

use super::SyntaxError;
use crate::ast::{Call, Entry, Kind, Node};

/// What a parser and its macros build with.
#[derive(Default)]
pub struct Builder {
    next_id: usize,
    pub errors: Vec<SyntaxError>,
}

impl Builder {
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
        self.errors.push(SyntaxError { at: Some(at), text: text.into() });
    }
}
