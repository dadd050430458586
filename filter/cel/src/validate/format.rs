//! The check of constant format strings at load. Source: cel-go v0.26, `ext/formatting.go`.

use crate::{
    ast::{Call, Kind, Node},
    check::{Checked, Issue},
    library::format_string::{Clause, Failure, Piece, out_of_range, parse},
    value::Value,
};

/// Checks a call of `format` on a constant with its arguments written out.
pub fn check(node: &Node, call: &Call, checked: &Checked, issues: &mut Vec<Issue>) {
    let ("format", Some(target), [arguments]) =
        (call.function.as_str(), &call.target, call.arguments.as_slice())
    else {
        return;
    };
    let (Kind::Literal(Value::String(pattern)), Kind::List { elements, .. }) =
        (&target.kind, &arguments.kind)
    else {
        return;
    };
    let (mut index, mut culprit) = (0, node.at);
    let parsed = parse(pattern, |piece| {
        match piece {
            Piece::Text(_) => {}
            Piece::UnexpectedEnd => {
                return Err(Failure::Plain("unexpected end of string".to_owned()));
            }
            Piece::Clause(clause) => {
                let element =
                    elements.get(index).ok_or_else(|| Failure::Plain(out_of_range(index)))?;
                let clause = clause.map_err(Failure::Clause)?;
                if let Some(bad) = misfit(clause, element, checked) {
                    culprit = bad.at;
                    let given = checked.type_of(bad).runtime_name();
                    return Err(Failure::Value(clause.complaint(&given)));
                }
                index += 1;
            }
        }
        Ok(())
    });
    let text = match parsed {
        Err(failure) => failure.text(),
        Ok(()) if elements.len() > index => format!(
            "too many arguments supplied to string.format (expected {index}, got {})",
            elements.len()
        ),
        Ok(()) => return,
    };
    issues.push(Issue { at: culprit, text });
}

/// The part of an argument that the clause cannot show; of literals every element is looked at.
fn misfit<'n>(clause: Clause, argument: &'n Node, checked: &Checked) -> Option<&'n Node> {
    if !clause.accepts(checked.type_of(argument)) {
        return Some(argument);
    }
    if clause.letter != 's' || !matches!(argument.kind, Kind::List { .. } | Kind::Map(_)) {
        return None;
    }
    argument.children().into_iter().find_map(|part| misfit(clause, part, checked))
}
