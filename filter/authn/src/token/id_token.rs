//! The claims that go-oidc reads itself, with the types it demands. Source: go-oidc v2.5.0, `oidc.go` (`idToken`,
//! `audience`, `jsonTime`), decoded by Go's `encoding/json` into a struct: names fold, the last duplicate wins, a wrong
//! type anywhere spoils the whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use go_compat::{
    json::{Number, Object, Value, field_matches},
    strconv,
};

/// Seconds between Go's zero time (the year 1) and 1970. `time.Unix` adds them and wraps around.
const UNIX_TO_INTERNAL: i64 = 62_135_596_800;

/// Why the claims of a verified token are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdTokenError {
    #[error("oidc: failed to unmarshal claims: json: cannot unmarshal {got} into field {field}")]
    Type { field: &'static str, got: &'static str },
    #[error("oidc: failed to unmarshal claims: invalid number in field {field}: {}", strconv::quote(.literal))]
    Number { field: &'static str, literal: String },
    #[error("oidc: failed to obtain source from claim name")]
    EmptySource,
    #[error("oidc: source does not exist")]
    MissingSource,
}

/// What go-oidc checks about a token after its signature.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct IdToken {
    pub(crate) issuer: String,
    pub(crate) audience: Vec<String>,
    pub(crate) expiry: Option<Time>,
    pub(crate) not_before: Option<Time>,
}

/// A time in a token, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    /// Seconds since Go's zero time. Absurdly late times wrap around into the past, as upstream.
    internal: i64,
}

impl Time {
    pub(crate) fn from_unix(seconds: i64) -> Self {
        Self { internal: seconds.wrapping_add(UNIX_TO_INTERNAL) }
    }

    /// Whether this time is before `now` (since 1970).
    pub(crate) fn is_before(self, now: Duration) -> bool {
        let seconds = Self::from_duration(now);
        self < seconds || (self == seconds && now.subsec_nanos() > 0)
    }

    /// Whether this time is after `now` (since 1970).
    pub(crate) fn is_after(self, now: Duration) -> bool {
        self > Self::from_duration(now)
    }

    /// The time since 1970, or zero if it is before.
    pub(crate) fn since_epoch(self) -> Duration {
        let seconds = self.internal.saturating_sub(UNIX_TO_INTERNAL);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// `now` (since 1970) in whole seconds.
    pub(crate) fn from_duration(now: Duration) -> Self {
        Self::from_unix(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Time {
    /// As Go prints a time in UTC: `2006-01-02 15:04:05 +0000 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.internal.div_euclid(86_400), self.internal.rem_euclid(86_400));
        let (year, month, day) = civil_date(days);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let second = second % 60;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
    }
}

/// The proleptic Gregorian date of a day counted from January 1st of the year 1: years begin in March here, so that the
/// leap day is the last of its year.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 306;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

impl IdToken {
    pub(crate) fn parse(claims: &Object) -> Result<Self, IdTokenError> {
        let mut token = Self::default();
        let mut distributed = Distributed::default();
        for (name, value) in claims.members() {
            match FIELDS.iter().find(|field| field_matches(name, field)).copied() {
                Some("iss") => {
                    if let Some(issuer) = string("iss", value)? {
                        issuer.clone_into(&mut token.issuer);
                    }
                }
                Some(field @ ("sub" | "nonce" | "at_hash")) => {
                    string(field, value)?;
                }
                Some("aud") => token.audience = audience(value)?,
                Some("exp") => token.expiry = Some(time("exp", value)?),
                Some("iat") => {
                    time("iat", value)?;
                }
                // A pointer in the struct: `null` takes the time away.
                Some("nbf") if *value == Value::Null => token.not_before = None,
                Some("nbf") => token.not_before = Some(time("nbf", value)?),
                Some("_claim_names") => distributed.add_names(value)?,
                Some("_claim_sources") => distributed.add_sources(value)?,
                _ => {}
            }
        }
        distributed.check()?;
        Ok(token)
    }
}

/// `_claim_names` and `_claim_sources` (OpenID Connect Core 1.0, section 5.6.2). Both are Go maps: a second occurrence of
/// the member adds to the first.
#[derive(Default)]
struct Distributed {
    source_of_claim: BTreeMap<String, String>,
    sources: BTreeSet<String>,
}

impl Distributed {
    fn add_names(&mut self, value: &Value) -> Result<(), IdTokenError> {
        let Some(members) = map_members("_claim_names", value)? else {
            self.source_of_claim.clear();
            return Ok(());
        };
        for (claim, source) in members.members() {
            let source = string("_claim_names", source)?.unwrap_or_default();
            self.source_of_claim.insert(claim.to_owned(), source.to_owned());
        }
        Ok(())
    }

    fn add_sources(&mut self, value: &Value) -> Result<(), IdTokenError> {
        let Some(members) = map_members("_claim_sources", value)? else {
            self.sources.clear();
            return Ok(());
        };
        for (name, source) in members.members() {
            check_source(source)?;
            self.sources.insert(name.to_owned());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), IdTokenError> {
        for source in self.source_of_claim.values() {
            if source.is_empty() {
                return Err(IdTokenError::EmptySource);
            }
            if !self.sources.contains(source) {
                return Err(IdTokenError::MissingSource);
            }
        }
        Ok(())
    }
}

const FIELDS: [&str; 10] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "nonce",
    "at_hash",
    "_claim_names",
    "_claim_sources",
];

fn wrong_type(field: &'static str, value: &Value) -> IdTokenError {
    IdTokenError::Type { field, got: value.kind() }
}

/// A string field; `null` leaves what was there.
fn string<'a>(field: &'static str, value: &'a Value) -> Result<Option<&'a str>, IdTokenError> {
    match value {
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        other => Err(wrong_type(field, other)),
    }
}

/// One string or a list of them; `null` reads as the empty string in both places.
fn audience(value: &Value) -> Result<Vec<String>, IdTokenError> {
    match value {
        Value::Array(items) => items
            .iter()
            .map(|item| Ok(string("aud", item)?.unwrap_or_default().to_owned()))
            .collect(),
        other => Ok(vec![string("aud", other)?.unwrap_or_default().to_owned()]),
    }
}

/// A number, or a string that holds one (Go's `json.Number`).
fn time(field: &'static str, value: &Value) -> Result<Time, IdTokenError> {
    let out_of_range = |literal: &str| IdTokenError::Number { field, literal: literal.to_owned() };
    let number = match value {
        Value::Number(number) => number.clone(),
        Value::String(text) => Number::from_literal(text).ok_or_else(|| out_of_range(text))?,
        other => return Err(wrong_type(field, other)),
    };
    let seconds = number.as_unix_seconds().ok_or_else(|| out_of_range(number.as_str()))?;
    Ok(Time::from_unix(seconds))
}

/// The members of an object that is decoded into a Go map, or `None` where `null` empties the map.
fn map_members<'a>(
    field: &'static str,
    value: &'a Value,
) -> Result<Option<&'a Object>, IdTokenError> {
    match value {
        Value::Object(members) => Ok(Some(members)),
        Value::Null => Ok(None),
        other => Err(wrong_type(field, other)),
    }
}

fn check_source(value: &Value) -> Result<(), IdTokenError> {
    match value {
        Value::Object(members) => members
            .members()
            .filter(|(name, _)| {
                ["endpoint", "access_token"].iter().any(|field| field_matches(name, field))
            })
            .try_for_each(|(_, value)| string("_claim_sources", value).map(|_| ())),
        Value::Null => Ok(()),
        other => Err(wrong_type("_claim_sources", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn times_print_as_in_go() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00 +0000 UTC"),
            (1_709_210_096, "2024-02-29 12:34:56 +0000 UTC"),
            (951_868_799, "2000-02-29 23:59:59 +0000 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 +0000 UTC"),
            (-1, "1969-12-31 23:59:59 +0000 UTC"),
            (-62_135_596_800, "0001-01-01 00:00:00 +0000 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 +0000 UTC"),
        ] {
            assert_eq!(Time::from_unix(seconds).to_string(), want, "{seconds}");
        }
    }

    #[test]
    fn comparisons() {
        let now = Duration::new(100, 1);
        for (seconds, before, after) in [(99, true, false), (100, true, false), (101, false, true)]
        {
            let time = Time::from_unix(seconds);
            assert_eq!((time.is_before(now), time.is_after(now)), (before, after), "{seconds}");
        }
        assert!(!Time::from_unix(100).is_before(Duration::from_secs(100)), "this very instant");
        assert!(Time::from_unix(i64::MAX).is_before(now), "Go's time wraps around");
    }
}
