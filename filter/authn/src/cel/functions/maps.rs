//! What the two-variable comprehensions build maps with. Source: cel-go v0.26, `ext/comprehensions.go`.

use super::operators::insert;
use super::{Body, two};
use crate::cel::error::EvalError;
use crate::cel::value::Value;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("@mapInsert_map_key_value", |meter, args| match args {
        [Value::Map(map), key, value] => insert(meter, map, key, value).map(Value::Map),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("@mapInsert_map_map", |meter, args| match two(args)? {
        (Value::Map(map), Value::Map(update)) => {
            let mut map = map.clone();
            for key in update.iterate() {
                if let Some(value) = update.find(&key)? {
                    map = insert(meter, &map, &key, &value)?;
                }
            }
            Ok(Value::Map(map))
        }
        _ => Err(EvalError::no_such_overload()),
    }),
];
