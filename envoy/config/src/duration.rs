//! Durations in flags and documents, as programs written in Go take them.

use std::time::Duration;

use go_compat::time;
use serde::Serializer;

/// `time.ParseDuration` of what is not negative: `1h30m`, `0.5s`, `0`.
///
/// # Errors
/// In words that follow the name of a flag or field.
pub fn duration(text: &str) -> Result<Duration, String> {
    let nanos = time::parse_duration(text).ok().and_then(|nanos| u64::try_from(nanos).ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{text:?} is no duration such as 90s or 1h30m"))
}

/// As protobuf's JSON has it: `1.500s`.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        milliseconds => format!("{}.{milliseconds:03}s", duration.as_secs()),
    }
}

/// A field in that form.
pub(crate) fn in_seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&seconds(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, want) in [
            ("50ms", Some(50)),
            ("5s", Some(5_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("168h0m0s", Some(604_800_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("5", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1 s", None),
            ("1d", None),
            ("5min", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(duration(text).ok(), want.map(Duration::from_millis), "{text:?}");
        }
    }
}
