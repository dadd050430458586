//! Field names that are no identifiers, as kube-apiserver lets expressions write them: `kubernetes__dot__io`.
//!
//! Source: k8s.io/apiserver, `pkg/cel/escaping.go`.

use std::borrow::Cow;

/// Names that are none for a variable or a function (CEL's language definition).
pub const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Words of the language.
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

/// The name that an escaped one stands for. `None` if it has an escape that does not exist, or that of a reserved word
/// with something around it.
pub fn unescape(escaped: &str) -> Option<Cow<'_, str>> {
    if !escaped.contains("__") {
        return Some(Cow::Borrowed(escaped));
    }
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(start) = rest.find("__") {
        let (before, from) = rest.split_at_checked(start)?;
        name.push_str(before);
        let body = from.get(2..)?;
        let word = body.get(..body.find('_').unwrap_or(body.len()))?;
        let after = body.get(word.len()..)?.strip_prefix("__");
        match (word, after) {
            ("", _) | (_, None) => {
                // No escape begins with this underscore.
                name.push('_');
                rest = from.get(1..)?;
            }
            (word, Some(after)) => {
                name.push_str(match word {
                    "underscores" => "__",
                    "dot" => ".",
                    "dash" => "-",
                    "slash" => "/",
                    word if is_reserved(word) && word.len() + 4 == escaped.len() => word,
                    _ => return None,
                });
                rest = after;
            }
        }
    }
    name.push_str(rest);
    Some(Cow::Owned(name))
}

fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word) || WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_unescaped_as_upstream() {
        for (escaped, want) in [
            ("plain", Some("plain")),
            ("kubernetes__dot__io", Some("kubernetes.io")),
            ("a__dash__b__slash__c", Some("a-b/c")),
            ("a__underscores__b", Some("a__b")),
            ("__namespace__", Some("namespace")),
            ("a__namespace__", None), // a reserved word stands alone
            ("a__foo__b", None),
            ("a__b", Some("a__b")), // nothing closes it
            ("__", Some("__")),
            ("a___dot__b", Some("a_.b")), // the escape begins at the second underscore
            ("a__dot___b", Some("a._b")),
            ("____", Some("____")),
        ] {
            assert_eq!(unescape(escaped).as_deref(), want, "{escaped}");
        }
    }
}
