//! Durations as Go's `time` reads and writes them: a signed sequence of decimal numbers with units, such as
//! `1h15m30.918s`; at most the nanoseconds of a signed 64-bit number. Source: Go, `time/format.go` and `time/time.go`.

use std::fmt::Write as _;

use crate::strconv::quote;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Not a duration; the text is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form, or beyond the range.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", quote(.0))]
    NoUnit(String),
    /// A number with a unit that there is not.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.duration))]
    UnknownUnit {
        /// What stands for the unit.
        unit: String,
        /// The text that was to be read.
        duration: String,
    },
}

/// Go's `ParseDuration`: nanoseconds, negative ones too.
///
/// # Errors
/// With Go's words.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end).ok_or_else(invalid)?;
        if unit.is_empty() {
            return Err(DurationError::NoUnit(text.to_owned()));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let (unit, duration) = (unit.to_owned(), text.to_owned());
            return Err(DurationError::UnknownUnit { unit, duration });
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        sum = whole
            .checked_mul(*scale)
            .and_then(|nanos| nanos.checked_add(part(fraction, *scale)))
            .and_then(|nanos| nanos.checked_add(sum))
            .filter(|sum| *sum <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = after;
    }
    let signed = if negative { 0_i64.checked_sub_unsigned(sum) } else { i64::try_from(sum).ok() };
    signed.ok_or_else(invalid)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The fraction of a unit in nanoseconds; Go scales it as a double, and leaves digits beyond 63 bits.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as Go computes it"
)]
fn part(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1.0_f64);
    for digit in digits.bytes() {
        let more = value.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0')));
        if value > i64::MAX.unsigned_abs() / 10 || more > 1 << 63 {
            break;
        }
        (value, scale) = (more, scale * 10.0);
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// Whole seconds as Go's `Duration.String` has them, such as `168h0m0s`.
#[must_use]
pub fn format_seconds(seconds: u64) -> String {
    let (minutes, rest) = (seconds.div_euclid(60), seconds.rem_euclid(60));
    let (hours, minutes) = (minutes.div_euclid(60), minutes.rem_euclid(60));
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{rest}s");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn parsed_as_go_does() {
        for (text, want) in [
            ("0", Some(0)),
            ("24h", Some(86_400_000_000_000)),
            ("1h15m30.918s", Some(4_530_918_000_000)),
            ("+5s", Some(5_000_000_000)),
            ("-5s", Some(-5_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("1.0000000005s", Some(1_000_000_000)),
            ("1us", Some(1_000)),
            ("1\u{b5}s", Some(1_000)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9223372036854775808ns", None),
            ("2562048h", None), // overflows
            ("99999999999999999999h", None),
            ("", None),
            ("-", None),
            (".s", None),
            ("3", None), // no unit
            ("1d", None),
            ("1h30m", Some(5_400_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("1h ", None),
            ("1 s", None),
            ("s", None),
            (" 1h", None),
            ("1e3s", None),
            ("--1s", None),
        ] {
            assert_eq!(parse_duration(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn the_words_are_gos() {
        for (text, want) in [
            ("x", "time: invalid duration \"x\""),
            ("3", "time: missing unit in duration \"3\""),
            ("3d", "time: unknown unit \"d\" in duration \"3d\""),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn written_as_go_does() {
        for (of, want) in
            [(604_800, "168h0m0s"), (90, "1m30s"), (5, "5s"), (0, "0s"), (3_600, "1h0m0s")]
        {
            assert_eq!(format_seconds(of), want);
        }
    }
}
