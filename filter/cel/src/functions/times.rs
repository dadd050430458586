//! Parts of timestamps and durations. Source: cel-go v0.26, `common/stdlib` and `common/types/duration.go`.

use super::convert::seconds;
use super::{Body, first, text};
use crate::error::EvalError;
use crate::meter::Meter;
use crate::time::{Civil, Timestamp, zone_offset};
use crate::value::Value;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("timestamp_to_year", |meter, args| part(meter, args, |at, _| at.year)),
    ("timestamp_to_year_with_tz", |meter, args| part(meter, args, |at, _| at.year)),
    ("timestamp_to_month", |meter, args| part(meter, args, |at, _| at.month - 1)),
    ("timestamp_to_month_with_tz", |meter, args| part(meter, args, |at, _| at.month - 1)),
    ("timestamp_to_day_of_year", |meter, args| part(meter, args, |at, _| at.day_of_year)),
    ("timestamp_to_day_of_year_with_tz", |meter, args| part(meter, args, |at, _| at.day_of_year)),
    ("timestamp_to_day_of_month", |meter, args| part(meter, args, |at, _| at.day - 1)),
    ("timestamp_to_day_of_month_with_tz", |meter, args| part(meter, args, |at, _| at.day - 1)),
    ("timestamp_to_day_of_month_1_based", |meter, args| part(meter, args, |at, _| at.day)),
    ("timestamp_to_day_of_month_1_based_with_tz", |meter, args| part(meter, args, |at, _| at.day)),
    ("timestamp_to_day_of_week", |meter, args| part(meter, args, |at, _| at.weekday)),
    ("timestamp_to_day_of_week_with_tz", |meter, args| part(meter, args, |at, _| at.weekday)),
    ("timestamp_to_hours", |meter, args| part(meter, args, |at, _| at.hour)),
    ("timestamp_to_hours_with_tz", |meter, args| part(meter, args, |at, _| at.hour)),
    ("timestamp_to_minutes", |meter, args| part(meter, args, |at, _| at.minute)),
    ("timestamp_to_minutes_with_tz", |meter, args| part(meter, args, |at, _| at.minute)),
    ("timestamp_to_seconds", |meter, args| part(meter, args, |at, _| at.second)),
    ("timestamp_to_seconds_tz", |meter, args| part(meter, args, |at, _| at.second)),
    ("timestamp_to_milliseconds", |meter, args| part(meter, args, milliseconds)),
    ("timestamp_to_milliseconds_with_tz", |meter, args| part(meter, args, milliseconds)),
    ("duration_to_hours", |_, args| whole(args, |nanos| seconds(nanos) / 3600.0)),
    ("duration_to_minutes", |_, args| whole(args, |nanos| seconds(nanos) / 60.0)),
    ("duration_to_seconds", |_, args| whole(args, seconds)),
    ("duration_to_milliseconds", |_, args| match first(args)? {
        Value::Duration(nanos) => Ok(Value::Int(nanos / 1_000_000)),
        _ => Err(EvalError::no_such_overload()),
    }),
];

fn milliseconds(_: &Civil, time: &Timestamp) -> i64 {
    i64::from(time.nanos / 1_000_000)
}

fn part<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    of: fn(&Civil, &Timestamp) -> i64,
) -> Result<Value<'a>, EvalError> {
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
fn whole<'a>(arguments: &[Value<'a>], of: fn(i64) -> f64) -> Result<Value<'a>, EvalError> {
    match first(arguments)? {
        Value::Duration(nanos) => Ok(Value::Int(of(*nanos) as i64)),
        _ => Err(EvalError::no_such_overload()),
    }
}
