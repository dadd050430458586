//! How Go writes a string as JSON. Source: Go, `encoding/json/encode.go`.

use std::fmt::Write;

/// `text` as Go's `json.Marshal` has it: HTML's special characters and JavaScript's line ends are escaped.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c @ ('\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn html_and_line_ends_are_escaped() {
        assert_eq!(
            quote("a\"\\\n\u{1}<&\u{2028}\u{e9}\u{7f}"),
            "\"a\\\"\\\\\\n\\u0001\\u003c\\u0026\\u2028\u{e9}\u{7f}\""
        );
    }
}
