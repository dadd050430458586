//! Timestamps and time zones. Source: Go's `time` (`Parse` with RFC 3339, `LoadLocation`) and cel-go's
//! `common/types/timestamp.go`.

use std::fmt::Write;

use super::zones;

const MIN_UNIX: i64 = -62_135_596_800; // 0001-01-01T00:00:00Z
const MAX_UNIX: i64 = 253_402_300_799; // 9999-12-31T23:59:59Z
const DAY: i64 = 86_400;

/// A point in time, and the offset from UTC it was written with, which only its text shows.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// 0 to 999,999,999, towards the future.
    pub nanos: u32,
    /// Seconds east of UTC.
    pub offset: i32,
}

/// A date and a time of day.
#[derive(Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 365.
    pub day_of_year: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

/// Why there is no time.
#[derive(Debug, PartialEq, Eq)]
pub enum TimeError {
    Syntax,
    /// Outside of years 1 to 9999.
    Range,
}

impl Timestamp {
    /// Seconds since 1970, if within years 1 to 9999.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Option<Self> {
        (MIN_UNIX..=MAX_UNIX).contains(&seconds).then_some(Self { seconds, nanos: 0, offset: 0 })
    }

    /// So long after 1970, if within years 1 to 9999.
    #[must_use]
    pub fn from_duration(since: std::time::Duration) -> Option<Self> {
        let at = Self::from_unix(i64::try_from(since.as_secs()).ok()?)?;
        Some(Self { nanos: since.subsec_nanos(), ..at })
    }

    /// RFC 3339 as Go reads it: an hour may have one digit, a comma may begin the fraction, digits beyond nanoseconds are cut.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        Parser(text.as_bytes())
            .timestamp()
            .ok_or(TimeError::Syntax)
            .and_then(|time| Self::from_unix(time.seconds).map(|_| time).ok_or(TimeError::Range))
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn nanos_since_epoch(&self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }

    /// The time so many nanoseconds later, if within years 1 to 9999.
    #[must_use]
    pub fn plus(&self, nanos: i128) -> Option<Self> {
        let total = self.nanos_since_epoch().checked_add(nanos)?;
        let seconds = i64::try_from(total.div_euclid(1_000_000_000)).ok()?;
        let nanos = u32::try_from(total.rem_euclid(1_000_000_000)).ok()?;
        Self::from_unix(seconds).map(|time| Self { nanos, offset: self.offset, ..time })
    }

    /// Whether it is the first moment of year 1, Go's zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.seconds == MIN_UNIX && self.nanos == 0
    }

    /// Date and time of day so many seconds east of UTC.
    #[must_use]
    pub fn civil(&self, offset: i64) -> Civil {
        let local = self.seconds + offset;
        let (days, second_of_day) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            day_of_year: days - days_from_civil(year, 1, 1),
            weekday: (days + 4).rem_euclid(7),
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    /// RFC 3339 with as many digits of the fraction as there are, in the zone it was written with.
    #[must_use]
    pub fn format(&self) -> String {
        self.format_at(self.offset)
    }

    /// The same in UTC.
    #[must_use]
    pub fn format_utc(&self) -> String {
        self.format_at(0)
    }

    fn format_at(&self, offset: i32) -> String {
        let at = self.civil(i64::from(offset));
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            at.year, at.month, at.day, at.hour, at.minute, at.second
        );
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        if offset == 0 {
            text.push('Z');
        } else {
            let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
            // Writing to a String cannot fail.
            let _ = write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        }
        text
    }
}

/// Seconds east of UTC that a time zone has at a time: an IANA name, or `hh:mm` with a sign for the west.
///
/// # Errors
/// Go's text, if there is no such zone.
pub fn zone_offset(zone: &str, at: &Timestamp) -> Result<i64, String> {
    let Some((hours, minutes)) = zone.split_once(':') else { return named_zone(zone, at.seconds) };
    let (hours, minutes) = (atoi(hours)?, atoi(minutes)?);
    let offset = if zone.starts_with('-') { hours * 60 - minutes } else { hours * 60 + minutes };
    Ok(offset * 60)
}

fn atoi(text: &str) -> Result<i64, String> {
    let failed = |why| format!("strconv.Atoi: parsing {}: {why}", go_compat::strconv::quote(text));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(failed("invalid syntax"));
    }
    // Beyond 32 bits no zone makes sense and the arithmetic above stays exact.
    text.parse::<i32>().map(i64::from).map_err(|_| failed("value out of range"))
}

fn named_zone(name: &str, seconds: i64) -> Result<i64, String> {
    if name.is_empty() || name == "UTC" {
        return Ok(0);
    }
    if name == "Local" {
        return Ok(0);
    }
    let unknown = || format!("unknown time zone {name}");
    if name.contains("..") || name.starts_with('/') || name.contains('\\') {
        return Err("time: invalid location name".to_owned());
    }
    let table = zones::table(name).ok_or_else(unknown)?;
    let zone = tz::TimeZone::from_tz_data(table).map_err(|_| unknown())?;
    let local = zone.find_local_time_type(seconds).map_err(|_| unknown())?;
    Ok(i64::from(local.ut_offset()))
}

struct Parser<'a>(&'a [u8]);

impl Parser<'_> {
    fn timestamp(&mut self) -> Option<Timestamp> {
        let year = self.number(4, 4)?;
        self.byte(b'-')?;
        let month = self.number(2, 2)?;
        self.byte(b'-')?;
        let day = self.number(2, 2)?;
        self.byte(b'T')?;
        let hour = self.number(1, 2)?;
        self.byte(b':')?;
        let minute = self.number(2, 2)?;
        self.byte(b':')?;
        let second = self.number(2, 2)?;
        let nanos = self.fraction();
        let offset = self.offset()?;
        let fits = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60
            && self.0.is_empty();
        let local = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
        let seconds = local - i64::from(offset);
        fits.then_some(Timestamp { seconds, nanos, offset })
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == wanted).then(|| self.0 = rest)
    }

    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        (count >= least)
            .then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn fraction(&mut self) -> u32 {
        let [b'.' | b',', rest @ ..] = self.0 else { return 0 };
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let Some((digits, after)) = rest.split_at_checked(count) else { return 0 };
        if count == 0 {
            return 0;
        }
        self.0 = after;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        padded.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    }

    fn offset(&mut self) -> Option<i32> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match sign {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2, 2)?;
        self.byte(b':')?;
        let minutes = self.number(2, 2)?;
        let fits = hours <= 24 && minutes <= 60;
        fits.then_some(())?;
        i32::try_from(sign * (hours * 3600 + minutes * 60)).ok()
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date in the Gregorian calendar, extended backwards.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn timestamps_are_read_and_written_as_go_does() {
        for (text, want) in [
            ("2009-11-10T23:00:00Z", Some("2009-11-10T23:00:00Z")),
            ("2009-11-10T23:00:00.120Z", Some("2009-11-10T23:00:00.12Z")),
            ("2009-11-10T23:00:00,5Z", Some("2009-11-10T23:00:00.5Z")),
            ("2009-11-10T23:00:00+05:30", Some("2009-11-10T23:00:00+05:30")),
            ("2009-11-10T5:00:00Z", Some("2009-11-10T05:00:00Z")),
            ("2000-02-29T00:00:00Z", Some("2000-02-29T00:00:00Z")),
            ("1900-02-29T00:00:00Z", None),
            ("2009-11-10t23:00:00Z", None),
            ("2009-11-10T24:00:00Z", None),
            ("2009-11-10T23:00:00", None),
            ("0000-12-31T23:59:59Z", None),
            ("9999-12-31T23:59:59.999999999Z", Some("9999-12-31T23:59:59.999999999Z")),
        ] {
            assert_eq!(
                Timestamp::parse(text).ok().map(|time| time.format()).as_deref(),
                want,
                "{text}"
            );
        }
    }

    #[test]
    fn zones_have_their_offset_of_the_day() {
        let winter = Timestamp::parse("2009-11-10T23:00:00Z").expect("a time");
        let summer = Timestamp::parse("2026-07-10T23:00:00Z").expect("a time");
        assert_eq!(zone_offset("America/New_York", &winter), Ok(-5 * 3600));
        assert_eq!(zone_offset("America/New_York", &summer), Ok(-4 * 3600));
        assert_eq!(zone_offset("-08:30", &winter), Ok(-(8 * 60 + 30) * 60));
        assert_eq!(
            zone_offset("Mars/Base", &winter),
            Err("unknown time zone Mars/Base".to_owned())
        );
    }
}
