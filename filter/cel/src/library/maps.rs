//! What the two-variable comprehensions build maps with. Source: cel-go v0.26, `ext/comprehensions.go`.

use std::sync::Arc;

use crate::{
    error::EvalError,
    function::{Cost::One, Row, overload, row, two},
    meter::Meter,
    value::{EvalResult, Value, display::plain, map::Map},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("cel.@mapInsert", "@mapInsert_map_key_value", "(map(K, V), K, V) -> map(K, V)", One, overload(insert_entry)),
    row("cel.@mapInsert", "@mapInsert_map_map", "(map(K, V), map(K, V)) -> map(K, V)", One, overload(insert_entries)),
];

fn insert_entry<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match arguments {
        [Value::Map(map), key, value] => {
            insert(meter, map.clone(), key.clone(), value.clone()).map(Value::Map)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn insert_entries<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Map(map), Value::Map(more)) => insert_all(meter, map.clone(), more).map(Value::Map),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The map with one entry more.
///
/// # Errors
/// If it has the key already, or the evaluation may not work that much.
pub fn insert<'a>(
    meter: &mut Meter,
    map: Map<'a>,
    key: Value<'a>,
    value: Value<'a>,
) -> Result<Map<'a>, EvalError> {
    meter.work(1 + map.len() / 8)?;
    if matches!(key, Value::Bytes(_)) {
        return Err(EvalError::unhashable());
    }
    if map.find_plain(&key, false).is_some() {
        return Err(EvalError::new(format!("insert failed: key {} already exists", plain(&key))));
    }
    let mut entries = match map {
        Map::Built(entries) => Arc::unwrap_or_clone(entries),
        map => map.entries(),
    };
    entries.push((key, value));
    Ok(Map::new(entries))
}

/// The map with all entries of another.
///
/// # Errors
/// As [`insert`].
pub fn insert_all<'a>(
    meter: &mut Meter,
    map: Map<'a>,
    more: &Map<'a>,
) -> Result<Map<'a>, EvalError> {
    more.entries().into_iter().try_fold(map, |map, (key, value)| insert(meter, map, key, value))
}
