//! The values of literals. Source: cel-go v0.26, `parser/unescape.go` and the literals in `parser/parser.go`.

/// The value of an integer with its sign, if it fits.
pub fn int(sign: &str, digits: &str) -> Option<i64> {
    let (radix, digits) = radix(digits);
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// The value of an unsigned integer with its `u`, if it fits.
pub fn uint(text: &str) -> Option<u64> {
    let (radix, digits) = radix(text.trim_end_matches(['u', 'U']));
    u64::from_str_radix(digits, radix).ok()
}

/// The value of a fraction with its sign, if it fits.
pub fn double(sign: &str, digits: &str) -> Option<f64> {
    format!("{sign}{digits}").parse().ok().filter(|value: &f64| value.is_finite())
}

/// The value of a string, with its quotes and perhaps an `r`.
pub fn string(text: &str) -> Option<String> {
    String::from_utf8(unquoted(text, false)?).ok()
}

/// The value of bytes: `b` and a string.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    unquoted(text.get(1..)?, true)
}

fn radix(digits: &str) -> (u32, &str) {
    digits.strip_prefix("0x").map_or((10, digits), |digits| (16, digits))
}

fn unquoted(text: &str, is_bytes: bool) -> Option<Vec<u8>> {
    // Line ends of the source; those that are escaped stay what they are.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let quoted = text.trim_start_matches(['r', 'R']);
    let is_raw = quoted.len() < text.len();
    let inside = ["\"\"\"", "'''", "\"", "'"]
        .iter()
        .find_map(|quote| quoted.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)))?;
    if is_raw {
        return Some(inside.as_bytes().to_vec());
    }
    let mut value = Vec::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        let character = if character == '\\' {
            escape(&mut characters, is_bytes)?
        } else {
            Part::Character(character)
        };
        match character {
            Part::Byte(byte) => value.push(byte),
            Part::Character(character) => {
                value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Some(value)
}

enum Part {
    Byte(u8),
    Character(char),
}

/// What stands for an escape sequence behind its backslash. Numbers are characters in strings and bytes in bytes.
fn escape(characters: &mut std::str::Chars, is_bytes: bool) -> Option<Part> {
    let first = characters.next()?;
    let (radix, digits) = match first {
        'x' | 'X' => (16, 2),
        'u' if !is_bytes => (16, 4),
        'U' if !is_bytes => (16, 8),
        '0'..='3' => (8, 2),
        _ => return simple(first).map(Part::Character),
    };
    let mut value = if radix == 8 { first.to_digit(8)? } else { 0 };
    for _ in 0..digits {
        value = value.checked_mul(radix)?.checked_add(characters.next()?.to_digit(radix)?)?;
    }
    if is_bytes {
        u8::try_from(value).ok().map(Part::Byte)
    } else {
        char::from_u32(value).map(Part::Character)
    }
}

fn simple(character: char) -> Option<char> {
    Some(match character {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '`' | '?' => character,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{bytes, double, int, string, uint};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn numbers() {
        assert_eq!(int("-", "9223372036854775808"), Some(i64::MIN));
        assert_eq!(int("", "9223372036854775808"), None);
        assert_eq!(int("-", "0x1f"), Some(-31));
        assert_eq!(int("", "0010"), Some(10));
        assert_eq!(uint("0xffffffffffffffffu"), Some(u64::MAX));
        assert_eq!(uint("18446744073709551616U"), None);
        assert_eq!(double("-", ".5"), Some(-0.5));
        assert_eq!(double("", "1e309"), None);
    }

    #[test]
    fn strings() {
        for (text, want) in [
            ("''", Some("")),
            ("''''''", Some("")),
            (r#"'\a\b\f\n\r\t\v\\\'\"\?\`'"#, Some("\u{7}\u{8}\u{c}\n\r\t\u{b}\\'\"?`")),
            (r"'\x41\X42\103\u00e9\U0001F600\377'", Some("ABCé😀ÿ")),
            (r"r'\n'", Some(r"\n")),
            ("'''a\r\nb\rc'd'''", Some("a\nb\nc'd")),
            (r"'\r'", Some("\r")),
            (r"'\q'", None),
            (r"'\x4'", None),
            (r"'\x+4'", None),
            (r"'\400'", None),
            (r"'\38'", None),
            (r"'\ud800'", None),
            (r"'\U00110000'", None),
            (r"'\UFFFFFFFF'", None),
        ] {
            assert_eq!(string(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn bytes_are_not_characters() {
        assert_eq!(bytes(r"b'\xff\377é'"), Some(vec![0xff, 0xff, 0xc3, 0xa9]));
        assert_eq!(bytes(r"BR'\x'"), Some(br"\x".to_vec()));
        assert_eq!(bytes(r"b'\u00e9'"), None);
    }
}
