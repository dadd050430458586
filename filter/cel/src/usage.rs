//! What an expression reads of a variable.

use std::collections::BTreeSet;

use crate::{
    ast::{Kind, Node},
    check::Variable,
    escape::unescape,
    value::Value,
};

/// What of a variable an expression may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// These fields, and nothing else.
    Fields(BTreeSet<String>),
    /// Anything: it is iterated, or indexed by what is computed.
    Everything,
}

impl Default for Usage {
    fn default() -> Self {
        Self::Fields(BTreeSet::new())
    }
}

impl Usage {
    /// Whether the field may be read.
    #[must_use]
    pub fn includes(&self, field: &str) -> bool {
        match self {
            Self::Fields(fields) => fields.contains(field),
            Self::Everything => true,
        }
    }

    /// Adds what another expression reads.
    pub fn extend(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Fields(fields), Self::Fields(more)) => fields.extend(more.iter().cloned()),
            _ => *self = Self::Everything,
        }
    }
}

/// What the tree reads of the variable. A macro's variable of the same name counts as it.
pub fn of(tree: &Node, variable: Variable) -> Usage {
    let mut usage = Usage::default();
    visit(tree, variable.name(), &mut usage);
    usage
}

fn visit(node: &Node, variable: &str, usage: &mut Usage) {
    let is_variable = |node: &Node| matches!(&node.kind, Kind::Ident(name) if name.strip_prefix('.').unwrap_or(name) == variable);
    let selected = match &node.kind {
        Kind::Select { operand, field, .. } if is_variable(operand) => Some(field.as_str()),
        Kind::Call(call) if matches!(call.function.as_str(), "_?._" | "_[_]" | "_[?_]") => {
            match call.arguments.as_slice() {
                [operand, Node { kind: Kind::Literal(Value::String(field)), .. }]
                    if is_variable(operand) =>
                {
                    Some(&**field)
                }
                _ => None,
            }
        }
        _ => None,
    };
    match selected {
        // What has no unescaped name is no field.
        Some(field) => {
            let name = unescape(field).into_iter().map(std::borrow::Cow::into_owned);
            let mut names = BTreeSet::new();
            names.extend(name);
            usage.extend(&Usage::Fields(names));
        }
        None if is_variable(node) => *usage = Usage::Everything,
        None => node.children().into_iter().for_each(|child| visit(child, variable, usage)),
    }
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use kube_rules::Rules;

    use super::*;
    use crate::parse;

    /// What is not named here is not kept of a token: a field too few would make a condition read another token than the user's.
    #[test]
    fn every_way_to_a_claim_is_seen() {
        for (expression, want) in [
            ("request.verb == 'get'", Some(&[][..])),
            ("claims.a == 'x' && has(claims.b)", Some(&["a", "b"])),
            (
                "claims.?a.orValue('') == claims['b'] && claims[?'c'].hasValue()",
                Some(&["a", "b", "c"]),
            ),
            (".claims.a == 'x'", Some(&["a"])),
            ("claims.a.b.c == 'x'", Some(&["a"])),
            ("claims.foo__dash__bar == 'x'", Some(&["foo-bar"])),
            ("dyn(claims.groups).exists(g, g == claims.a)", Some(&["a", "groups"])),
            ("['a'].exists(claims, claims.b == 'x')", Some(&["b"])),
            ("claims[request.name] == 'x'", None),
            ("['a'].all(k, claims[k] == 'x')", None),
            ("dyn(claims).a == 'x'", None),
            ("claims.exists(k, true)", None),
            ("[claims][0].a == 'x'", None),
            ("(true ? claims : claims).a == 'x'", None),
            ("optional.of(claims).a == 'x'", None),
        ] {
            let tree = parse::parse(expression, Rules::V1_38).unwrap();
            let fields =
                |names: &[&str]| Usage::Fields(names.iter().map(ToString::to_string).collect());
            let want = want.map_or(Usage::Everything, fields);
            assert_eq!(of(&tree, Variable::Claims), want, "{expression}");
        }
    }
}
