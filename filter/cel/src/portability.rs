//! On which differences between versions it may depend what an expression gives. What one version refuses is not told here, nor what it
//! costs: a cost decides only near the limit.

use kube_rules::{Difference, Rules};

use crate::{
    ast::{Call, Fold, Kind, Node},
    check::{self, Checked, Environment},
    escape::unescape,
    parse,
    types::{OPTIONAL, Type},
    value::Value,
};

/// What the meaning of an expression may depend on. Nothing for one that does not compile.
#[must_use]
pub fn depends_on(expression: &str, environment: Environment) -> Vec<Difference> {
    // The newest takes what the others take.
    let rules = Rules::V1_38;
    let Ok(tree) = parse::parse(expression, rules) else { return Vec::new() };
    let Ok(checked) = check::check(&tree, environment, rules) else { return Vec::new() };
    let mut search = Search { checked: &checked, macros: Vec::new(), found: Vec::new() };
    search.visit(&tree);
    search.found
}

struct Search<'c> {
    checked: &'c Checked,
    /// The variables of the macros around.
    macros: Vec<String>,
    found: Vec<Difference>,
}

impl Search<'_> {
    fn visit(&mut self, node: &Node) {
        if is_optional(self.checked.type_of(node), |inner| {
            is_optional(inner, |_| true) || matches!(inner, Type::Type(_))
        }) {
            self.add(Difference::KeptValues);
        }
        match &node.kind {
            Kind::Ident(name) => self.ident(name),
            Kind::Select { operand, field, .. } => self.field(operand, field),
            Kind::Call(call) => self.call(call),
            Kind::Fold(fold) => return self.fold(fold),
            _ => {}
        }
        for child in node.children() {
            self.visit(child);
        }
    }

    fn add(&mut self, difference: Difference) {
        if !self.found.contains(&difference) {
            self.found.push(difference);
        }
    }

    fn ident(&mut self, name: &str) {
        if name.strip_prefix('.').is_some_and(|name| self.macros.iter().any(|known| known == name))
        {
            self.add(Difference::RootNames);
        }
    }

    fn field(&mut self, operand: &Node, field: &str) {
        if unescape(field).as_deref() == Some(field) {
            return;
        }
        if is_optional(self.checked.type_of(operand), |_| true) {
            self.add(Difference::KeptValues);
        }
        if root(operand).is_some_and(|name| self.macros.iter().any(|known| known == name)) {
            self.add(Difference::UnescapedElements);
        }
    }

    fn call(&mut self, call: &Call) {
        let parts: Vec<&Node> = call.target.as_deref().into_iter().chain(&call.arguments).collect();
        match (call.function.as_str(), parts.as_slice()) {
            ("or" | "orValue", [target, _]) if self.checked.type_of(target).is_dyn() => {
                self.add(Difference::OptionalOr);
            }
            ("lists.range", [size]) | ("range", [_, size])
                if !matches!(size.kind, Kind::Literal(Value::Int(0..=1_000_000))) =>
            {
                self.add(Difference::RangeBounds);
            }
            ("indexOf" | "lastIndexOf", [_, part, _]) if !is_text(part) => {
                self.add(Difference::EmptySearch);
            }
            ("isInteger" | "asInteger", _) => self.add(Difference::NineteenDigits),
            ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) if may_be_nan(a) || may_be_nan(b) => {
                self.add(Difference::NanOrder);
            }
            ("_?._", [operand, Node { kind: Kind::Literal(Value::String(field)), .. }]) => {
                self.field(operand, field);
            }
            _ => {}
        }
    }

    fn fold(&mut self, fold: &Fold) {
        self.visit(&fold.init);
        self.visit(&fold.range);
        let outer = self.macros.len();
        let names = [Some(&fold.variable), fold.second_variable.as_ref(), Some(&fold.accumulator)];
        self.macros.extend(names.into_iter().flatten().cloned());
        for part in [&fold.condition, &fold.step, &fold.result] {
            self.visit(part);
        }
        self.macros.truncate(outer);
    }
}

fn is_optional(of: &Type, holds: impl Fn(&Type) -> bool) -> bool {
    matches!(of, Type::Opaque(OPTIONAL, parameters) if parameters.first().is_some_and(holds))
}

/// A literal that is not empty.
fn is_text(node: &Node) -> bool {
    matches!(&node.kind, Kind::Literal(Value::String(text)) if !text.is_empty())
}

/// The name that a path begins with.
fn root(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Ident(name) => Some(name),
        Kind::Select { operand, .. } => root(operand),
        Kind::Call(call) if matches!(call.function.as_str(), "_?._" | "_[_]" | "_[?_]") => {
            call.arguments.first().and_then(root)
        }
        _ => None,
    }
}

/// Whether a part makes a double of a text, or of doubles by division: JSON itself has no NaN.
fn may_be_nan(node: &Node) -> bool {
    let here = match &node.kind {
        Kind::Call(call) if call.function == "double" => {
            let number = |node: &Node| {
                matches!(
                    node.kind,
                    Kind::Literal(Value::Int(_) | Value::Uint(_) | Value::Double(_))
                )
            };
            !call.arguments.first().is_some_and(number)
        }
        _ => false,
    };
    here || node.children().into_iter().any(may_be_nan)
}
