//! What a scalar stands for by go-yaml v2's reading of YAML 1.1: `yes` and `on` are booleans, `0x1f`, `017` and `1_000` are
//! integers. Source: go-yaml v2.4 `resolve.go`.

use go_compat::base64;

const PREFIX: &str = "tag:yaml.org,2002:";

/// A resolved scalar.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// Within `i64` or `u64`.
    Integer(i128),
    Float(f64),
    String(String),
}

/// The value of a scalar with this explicit tag.
///
/// # Errors
/// If the tag asks for another type than the text has.
pub(super) fn resolve(tag: Option<&str>, text: &str, plain: bool) -> Result<Scalar, String> {
    let string = || Ok(Scalar::String(text.to_owned()));
    let Some(tag) = tag.filter(|tag| !tag.is_empty()) else {
        return if plain { Ok(resolve_plain(text)) } else { string() };
    };
    let wanted = match tag.strip_prefix(PREFIX) {
        Some("binary") => return binary(text),
        Some(wanted @ ("bool" | "int" | "float" | "null" | "timestamp")) => wanted,
        _ => return string(), // `!!str`, and any other tag says nothing
    };
    match (resolve_plain(text), wanted) {
        #[expect(clippy::cast_precision_loss, reason = "Go's conversion of an int to float64")]
        (Scalar::Integer(value), "float") => Ok(Scalar::Float(value as f64)),
        (value, wanted) if value.tag() == wanted => Ok(value),
        (_, "timestamp") if is_timestamp(text) => string(),
        (value, wanted) => Err(format!("cannot decode !!{} `{text}` as a !!{wanted}", value.tag())),
    }
}

impl Scalar {
    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Float(_) => "float",
            Self::String(_) => "str",
        }
    }
}

fn binary(text: &str) -> Result<Scalar, String> {
    let bytes = base64::decode_standard(text.as_bytes());
    let bytes = bytes.map_err(|_| "!!binary value contains invalid base64 data".to_owned())?;
    Ok(Scalar::String(String::from_utf8_lossy(&bytes).into_owned()))
}

fn resolve_plain(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or_else(|| Scalar::String(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Scalar> {
    match text.bytes().next()? {
        b'.' => float(text).map(Scalar::Float),
        b'0'..=b'9' | b'+' | b'-' if is_timestamp(text) => None,
        b'0'..=b'9' | b'+' | b'-' => {
            let plain = text.replace('_', "");
            integer(&plain).map(Scalar::Integer).or_else(|| float(&plain).map(Scalar::Float))
        }
        _ => None,
    }
}

/// Go's `strconv.ParseInt` with base 0, or `ParseUint` for what is too large: prefixes give the base, a leading zero is octal.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok()?;
    let value = if negative { -value } else { value };
    let signed = i64::try_from(value).is_ok();
    let unsigned = u64::try_from(value).is_ok() && !text.starts_with('+');
    (signed || unsigned).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let is_float_byte =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let value = text.parse::<f64>().ok().filter(|_| text.bytes().all(is_float_byte))?;
    value.is_finite().then_some(value)
}

/// Whether Go would read a date: it stays a string, but is no number.
fn is_timestamp(text: &str) -> bool {
    let year = text.bytes().take_while(u8::is_ascii_digit).count();
    year == 4 && text.get(4..).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn plain_scalars() {
        let text = |text: &str| Scalar::String(text.to_owned());
        for (scalar, want) in [
            ("yes", Scalar::Bool(true)),
            ("y", Scalar::Bool(true)),
            ("yES", text("yES")),
            ("off", Scalar::Bool(false)),
            ("~", Scalar::Null),
            ("", Scalar::Null),
            ("12", Scalar::Integer(12)),
            ("-1_000", Scalar::Integer(-1000)),
            ("0x1F", Scalar::Integer(31)),
            ("017", Scalar::Integer(15)),
            ("0o17", Scalar::Integer(15)),
            ("0b11", Scalar::Integer(3)),
            ("018", Scalar::Float(18.0)),
            ("18446744073709551615", Scalar::Integer(18_446_744_073_709_551_615)),
            ("+18446744073709551615", Scalar::Float(18_446_744_073_709_551_615.0)),
            ("1.5", Scalar::Float(1.5)),
            (".5", Scalar::Float(0.5)),
            ("1e3", Scalar::Float(1000.0)),
            (".inf", Scalar::Float(f64::INFINITY)),
            ("1:30", text("1:30")), // no base 60
            ("2001-12-14", text("2001-12-14")),
            ("1.2.3", text("1.2.3")),
            ("-", text("-")),
            ("inf", text("inf")),
            ("0x", text("0x")),
            ("https://a", text("https://a")),
        ] {
            assert_eq!(resolve(None, scalar, true), Ok(want), "{scalar}");
            let quoted = resolve(None, scalar, false);
            assert_eq!(quoted, Ok(text(scalar)), "{scalar} in quotes");
        }
    }

    #[test]
    fn tags() {
        let text = |text: &str| Ok(Scalar::String(text.to_owned()));
        for (tag, scalar, want) in [
            ("str", "12", text("12")),
            ("int", "12", Ok(Scalar::Integer(12))),
            ("float", "12", Ok(Scalar::Float(12.0))),
            ("binary", "YWJj", text("abc")),
            ("set", "12", text("12")),
            ("int", "a", Err("cannot decode !!str `a` as a !!int".to_owned())),
            ("bool", "12", Err("cannot decode !!int `12` as a !!bool".to_owned())),
            ("binary", "!", Err("!!binary value contains invalid base64 data".to_owned())),
        ] {
            assert_eq!(resolve(Some(&format!("{PREFIX}{tag}")), scalar, true), want, "{tag}");
        }
        assert_eq!(resolve(Some("!own"), "12", true), text("12"));
    }
}
