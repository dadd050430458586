//! The strings extension, version 2 (without `reverse`), and the string functions of the standard library. Positions count
//! characters. Source: cel-go v0.26, `ext/strings.go` and `common/types/string.go`.

use kube_rules::Difference;

use crate::{
    cost,
    error::EvalError,
    function::{
        Code,
        Cost::{ByName, ByOverload, One},
        Row, first, integer, overload, row, text, two, unguarded,
    },
    meter::Meter,
    value::{EvalResult, Value},
};

const STARTS_WITH: Code =
    unguarded(|meter, args| test(meter, args, |text, part| text.starts_with(part)));
const ENDS_WITH: Code =
    unguarded(|meter, args| test(meter, args, |text, part| text.ends_with(part)));

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("charAt", "string_char_at_int", "string.(int) -> string", One, overload(char_at)),
    row("contains", "contains_string", "string.(string) -> bool", ByOverload(cost::search), unguarded(|meter, args| test(meter, args, |text, part| text.contains(part)))),
    row("endsWith", "ends_with_string", "string.(string) -> bool", ByOverload(cost::text), ENDS_WITH).until(Difference::AffixCost),
    row("endsWith", "ends_with_string", "string.(string) -> bool", ByOverload(cost::argument), ENDS_WITH).since(Difference::AffixCost),
    row("indexOf", "string_index_of_string", "string.(string) -> int", ByName(cost::everything), overload(|meter, args| index_of(meter, args, 0))),
    row("indexOf", "string_index_of_string_int", "string.(string, int) -> int", ByName(cost::everything), overload(|meter, args| index_of(meter, args, integer(args, 2)?))),
    row("join", "list_join", "list(string).() -> string", ByName(cost::result_twice), overload(|meter, args| join(meter, args, ""))),
    row("join", "list_join_string", "list(string).(string) -> string", ByName(cost::result_twice), overload(|meter, args| join(meter, args, text(args, 1)?))),
    row("lastIndexOf", "string_last_index_of_string", "string.(string) -> int", ByName(cost::everything), overload(last_index_of)),
    row("lastIndexOf", "string_last_index_of_string_int", "string.(string, int) -> int", ByName(cost::everything), overload(|meter, args| last_index_of_offset(meter, args, integer(args, 2)?))),
    row("lowerAscii", "string_lower_ascii", "string.() -> string", ByName(cost::text), overload(|meter, args| map(meter, args, str::to_ascii_lowercase))),
    row("replace", "string_replace_string_string", "string.(string, string) -> string", ByName(cost::text_twice), overload(|meter, args| replace(meter, args, -1))),
    row("replace", "string_replace_string_string_int", "string.(string, string, int) -> string", ByName(cost::text_twice), overload(|meter, args| replace(meter, args, integer(args, 3)?))),
    row("split", "string_split_string", "string.(string) -> list(string)", ByName(cost::text_twice), overload(|meter, args| split(meter, args, -1))),
    row("split", "string_split_string_int", "string.(string, int) -> list(string)", ByName(cost::text_twice), overload(|meter, args| split(meter, args, integer(args, 2)?))),
    row("startsWith", "starts_with_string", "string.(string) -> bool", ByOverload(cost::text), STARTS_WITH).until(Difference::AffixCost),
    row("startsWith", "starts_with_string", "string.(string) -> bool", ByOverload(cost::argument), STARTS_WITH).since(Difference::AffixCost),
    row("strings.quote", "strings_quote", "(string) -> string", ByOverload(cost::text), overload(|meter, args| map(meter, args, quote))),
    row("substring", "string_substring_int", "string.(int) -> string", ByName(cost::text), overload(substring)),
    row("substring", "string_substring_int_int", "string.(int, int) -> string", ByName(cost::text), overload(substring_range)),
    row("trim", "string_trim", "string.() -> string", ByName(cost::text), overload(|meter, args| map(meter, args, trim))),
    row("upperAscii", "string_upper_ascii", "string.() -> string", ByName(cost::text), overload(|meter, args| map(meter, args, str::to_ascii_uppercase))),
];

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

fn test<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    holds: fn(&str, &str) -> bool,
) -> EvalResult<'a> {
    let (whole, part) = (text(arguments, 0)?, text(arguments, 1)?);
    meter.work(whole.len() / 16)?;
    Ok(Value::Bool(holds(whole, part)))
}

fn map<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    change: impl Fn(&str) -> String,
) -> EvalResult<'a> {
    let text = text(arguments, 0)?;
    meter.work(text.len() / 4)?;
    Ok(Value::string(change(text)))
}

/// Go's `unicode.IsSpace` is Unicode's `White_Space` as Rust has it.
fn trim(text: &str) -> String {
    text.trim().to_owned()
}

/// The byte at which the character of that number begins, or the end behind the last.
fn byte_at(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.nth(index)
}

fn char_at<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (text, index) = (text(arguments, 0)?, integer(arguments, 1)?);
    meter.work(text.len() / 8)?;
    let start = byte_at(text, index).ok_or_else(|| out_of_range(index))?;
    let found = text.get(start..).and_then(|rest| rest.chars().next());
    Ok(Value::string(found.map(String::from).unwrap_or_default()))
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn index_of<'a>(meter: &mut Meter, arguments: &[Value<'a>], offset: i64) -> EvalResult<'a> {
    let (whole, part) = (text(arguments, 0)?, text(arguments, 1)?);
    meter.work(whole.len() / 4)?;
    if part.is_empty() {
        return empty_at(meter, whole, offset);
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    let found = byte_at(whole, offset).and_then(|start| {
        let at = whole.get(start..)?.find(part)?;
        whole.get(..start + at).map(count)
    });
    Ok(Value::Int(found.unwrap_or(-1)))
}

/// Where the empty string is found from an offset on.
fn empty_at<'a>(meter: &Meter, whole: &str, offset: i64) -> EvalResult<'a> {
    match meter.rules().has(Difference::EmptySearch) {
        true if offset < 0 => Err(out_of_range(offset)),
        true => Ok(Value::Int(offset.min(count(whole)))),
        false => Ok(Value::Int(offset)),
    }
}

fn last_index_of<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (whole, part) = (text(arguments, 0)?, text(arguments, 1)?);
    meter.work(whole.len() / 4)?;
    let length = count(whole);
    if part.is_empty() {
        return Ok(Value::Int(length));
    }
    if whole.len() < part.len() {
        return Ok(Value::Int(-1));
    }
    last_index_of_offset(meter, arguments, length - 1)
}

fn last_index_of_offset<'a>(
    meter: &mut Meter,
    arguments: &[Value<'a>],
    offset: i64,
) -> EvalResult<'a> {
    let (whole, part) = (text(arguments, 0)?, text(arguments, 1)?);
    meter.work(whole.len() / 4)?;
    if part.is_empty() {
        return empty_at(meter, whole, offset);
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    if offset >= count(whole) {
        return Ok(Value::Int(-1));
    }
    // A match may begin at the offset and reach beyond it.
    let end = byte_at(whole, offset.saturating_add(count(part))).unwrap_or(whole.len());
    let found = whole.get(..end).and_then(|head| head.rfind(part)).and_then(|at| whole.get(..at));
    Ok(Value::Int(found.map_or(-1, count)))
}

/// How often Go replaces or splits: without limit if negative.
fn limit(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn replace<'a>(meter: &mut Meter, arguments: &[Value<'a>], count: i64) -> EvalResult<'a> {
    let (whole, old, new) = (text(arguments, 0)?, text(arguments, 1)?, text(arguments, 2)?);
    meter.work(whole.len() / 4)?;
    let times = if old.is_empty() { whole.chars().count() + 1 } else { whole.matches(old).count() };
    let times = times.min(limit(count));
    meter.work(whole.len().saturating_add(times.saturating_mul(new.len())))?;
    Ok(Value::string(whole.replacen(old, new, times)))
}

fn split<'a>(meter: &mut Meter, arguments: &[Value<'a>], count: i64) -> EvalResult<'a> {
    let (whole, separator) = (text(arguments, 0)?, text(arguments, 1)?);
    meter.work(whole.len() / 4)?;
    let most = limit(count);
    if most == 0 {
        return Ok(Value::strings(Vec::<&str>::new()));
    }
    let parts: Vec<&str> = if separator.is_empty() {
        characters(whole, most)
    } else {
        whole.splitn(most, separator).collect()
    };
    meter.work(parts.len().saturating_mul(4))?;
    Ok(Value::strings(parts))
}

/// The text cut into characters; the last piece holds the rest.
fn characters(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let cut = if pieces.len() + 1 == most { rest.len() } else { character.len_utf8() };
        let Some((piece, after)) = rest.split_at_checked(cut) else { break };
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn substring<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (text, start) = (text(arguments, 0)?, integer(arguments, 1)?);
    meter.work(text.len() / 4)?;
    let from = byte_at(text, start).ok_or_else(|| out_of_range(start))?;
    Ok(Value::string(text.get(from..).unwrap_or_default()))
}

fn substring_range<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let (text, start, end) = (text(arguments, 0)?, integer(arguments, 1)?, integer(arguments, 2)?);
    meter.work(text.len() / 4)?;
    if start > end {
        return Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = byte_at(text, start).ok_or_else(|| out_of_range(start))?;
    let to = byte_at(text, end).ok_or_else(|| out_of_range(end))?;
    Ok(Value::string(text.get(from..to).unwrap_or_default()))
}

fn join<'a>(meter: &mut Meter, arguments: &[Value<'a>], separator: &str) -> EvalResult<'a> {
    let (Value::List(list), _) = (first(arguments)?, two(arguments).ok()) else {
        return Err(EvalError::no_such_overload());
    };
    let mut joined = String::new();
    for (i, item) in list.by_position().enumerate() {
        let Some(part) = item.as_str() else {
            let shown = crate::value::display::plain(&item);
            return Err(EvalError::new(format!("join: invalid input: {shown}")));
        };
        meter.work(part.len() + separator.len())?;
        if i > 0 {
            joined.push_str(separator);
        }
        joined.push_str(part);
    }
    Ok(Value::string(joined))
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
