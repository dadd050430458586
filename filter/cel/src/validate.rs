//! What a well-typed expression must not contain: literals that cannot be durations, timestamps or regular expressions,
//! literals of mixed types, and format strings that do not fit their arguments. Source: cel-go v0.26, `cel/validator.go` and
//! `ext/formatting.go`.

mod format;

use go_compat::time::parse_duration;

use crate::{
    ast::{Call, Kind, Node},
    check::{Checked, Issue},
    regex,
    types::Type,
    value::{Value, timestamp::Timestamp},
};

/// Everything that is wrong with literals.
pub fn validate(tree: &Node, checked: &Checked) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut aggregates = Vec::new();
    let mut formats = Vec::new();
    tree.walk(&mut |node, around| match &node.kind {
        Kind::Call(call) => {
            literal_argument(call, &mut issues);
            format::check(node, call, checked, &mut formats);
        }
        Kind::List { .. } | Kind::Map(_) if around.iter().all(|call| call.function != "format") => {
            aggregate(node, checked, &mut aggregates);
        }
        _ => {}
    });
    issues.append(&mut aggregates);
    issues.append(&mut formats);
    issues
}

fn literal_argument(call: &Call, issues: &mut Vec<Issue>) {
    let Some(Node { at, kind: Kind::Literal(literal), .. }) = call.arguments.first() else {
        return;
    };
    let fits = match (call.function.as_str(), literal) {
        ("duration", Value::String(text)) => parse_duration(text).is_ok(),
        ("timestamp", Value::String(text)) => Timestamp::parse(text).is_ok(),
        ("timestamp", Value::Int(seconds)) => Timestamp::from_unix(*seconds).is_some(),
        ("duration" | "timestamp", _) => false,
        // Of the global function this is the text and not the pattern; upstream asks all the same.
        ("matches", Value::String(pattern)) => regex::compile(pattern).is_ok(),
        _ => true,
    };
    if !fits {
        issues.push(Issue { at: *at, text: format!("invalid {} argument", call.function) });
    }
}

fn aggregate(node: &Node, checked: &Checked, issues: &mut Vec<Issue>) {
    let mut unknown = Vec::new();
    let mut element = |node: &Node, optional: bool| {
        let known = checked.type_of(node);
        if !optional {
            return known.clone();
        }
        let (inner, is_optional) = known.unwrap_optional();
        if !is_optional {
            // Upstream's compiler falls over here.
            let text = format!("expected type 'optional_type({known})' but found '{known}'");
            unknown.push(Issue { at: node.at, text });
        }
        inner.clone()
    };
    match &node.kind {
        Kind::List { elements, optional } => {
            let types = elements
                .iter()
                .enumerate()
                .map(|(i, node)| (node, element(node, optional.contains(&i))));
            same_types(types.collect(), true, issues);
        }
        Kind::Map(entries) => {
            let keys = entries.iter().map(|entry| (&entry.key, element(&entry.key, false)));
            same_types(keys.collect(), false, issues);
            let values =
                entries.iter().map(|entry| (&entry.value, element(&entry.value, entry.optional)));
            same_types(values.collect(), false, issues);
        }
        _ => {}
    }
    issues.append(&mut unknown);
}

fn same_types(types: Vec<(&Node, Type)>, once: bool, issues: &mut Vec<Issue>) {
    let mut wanted: Option<Type> = None;
    for (node, found) in types {
        match &wanted {
            None => wanted = Some(found),
            Some(wanted) if !wanted.is_equivalent(&found) => {
                let text = format!("expected type '{wanted}' but found '{found}'");
                issues.push(Issue { at: node.at, text });
                if once {
                    return;
                }
            }
            Some(_) => {}
        }
    }
}
