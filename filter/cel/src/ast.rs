//! The tree of an expression, with macros expanded. Every node has a number of its own, by which the checker keeps its type.

use crate::value::Value;

/// A part of an expression.
#[derive(Debug, Clone)]
pub struct Node {
    pub id: usize,
    /// Where it stands in the source, in bytes.
    pub at: usize,
    pub kind: Kind,
}

/// What a part is.
#[derive(Debug, Clone)]
pub enum Kind {
    Literal(Value<'static>),
    Ident(String),
    /// `operand.field`, or `has(operand.field)` if it is a test.
    Select {
        operand: Box<Node>,
        field: String,
        test: bool,
    },
    Call(Call),
    /// The positions of elements written `?element` are `optional`.
    List {
        elements: Vec<Node>,
        optional: Vec<usize>,
    },
    Map(Vec<Entry>),
    /// `name{field: value}`.
    Struct {
        name: String,
    },
    Fold(Box<Fold>),
}

/// `function(arguments)` or `target.function(arguments)`.
#[derive(Debug, Clone)]
pub struct Call {
    pub function: String,
    pub target: Option<Box<Node>>,
    pub arguments: Vec<Node>,
}

/// `key: value`, or `?key: value`.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Node,
    pub value: Node,
    pub optional: bool,
}

/// What a macro over a range becomes: from `init`, each element while `condition` holds makes `step` the new value of the
/// accumulator; the whole is `result`.
#[derive(Debug, Clone)]
pub struct Fold {
    pub range: Node,
    pub variable: String,
    pub second_variable: Option<String>,
    pub accumulator: String,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

impl Node {
    /// The name that the expression spells if it is one: `a.b.c`.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select { operand, field, test: false } => {
                operand.qualified_name().map(|operand| format!("{operand}.{field}"))
            }
            _ => None,
        }
    }

    /// The parts directly below.
    pub fn children(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Struct { .. } => Vec::new(),
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call(call) => call.target.as_deref().into_iter().chain(&call.arguments).collect(),
            Kind::List { elements, .. } => elements.iter().collect(),
            Kind::Map(entries) => {
                entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect()
            }
            Kind::Fold(fold) => {
                vec![&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result]
            }
        }
    }

    /// Calls `f` for the node and all below, in the order of the source, with the calls around it.
    pub fn walk<'n>(&'n self, f: &mut impl FnMut(&'n Node, &[&'n Call])) {
        fn visit<'n>(
            node: &'n Node,
            around: &mut Vec<&'n Call>,
            f: &mut impl FnMut(&'n Node, &[&'n Call]),
        ) {
            f(node, around);
            let call = if let Kind::Call(call) = &node.kind { Some(call) } else { None };
            around.extend(call);
            for child in node.children() {
                visit(child, around, f);
            }
            if call.is_some() {
                around.pop();
            }
        }
        visit(self, &mut Vec::new(), f);
    }
}
