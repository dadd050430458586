//! Claims and times as a person reads them.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{console::printable, verify::span};

/// Rows of a name and a value, aligned.
#[derive(Debug, Default)]
pub struct Rows(Vec<(String, String)>);

impl Rows {
    /// Adds a row.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((printable(name), printable(&value.into())));
    }

    /// All rows, each one line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        self.0
            .iter()
            .map(|(name, value)| format!("{name:width$}  {value}").trim_end().to_owned())
            .collect()
    }
}

/// A claim's value.
#[must_use]
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A claim that is a date, as a date.
#[must_use]
pub fn claim(name: &str, claim: &Value, now: DateTime<Utc>) -> String {
    let date = ["exp", "iat", "nbf", "auth_time"]
        .contains(&name)
        .then(|| claim.as_i64().and_then(|seconds| DateTime::from_timestamp(seconds, 0)))
        .flatten();
    date.map_or_else(|| value(claim), |date| when(date, now))
}

/// A time, and how far it is from now.
#[must_use]
pub fn when(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let local = time.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S");
    if time > now {
        format!("{local} (in {})", span(time - now))
    } else {
        format!("{local} ({} ago)", span(now - time))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_aligned_and_harmless() {
        let mut rows = Rows::default();
        rows.add("a", "1");
        rows.add("long", value(&json!(["x", "y\x1b[2J\nb  2"])));
        assert_eq!(rows.lines(), ["a     1", "long  x, y\u{fffd}[2J\u{fffd}b  2"]);
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Utc::now();
        for (seconds, want) in [
            (59, "(in 59 s)"),
            (3_600, "(in 60 min)"),
            (-86_400, "(24 h ago)"),
            (400_000, "(in 4 days)"),
        ] {
            let text = when(now + TimeDelta::seconds(seconds), now);
            assert!(text.ends_with(want), "{text}");
        }
        assert_eq!(claim("sub", &json!("x"), now), "x");
        assert!(claim("exp", &json!(now.timestamp() + 30), now).contains("(in "));
    }
}
