//! The lists extension, version 3, and Kubernetes' list library. Source: cel-go v0.26, `ext/lists.go`; k8s.io/apiserver,
//! `pkg/cel/library/lists.go`.

use std::cmp::Ordering;

use kube_rules::Difference;

use super::operators;
use crate::{
    cost,
    error::EvalError,
    function::{
        Code,
        Cost::{ByName, ByOverload},
        Row, first, function, integer, overload, row, two, unguarded,
    },
    meter::{COST_LIMIT, Meter},
    value::{
        EvalResult, Trait, Value,
        compare::{compare, equal, is_included},
        display::type_of,
        list::List,
    },
};

const SORT: Code = function(Some(Trait::Lister), sort);
const SORT_BY_KEYS: Code = function(Some(Trait::Lister), sort_by_keys);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("@sortByAssociatedKeys", "list_int_sortByAssociatedKeys", "list(T).(list(int)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("@sortByAssociatedKeys", "list_uint_sortByAssociatedKeys", "list(T).(list(uint)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("@sortByAssociatedKeys", "list_double_sortByAssociatedKeys", "list(T).(list(double)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("@sortByAssociatedKeys", "list_bool_sortByAssociatedKeys", "list(T).(list(bool)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("@sortByAssociatedKeys", "list_google.protobuf.Duration_sortByAssociatedKeys", "list(T).(list(duration)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("@sortByAssociatedKeys", "list_google.protobuf.Timestamp_sortByAssociatedKeys", "list(T).(list(timestamp)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("@sortByAssociatedKeys", "list_string_sortByAssociatedKeys", "list(T).(list(string)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("@sortByAssociatedKeys", "list_bytes_sortByAssociatedKeys", "list(T).(list(bytes)) -> list(T)", ByOverload(cost::keys_with_themselves), SORT_BY_KEYS),
    row("distinct", "list_distinct", "list(T).() -> list(T)", ByOverload(cost::list_with_itself), overload(distinct)),
    row("flatten", "list_flatten", "list(list(T)).() -> list(T)", ByOverload(cost::allocated_list), unguarded(flatten)),
    row("flatten", "list_flatten_int", "list(dyn).(int) -> list(dyn)", ByOverload(cost::allocated_levels), unguarded(flatten_levels)).until(Difference::FlattenCost),
    row("flatten", "list_flatten_int", "list(dyn).(int) -> list(dyn)", ByOverload(cost::allocated_some_levels), unguarded(flatten_levels)).since(Difference::FlattenCost),
    row("includes", "list_includes_dyn_dyn", "dyn.(dyn) -> bool", ByName(cost::everything), overload(includes)).since(Difference::Includes),
    row("indexOf", "list_a_index_of_int", "list(A).(A) -> int", ByName(cost::everything), overload(index_of)),
    row("isSorted", "list_int_is_sorted_bool", "list(int).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("isSorted", "list_uint_is_sorted_bool", "list(uint).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("isSorted", "list_double_is_sorted_bool", "list(double).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("isSorted", "list_bool_is_sorted_bool", "list(bool).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("isSorted", "list_duration_is_sorted_bool", "list(duration).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("isSorted", "list_timestamp_is_sorted_bool", "list(timestamp).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("isSorted", "list_string_is_sorted_bool", "list(string).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("isSorted", "list_bytes_is_sorted_bool", "list(bytes).() -> bool", ByName(cost::everything), overload(is_sorted)),
    row("lastIndexOf", "list_a_last_index_of_int", "list(A).(A) -> int", ByName(cost::everything), overload(last_index_of)),
    row("lists.range", "lists_range", "(int) -> list(int)", ByOverload(cost::allocated_result), overload(range)).until(Difference::RangeBounds),
    row("lists.range", "lists_range", "(int) -> list(int)", ByOverload(cost::allocated_result), overload(bounded_range)).since(Difference::RangeBounds),
    row("max", "list_int_max_int", "list(int).() -> int", ByName(cost::everything), overload(max)),
    row("max", "list_uint_max_uint", "list(uint).() -> uint", ByName(cost::everything), overload(max)),
    row("max", "list_double_max_double", "list(double).() -> double", ByName(cost::everything), overload(max)),
    row("max", "list_bool_max_bool", "list(bool).() -> bool", ByName(cost::everything), overload(max)),
    row("max", "list_duration_max_duration", "list(duration).() -> duration", ByName(cost::everything), overload(max)),
    row("max", "list_timestamp_max_timestamp", "list(timestamp).() -> timestamp", ByName(cost::everything), overload(max)),
    row("max", "list_string_max_string", "list(string).() -> string", ByName(cost::everything), overload(max)),
    row("max", "list_bytes_max_bytes", "list(bytes).() -> bytes", ByName(cost::everything), overload(max)),
    row("min", "list_int_min_int", "list(int).() -> int", ByName(cost::everything), overload(min)),
    row("min", "list_uint_min_uint", "list(uint).() -> uint", ByName(cost::everything), overload(min)),
    row("min", "list_double_min_double", "list(double).() -> double", ByName(cost::everything), overload(min)),
    row("min", "list_bool_min_bool", "list(bool).() -> bool", ByName(cost::everything), overload(min)),
    row("min", "list_duration_min_duration", "list(duration).() -> duration", ByName(cost::everything), overload(min)),
    row("min", "list_timestamp_min_timestamp", "list(timestamp).() -> timestamp", ByName(cost::everything), overload(min)),
    row("min", "list_string_min_string", "list(string).() -> string", ByName(cost::everything), overload(min)),
    row("min", "list_bytes_min_bytes", "list(bytes).() -> bytes", ByName(cost::everything), overload(min)),
    row("reverse", "list_reverse", "list(T).() -> list(T)", ByOverload(cost::allocated_result), overload(reverse)),
    row("slice", "list_slice", "list(T).(int, int) -> list(T)", ByOverload(cost::allocated_result), overload(slice)),
    row("sort", "list_int_sort", "list(int).() -> list(int)", ByOverload(cost::list_with_itself), SORT),
    row("sort", "list_uint_sort", "list(uint).() -> list(uint)", ByOverload(cost::list_with_itself), SORT),
    row("sort", "list_double_sort", "list(double).() -> list(double)", ByOverload(cost::list_with_itself), SORT),
    row("sort", "list_bool_sort", "list(bool).() -> list(bool)", ByOverload(cost::list_with_itself), SORT),
    row("sort", "list_google.protobuf.Duration_sort", "list(duration).() -> list(duration)", ByOverload(cost::list_with_itself), SORT),
    row("sort", "list_google.protobuf.Timestamp_sort", "list(timestamp).() -> list(timestamp)", ByOverload(cost::list_with_itself), SORT),
    row("sort", "list_string_sort", "list(string).() -> list(string)", ByOverload(cost::list_with_itself), SORT),
    row("sort", "list_bytes_sort", "list(bytes).() -> list(bytes)", ByOverload(cost::list_with_itself), SORT),
    row("sum", "list_int_sum_int", "list(int).() -> int", ByName(cost::everything), overload(|meter, args| sum(meter, args, Value::Int(0)))),
    row("sum", "list_uint_sum_uint", "list(uint).() -> uint", ByName(cost::everything), overload(|meter, args| sum(meter, args, Value::Uint(0)))),
    row("sum", "list_double_sum_double", "list(double).() -> double", ByName(cost::everything), overload(|meter, args| sum(meter, args, Value::Double(0.0)))),
    row("sum", "list_duration_sum_duration", "list(duration).() -> duration", ByName(cost::everything), overload(|meter, args| sum(meter, args, Value::Duration(0)))),
];

fn sort<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let list = list(arguments)?;
    sort_by(meter, list, list)
}

fn sort_by_keys<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::List(items), Value::List(keys)) => sort_by(meter, items, keys),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn flatten<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    flatten_to(meter, arguments, 1)
}

fn flatten_levels<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    flatten_to(meter, arguments, integer(arguments, 1)?)
}

fn index_of<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    find(meter, arguments, false)
}

fn last_index_of<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    find(meter, arguments, true)
}

fn list<'v, 'a>(arguments: &'v [Value<'a>]) -> Result<&'v List<'a>, EvalError> {
    match first(arguments)? {
        Value::List(list) => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn slice<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (list, start, end) = (list(arguments)?, integer(arguments, 1)?, integer(arguments, 2)?);
    let refuse = |why: String| Err(EvalError::new(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return refuse("negative indexes not supported".to_owned());
    };
    if from > to {
        return refuse("start index must be less than or equal to end index".to_owned());
    }
    if list.len() < to {
        return refuse(format!("list is length {}", list.len()));
    }
    meter.work(to - from)?;
    Ok(Value::list((from..to).filter_map(|index| list.get(index)).collect()))
}

fn flatten_to<'a>(meter: &mut Meter, arguments: &[Value<'a>], depth: i64) -> EvalResult<'a> {
    let Value::List(list) = first(arguments)? else {
        let types: Vec<_> = arguments.iter().map(type_of).collect();
        return Err(EvalError::new(match types.as_slice() {
            [one] => format!("no such overload: {one}.flatten()"),
            [one, two, ..] => format!("no such overload: {one}.flatten({two})"),
            [] => "no such overload".to_owned(),
        }));
    };
    if depth < 0 {
        return Err(EvalError::new("level must be non-negative"));
    }
    let mut flat = Vec::new();
    flatten_into(meter, list, depth, &mut flat)?;
    Ok(Value::list(flat))
}

fn flatten_into<'a>(
    meter: &mut Meter,
    list: &List<'a>,
    depth: i64,
    flat: &mut Vec<Value<'a>>,
) -> Result<(), EvalError> {
    for item in list.iterate() {
        meter.work(1)?;
        match item {
            Value::List(inner) if depth > 0 => flatten_into(meter, &inner, depth - 1, flat)?,
            item => flat.push(item),
        }
    }
    Ok(())
}

fn range<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let count = integer(arguments, 0)?;
    // The cost, known only afterwards upstream, is at least a unit an element.
    let elements = u64::try_from(count).unwrap_or(0);
    if elements > COST_LIMIT {
        return Err(EvalError::cost_exceeded());
    }
    meter.work(usize::try_from(elements).unwrap_or(usize::MAX))?;
    Ok(Value::list((0..count.max(0)).map(Value::Int).collect()))
}

fn bounded_range<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    /// Upstream's default.
    const MOST: i64 = 1_000_000;
    let count = integer(arguments, 0)?;
    let refused = |why: String| Err(EvalError::new(format!("lists.range: size {why}")));
    match count {
        ..0 => refused(format!("must be non-negative, got {count}")),
        0..=MOST => range(meter, arguments),
        _ => refused(format!("{count} exceeds maximum allowed ({MOST})")),
    }
}

fn includes<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (target, wanted) = two(arguments)?;
    is_included(meter, target, wanted).map(Value::Bool)
}

fn reverse<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let list = list(arguments)?;
    meter.work(list.len())?;
    Ok(Value::list((0..list.len()).rev().filter_map(|index| list.get(index)).collect()))
}

fn distinct<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let list = list(arguments)?;
    let mut unique: Vec<Value<'a>> = Vec::new();
    for (i, item) in list.by_position().enumerate() {
        let mut seen = false;
        // Upstream passes over the place of the same number, whatever stands there by now.
        for (_, other) in unique.iter().enumerate().filter(|(j, _)| *j != i) {
            seen = seen || is_equal(meter, &item, other)?;
        }
        if !seen {
            unique.push(item);
        }
    }
    Ok(Value::list(unique))
}

/// Equal, and not merely without an overload to say so.
fn is_equal(meter: &mut Meter, a: &Value, b: &Value) -> Result<bool, EvalError> {
    match equal(meter, a, b) {
        Err(error) if error.is_cancelled() => Err(error),
        result => Ok(result.unwrap_or(false)),
    }
}

fn find<'a>(meter: &mut Meter, arguments: &[Value<'a>], last: bool) -> EvalResult<'a> {
    let (items, (_, wanted)) = (list(arguments)?, two(arguments)?);
    let mut found = -1;
    for (index, item) in (0i64..).zip(items.by_position()) {
        if is_equal(meter, &item, wanted)? {
            found = index;
            if !last {
                break;
            }
        }
    }
    Ok(Value::Int(found))
}

fn is_sorted<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let mut previous: Option<Value> = None;
    for item in list(arguments)?.iterate() {
        require(&item, Trait::Comparer)?;
        if let Some(before) = &previous {
            // What cannot be compared is not out of order, as upstream.
            if matches!(try_compare(meter, before, &item)?, Some(Ordering::Greater)) {
                return Ok(Value::Bool(false));
            }
        }
        previous = Some(item);
    }
    Ok(Value::Bool(true))
}

fn require(value: &Value, wanted: Trait) -> Result<(), EvalError> {
    if value.has(wanted) { Ok(()) } else { Err(EvalError::no_such_overload()) }
}

fn try_compare(meter: &mut Meter, a: &Value, b: &Value) -> Result<Option<Ordering>, EvalError> {
    meter.work(1)?;
    match compare(meter, a, b) {
        Err(error) if error.is_cancelled() => Err(error),
        result => Ok(result.ok()),
    }
}

fn max<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    extreme(meter, arguments, "max", Ordering::Less)
}

fn min<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    extreme(meter, arguments, "min", Ordering::Greater)
}

/// The element for which no later one makes the best so far compare as `replaces`.
fn extreme<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    name: &str,
    replaces: Ordering,
) -> EvalResult<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list(arguments)?.iterate() {
        require(&item, Trait::Comparer)?;
        let better = match &best {
            None => true,
            Some(best) => try_compare(meter, best, &item)? == Some(replaces),
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn sum<'a>(meter: &mut Meter, arguments: &[Value<'a>], zero: Value<'a>) -> EvalResult<'a> {
    list(arguments)?.iterate().try_fold(zero, |sum, item| {
        meter.work(1)?;
        require(&item, Trait::Adder)?;
        operators::add(meter, &[sum, item])
    })
}

fn sort_by<'a>(meter: &mut Meter, items: &List<'a>, keys: &List<'a>) -> EvalResult<'a> {
    if items.len() != keys.len() {
        return Err(EvalError::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} \
             elements respectively",
            items.len(),
            keys.len()
        )));
    }
    let Some(sample) = keys.get(0) else { return Ok(Value::List(items.clone())) };
    if !sample.has(Trait::Comparer) {
        return Err(EvalError::new("list elements must be comparable"));
    }
    let keys: Vec<Value> = keys.by_position().collect();
    if keys.len() > 1 && keys.iter().any(|key| key.type_name() != sample.type_name()) {
        return Err(EvalError::new("list elements must have the same type"));
    }
    // n log n comparisons, and the longest strings that they may read.
    let comparisons = keys.len().saturating_mul(keys.len().max(2).ilog2() as usize);
    let longest = keys.iter().map(|key| key.as_str().map_or(1, str::len)).max().unwrap_or(1);
    meter.work(comparisons.saturating_mul(1 + longest / 16))?;
    let mut unmetered = Meter::new(kube_rules::Rules::default());
    let order = go_compat::sort::stable(keys.len(), &mut |a, b| match (keys.get(a), keys.get(b)) {
        (Some(a), Some(b)) => compare(&mut unmetered, a, b).unwrap_or(Ordering::Equal),
        _ => Ordering::Equal,
    });
    Ok(Value::list(order.into_iter().filter_map(|index| items.get(index)).collect()))
}
