//! How Go matches a JSON member to a struct field: `encoding/json` compares names under Unicode's simple case folding.

use std::cmp::Ordering;

/// Whether Go would decode the member `name` into the field tagged `field` (lower-case ASCII).
///
/// Beyond ASCII two code points fold to a letter: U+017F (long s) to `s` and U+212A (Kelvin sign) to `k`.
#[must_use]
pub fn field_matches(name: &str, field: &str) -> bool {
    // What folds to a letter is longer than it: names of the same length are ASCII or another field's.
    match name.len().cmp(&field.len()) {
        Ordering::Less => return false,
        Ordering::Equal => return name.eq_ignore_ascii_case(field),
        Ordering::Greater if name.is_ascii() => return false,
        Ordering::Greater => {}
    }
    let folded = name.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(field.chars())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_fold_as_in_go() {
        for (name, field, want) in [
            ("iss", "iss", true),
            ("ISS", "iss", true),
            ("i\u{17f}s", "iss", true), // long s
            ("at_ha\u{17f}h", "at_hash", true),
            ("\u{212a}id", "kid", true), // Kelvin sign
            ("\u{131}ss", "iss", false), // dotless i folds to nothing
            ("is", "iss", false),
            ("i\u{17f}", "iss", false),
            ("isss", "iss", false),
        ] {
            assert_eq!(field_matches(name, field), want, "{name}");
        }
    }
}
