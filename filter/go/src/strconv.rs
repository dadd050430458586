//! How Go quotes strings (`%q`), and how it writes and reads numbers. Source: Go, `strconv`.

use std::fmt::Write;

/// `text` as Go's `strconv.Quote` has it.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            c => push_escape(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// Several strings as Go prints a `[]string` with `%q`.
#[must_use]
pub fn quote_list<S: AsRef<str>>(texts: &[S]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

fn push_escape(out: &mut String, character: char) {
    let point = u32::from(character);
    // Writing to a String cannot fail.
    let _ = match point {
        0..0x20 | 0x7f => write!(out, "\\x{point:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{point:04x}"),
        _ => write!(out, "\\U{point:08x}"),
    };
}

/// Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII blank.
///
/// Rust's own escaping knows what is printable but also escapes a combining mark that stands alone, so it is asked about
/// the character behind a letter.
fn is_print(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    let mut pair = [0; 5];
    if let Some((first, rest)) = pair.split_first_mut() {
        *first = b'a';
        character.encode_utf8(rest);
    }
    let length = 1 + character.len_utf8();
    let text = pair.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.is_some_and(|text| text.escape_debug().nth(1) == Some(character))
}

/// `%g`: the shortest digits, with an exponent of at least two digits where it is below -4 or above 5. Source: Go,
/// `strconv.FormatFloat(.., 'g', -1, 64)`.
#[must_use]
pub fn format_general(value: f64) -> String {
    if let Some(text) = format_special(value) {
        return text.to_owned();
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `%f` with the shortest digits.
#[must_use]
pub fn format_plain(value: f64) -> String {
    format_special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// What is no number.
#[must_use]
pub fn format_special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        v if v == f64::INFINITY => Some("+Inf"),
        v if v == f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// Go's `strconv.ParseFloat` with 64 bits: decimal or hexadecimal, underscores between digits, `inf`, `infinity` and `nan`
/// in any case. Beyond a double's range is an error.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let negative = text.starts_with('-');
    let signed = |value: f64| if negative { -value } else { value };
    match unsigned.as_str() {
        "inf" | "infinity" => return Some(signed(f64::INFINITY)),
        "nan" => return (unsigned.len() == text.len()).then_some(f64::NAN),
        _ => {}
    }
    if !underscores_fit(&unsigned) {
        return None;
    }
    let digits = unsigned.replace('_', "");
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return parse_hexadecimal(hexadecimal).map(signed);
    }
    let decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-');
    if !digits.chars().all(decimal) || digits.starts_with(['+', '-']) {
        return None;
    }
    digits.parse::<f64>().ok().filter(|value| value.is_finite()).map(signed)
}

/// Whether underscores stand between digits alone; the prefix of a base counts as a digit.
fn underscores_fit(text: &str) -> bool {
    let hexadecimal = text.starts_with("0x");
    let digits = if hexadecimal { text.get(2..).unwrap_or_default() } else { text };
    let is_digit = |c: char| c.is_ascii_digit() || (hexadecimal && c.is_ascii_hexdigit());
    let mut before = if hexadecimal { '0' } else { ' ' };
    for character in digits.chars() {
        if (character == '_' && !is_digit(before)) || (before == '_' && !is_digit(character)) {
            return false;
        }
        before = character;
    }
    before != '_'
}

/// `h.hhhp±d`, without the prefix. The exponent must be there.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0f64;
    let mut scale = exponent;
    for (digit, is_fraction) in
        whole.chars().map(|c| (c, false)).chain(fraction.chars().map(|c| (c, true)))
    {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
        if is_fraction {
            scale -= 4;
        }
    }
    let value = value * 2.0f64.powi(scale);
    value.is_finite().then_some(value)
}

/// Go's `strconv.ParseInt` with base 10.
#[must_use]
pub fn parse_int(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Go's `strconv.ParseUint` with base 10: no sign at all.
#[must_use]
pub fn parse_uint(text: &str) -> Option<u64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Go's `strconv.ParseBool`.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn quotes_as_strconv() {
        for (text, want) in [
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\0\u{1f}\u{7f}", r#""\x00\x1f\x7f""#),
            ("'", "\"'\""),
            ("\u{e9}\u{4e16}\u{1f600}", "\"\u{e9}\u{4e16}\u{1f600}\""),
            ("\u{301}", "\"\u{301}\""), // a combining mark is printable
            ("\u{a0}\u{200b}\u{feff}", r#""\u00a0\u200b\ufeff""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("\u{fffd}", "\"\u{fffd}\""),
        ] {
            assert_eq!(quote(text), want);
        }
        assert_eq!(quote_list(&["a", "b"]), r#"["a" "b"]"#);
        assert_eq!(quote_list::<&str>(&[]), "[]");
    }

    #[test]
    fn doubles_are_written_as_go_does() {
        for (value, want) in [
            (1_257_897_600.0, "1.2578976e+09"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.234567e+06"),
            (1_000_000.0, "1e+06"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e100, "1e+100"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(format_general(value), want);
        }
    }

    #[test]
    fn doubles_are_read_as_go_does() {
        for (text, want) in [
            ("1.5", Some(1.5)),
            ("+1", Some(1.0)),
            (".5", Some(0.5)),
            ("1.", Some(1.0)),
            ("0x1p-2", Some(0.25)),
            ("0x1.8p1", Some(3.0)),
            ("0x1", None), // hexadecimal needs its exponent
            ("1e400", None),
            ("1_000", Some(1000.0)),
            ("1__0", None),
            ("_1", None),
            ("0x_1p0", Some(1.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("+nan", None),
            ("", None),
            (" 1", None),
        ] {
            assert_eq!(parse_float(text), want, "{text}");
        }
    }
}
