//! A JSON number as its literal text, and the readings that Go gives it.

/// A number literal. It is kept as written: whether it is in range depends on what it is decoded into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// `literal` as a number if it has JSON's number grammar, also when it comes out of a string, as Go's `json.Number`
    /// allows.
    #[must_use]
    pub fn from_literal(literal: &str) -> Option<Self> {
        let rest = literal.strip_prefix('-').unwrap_or(literal);
        let rest = match rest.strip_prefix('0') {
            Some(rest) => rest,
            None => strip_digits(rest)?,
        };
        let rest = match rest.strip_prefix('.') {
            Some(fraction) => strip_digits(fraction)?,
            None => rest,
        };
        let rest = match rest.strip_prefix(['e', 'E']) {
            Some(exponent) => strip_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?,
            None => rest,
        };
        rest.is_empty().then(|| Self(literal.into()))
    }

    /// The literal as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest double, or `None` where Go reports a range error.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.0.parse::<f64>().ok().filter(|value| value.is_finite())
    }

    /// The number as go-oidc reads a `json.Number` for times: an integer literal, else a double cut to an integer.
    /// `None` where the double is out of range.
    ///
    /// Doubles beyond `i64` saturate here; upstream the result depends on the processor, and both end in the past
    /// because Go's `time.Unix` wraps around.
    #[must_use]
    pub fn as_unix_seconds(&self) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "the cut is Go's int64(float64)")]
        self.0.parse::<i64>().ok().or_else(|| self.as_f64().map(|value| value as i64))
    }
}

fn strip_digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn grammar_is_json() {
        for (literal, want) in [
            ("0", true),
            ("-0", true),
            ("12", true),
            ("1.50", true),
            ("1e5", true),
            ("1E+5", true),
            ("1e-5", true),
            ("", false),
            ("-", false),
            ("01", false),
            ("+1", false),
            (".5", false),
            ("1.", false),
            ("1e", false),
            ("1e+", false),
            (" 1", false),
            ("1 ", false),
            ("0x10", false),
            ("NaN", false),
            ("1_000", false),
        ] {
            assert_eq!(Number::from_literal(literal).is_some(), want, "{literal:?}");
        }
    }

    #[test]
    fn times_are_read_as_go_oidc_does() {
        for (literal, want) in [
            ("1700000000", Some(1_700_000_000)),
            ("1700000000.9", Some(1_700_000_000)),
            ("1.7e9", Some(1_700_000_000)),
            ("-1.5", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", Some(i64::MAX)),
            ("1e300", Some(i64::MAX)),
            ("-1e300", Some(i64::MIN)),
            ("1e400", None), // a range error in Go
        ] {
            let number = Number::from_literal(literal).expect("a number");
            assert_eq!(number.as_unix_seconds(), want, "{literal}");
        }
    }
}
