//! Parts of timestamps and durations. Source: cel-go v0.26, `common/stdlib` and `common/types/duration.go`.

use crate::{
    error::EvalError,
    function::{Cost::One, Row, first, overload, row, text},
    meter::Meter,
    value::{
        EvalResult, Value,
        display::seconds,
        timestamp::{Civil, Timestamp, zone_offset},
    },
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("getDate", "timestamp_to_day_of_month_1_based", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.day))),
    row("getDate", "timestamp_to_day_of_month_1_based_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.day))),
    row("getDayOfMonth", "timestamp_to_day_of_month", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.day - 1))),
    row("getDayOfMonth", "timestamp_to_day_of_month_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.day - 1))),
    row("getDayOfWeek", "timestamp_to_day_of_week", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.weekday))),
    row("getDayOfWeek", "timestamp_to_day_of_week_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.weekday))),
    row("getDayOfYear", "timestamp_to_day_of_year", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.day_of_year))),
    row("getDayOfYear", "timestamp_to_day_of_year_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.day_of_year))),
    row("getFullYear", "timestamp_to_year", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.year))),
    row("getFullYear", "timestamp_to_year_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.year))),
    row("getHours", "timestamp_to_hours", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.hour))),
    row("getHours", "timestamp_to_hours_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.hour))),
    row("getHours", "duration_to_hours", "duration.() -> int", One, overload(|_, args| whole(args, |nanos| seconds(nanos) / 3600.0))),
    row("getMilliseconds", "timestamp_to_milliseconds", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, milliseconds))),
    row("getMilliseconds", "timestamp_to_milliseconds_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, milliseconds))),
    row("getMilliseconds", "duration_to_milliseconds", "duration.() -> int", One, overload(duration_milliseconds)),
    row("getMinutes", "timestamp_to_minutes", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.minute))),
    row("getMinutes", "timestamp_to_minutes_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.minute))),
    row("getMinutes", "duration_to_minutes", "duration.() -> int", One, overload(|_, args| whole(args, |nanos| seconds(nanos) / 60.0))),
    row("getMonth", "timestamp_to_month", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.month - 1))),
    row("getMonth", "timestamp_to_month_with_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.month - 1))),
    row("getSeconds", "timestamp_to_seconds", "timestamp.() -> int", One, overload(|meter, args| part(meter, args, |at, _| at.second))),
    row("getSeconds", "timestamp_to_seconds_tz", "timestamp.(string) -> int", One, overload(|meter, args| part(meter, args, |at, _| at.second))),
    row("getSeconds", "duration_to_seconds", "duration.() -> int", One, overload(|_, args| whole(args, seconds))),
];

fn duration_milliseconds<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Duration(nanos) => Ok(Value::Int(nanos / 1_000_000)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn milliseconds(_: &Civil, time: &Timestamp) -> i64 {
    i64::from(time.nanos / 1_000_000)
}

fn part<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    of: fn(&Civil, &Timestamp) -> i64,
) -> EvalResult<'a> {
    let Value::Timestamp(time) = first(arguments)? else {
        return Err(EvalError::no_such_overload());
    };
    let offset = if arguments.len() > 1 {
        meter.work(1_000)?; // a zone's table is read anew each time
        zone_offset(text(arguments, 1)?, time).map_err(EvalError::new)?
    } else {
        0
    };
    Ok(Value::Int(of(&time.civil(offset), time)))
}

#[expect(clippy::cast_possible_truncation, reason = "a duration's seconds are far within i64")]
fn whole<'a>(arguments: &[Value<'a>], of: fn(i64) -> f64) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Duration(nanos) => Ok(Value::Int(of(*nanos) as i64)),
        _ => Err(EvalError::no_such_overload()),
    }
}
