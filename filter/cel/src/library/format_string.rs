//! `format` of the strings extension. Source: cel-go v0.26,
//! `ext/formatting.go`, with the locale `en_US`.

use std::fmt::Write as _;

use go_compat::strconv;

use crate::{
    cost,
    error::EvalError,
    function::{Cost::ByOverload, Row, row, text, two, variadic},
    meter::Meter,
    types::Type,
    value::{EvalResult, Value, display},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("format", "string_format", "string.(list(dyn)) -> string", ByOverload(cost::text), variadic(format)),
];

fn format<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let pattern = text(arguments, 0)?;
    let (_, Value::List(list)) = two(arguments)? else { return Err(EvalError::no_such_overload()) };
    meter.work(pattern.len())?;
    let mut pieces = Vec::new();
    let mut index = 0;
    parse(pattern, |piece| {
        match piece {
            Piece::Text(text) => pieces.push(text.to_owned()),
            Piece::Clause(clause) => {
                let value = list.get(index).ok_or_else(|| Failure::Plain(out_of_range(index)))?;
                index += 1;
                let clause = clause.map_err(Failure::Clause)?;
                let shown = clause.apply(meter, &value)?;
                pieces.push(shown);
            }
            Piece::UnexpectedEnd if index >= list.len() => {
                return Err(Failure::Plain(out_of_range(index)));
            }
            Piece::UnexpectedEnd => {
                return Err(Failure::Plain("unexpected end of string".to_owned()));
            }
        }
        Ok(())
    })
    .map_err(Failure::into_error)?;
    Ok(Value::string(pieces.concat()))
}

/// Digits behind the point if a clause does not say how many.
const PRECISION: usize = 6;

/// Digits behind the point beyond which nobody asks.
const MOST_PRECISION: usize = 1_000;

pub fn out_of_range(index: usize) -> String {
    format!("index {index} out of range")
}

pub enum Failure {
    /// As it is.
    Plain(String),
    /// The clause cannot be read.
    Clause(String),
    /// The value does not fit the clause.
    Value(String),
    Cancelled(EvalError),
}

impl Failure {
    pub fn text(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Clause(text) => format!("could not parse formatting clause: {text}"),
            Self::Value(text) => format!("error during formatting: {text}"),
            Self::Cancelled(error) => error.to_string(),
        }
    }

    fn into_error(self) -> EvalError {
        match self {
            Self::Cancelled(error) => error,
            other => EvalError::new(other.text()),
        }
    }
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        if error.is_cancelled() { Self::Cancelled(error) } else { Self::Value(error.to_string()) }
    }
}

/// A part of a format string.
pub enum Piece<'p> {
    Text(&'p str),
    Clause(Result<Clause, String>),
    /// A `%` at the end.
    UnexpectedEnd,
}

/// `%[.precision]letter`
#[derive(Debug, Clone, Copy)]
pub struct Clause {
    pub letter: char,
    precision: usize,
}

pub fn parse<'p>(
    pattern: &'p str,
    mut each: impl FnMut(Piece<'p>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        each(Piece::Text(before))?;
        let after = from.strip_prefix('%').unwrap_or(from);
        if let Some(behind) = after.strip_prefix('%') {
            each(Piece::Text("%"))?;
            rest = behind;
            continue;
        }
        if after.is_empty() {
            return each(Piece::UnexpectedEnd);
        }
        let (clause, behind) = read_clause(after);
        each(Piece::Clause(clause))?;
        rest = behind;
    }
    each(Piece::Text(rest))
}

fn read_clause(text: &str) -> (Result<Clause, String>, &str) {
    let (precision, rest) = match text.strip_prefix('.') {
        None => (Ok(PRECISION), text),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, rest) = rest.split_at_checked(digits).unwrap_or((rest, ""));
            if rest.is_empty() {
                let why =
                    "error while parsing precision: could not find end of precision specifier";
                return (Err(why.to_owned()), rest);
            }
            let why = if digits.is_empty() { "invalid syntax" } else { "value out of range" };
            let precision = digits.parse::<u32>().map(|digits| digits as usize).map_err(|_| {
                format!(
                    "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \
                     \"{digits}\": {why}"
                )
            });
            (precision, rest)
        }
    };
    let letter = rest.chars().next().unwrap_or_default();
    let behind = rest.get(letter.len_utf8()..).unwrap_or_default();
    let clause = precision.and_then(|precision| {
        if "sdfebxXo".contains(letter) {
            Ok(Clause { letter, precision })
        } else {
            Err(format!("unrecognized formatting clause \"{letter}\""))
        }
    });
    (clause, behind)
}

impl Clause {
    /// What is wrong with a value of the type `given`.
    pub fn complaint(self, given: &str) -> String {
        let what = match self.letter {
            'd' => "decimal clause can only be used on integers",
            'f' => "fixed-point clause can only be used on doubles",
            'e' => "scientific clause can only be used on doubles",
            'b' => "only integers and bools can be formatted as binary",
            'x' | 'X' => "only integers, byte buffers, and strings can be formatted as hex",
            'o' => "octal clause can only be used on integers",
            _ => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, \
                 and timestamps"
            }
        };
        format!("{what}, was given {given}")
    }

    fn apply(self, meter: &mut Meter, value: &Value) -> Result<String, Failure> {
        let shown = match (self.letter, value) {
            ('s', value) => return show(meter, value).map_err(Failure::from),
            ('d', Value::Int(value)) => Some(value.to_string()),
            ('d', Value::Uint(value)) => Some(value.to_string()),
            ('f' | 'e', value) => match number(value) {
                Some(number) => {
                    let precision = self.precision.min(MOST_PRECISION);
                    meter.work(precision + 400).map_err(Failure::Cancelled)?;
                    Some(if self.letter == 'f' {
                        fixed(number, precision)
                    } else {
                        scientific(number, precision)
                    })
                }
                None => None,
            },
            ('b', Value::Int(value)) => {
                Some(signed(*value, &format!("{:b}", value.unsigned_abs())))
            }
            ('b', Value::Uint(value)) => Some(format!("{value:b}")),
            ('b', Value::Bool(value)) => Some(u8::from(*value).to_string()),
            ('o', Value::Int(value)) => {
                Some(signed(*value, &format!("{:o}", value.unsigned_abs())))
            }
            ('o', Value::Uint(value)) => Some(format!("{value:o}")),
            ('x' | 'X', Value::Int(value)) => {
                Some(signed(*value, &format!("{:x}", value.unsigned_abs())))
            }
            ('x' | 'X', Value::Uint(value)) => Some(format!("{value:x}")),
            ('x' | 'X', Value::String(text)) => Some(hexadecimal(meter, text.as_bytes())?),
            ('x' | 'X', Value::Bytes(bytes)) => Some(hexadecimal(meter, bytes)?),
            _ => None,
        };
        match shown {
            Some(shown) if self.letter == 'X' => Ok(shown.to_uppercase()),
            Some(shown) => Ok(shown),
            None => Err(Failure::Value(self.complaint(&value.type_name()))),
        }
    }

    /// Whether a value of the type may stand there. `None` if that shows only at run time.
    pub fn accepts(self, known: &Type) -> bool {
        use Type::{
            Bool, Bytes, Double, Duration, Dyn, Int, List, Map, Null, String, Timestamp,
            Type as Meta, Uint,
        };
        match self.letter {
            _ if *known == Dyn => true,
            's' => matches!(
                known,
                List(_)
                    | Map(..)
                    | Int
                    | Uint
                    | Double
                    | Bool
                    | String
                    | Timestamp
                    | Bytes
                    | Duration
                    | Meta(_)
                    | Null
            ),
            'd' | 'o' => matches!(known, Int | Uint),
            'f' | 'e' => matches!(known, Double | String),
            'b' => matches!(known, Int | Uint | Bool),
            _ => matches!(known, Int | Uint | String | Bytes),
        }
    }
}

fn signed(value: i64, digits: &str) -> String {
    if value < 0 { format!("-{digits}") } else { digits.to_owned() }
}

fn hexadecimal(meter: &mut Meter, bytes: &[u8]) -> Result<String, Failure> {
    meter.work(bytes.len() * 2).map_err(Failure::Cancelled)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// A double, or a text that means one that is no number.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn special(number: f64) -> Option<&'static str> {
    match number {
        n if n.is_nan() => Some("NaN"),
        n if n == f64::INFINITY => Some("∞"),
        n if n == f64::NEG_INFINITY => Some("-∞"),
        _ => None,
    }
}

/// With the locale's separators between thousands.
fn fixed(number: f64, precision: usize) -> String {
    if let Some(special) = special(number) {
        return special.to_owned();
    }
    let plain = format!("{:.precision$}", number.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut shown = String::new();
    if number < 0.0 {
        shown.push('-');
    }
    for (position, digit) in whole.char_indices() {
        if position > 0 && (whole.len() - position) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    if !fraction.is_empty() {
        shown.push('.');
        shown.push_str(fraction);
    }
    shown
}

/// With the power of ten as superscript, as the locale has it. The precision counts as width upstream, and the digits behind
/// the point are always six.
fn scientific(number: f64, width: usize) -> String {
    if let Some(special) = special(number) {
        return format!("{special:>width$}");
    }
    let number = if number == 0.0 { 0.0 } else { number };
    let plain = format!("{number:.PRECISION$e}");
    let (mantissa, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { "⁻" } else { "" };
    let digits: String = format!("{:02}", exponent.abs())
        .chars()
        .map(|digit| match digit {
            '0' => '⁰',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            _ => '⁹',
        })
        .collect();
    format!("{:>width$}", format!("{mantissa}×10{sign}{digits}"))
}

/// `%s` of a value.
fn show(meter: &mut Meter, value: &Value) -> Result<String, EvalError> {
    let complaint = || {
        let clause = Clause { letter: 's', precision: PRECISION };
        EvalError::new(clause.complaint(&value.type_name()))
    };
    match value {
        Value::Map(map) if map.is_variable() => Err(complaint()),
        Value::List(_) | Value::Map(_) => show_inside(meter, value),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => {
            let shown = display::text(value).ok_or_else(|| {
                EvalError::new("could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string")
            })?;
            meter.work(shown.len())?;
            Ok(shown)
        }
        _ => Err(complaint()),
    }
}

/// A value within a list or map, in quotes where it is text.
fn show_inside(meter: &mut Meter, value: &Value) -> Result<String, EvalError> {
    meter.work(1)?;
    match value {
        Value::List(list) => {
            let mut items = Vec::with_capacity(list.len());
            for item in list.iterate() {
                items.push(show_inside(meter, &item)?);
            }
            Ok(format!("[{}]", items.join(", ")))
        }
        Value::Map(map) if !map.is_variable() => {
            let mut entries = Vec::with_capacity(map.len());
            for key in map.iterate() {
                if !matches!(
                    key,
                    Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)
                ) {
                    let text =
                        format!("no formatting function for map key of type {}", key.type_name());
                    return Err(EvalError::new(text));
                }
                let Some(value) = map.find(&key)? else {
                    return Err(EvalError::new(format!(
                        "could not find key: {}",
                        display::plain(&key)
                    )));
                };
                entries.push((show_inside(meter, &key)?, show_inside(meter, &value)?));
            }
            let key = |index: usize| entries.get(index).map(|(key, _)| key);
            let order = go_compat::sort::stable(entries.len(), &mut |a, b| key(a).cmp(&key(b)));
            let entries = order.into_iter().filter_map(|index| entries.get(index));
            let entries: Vec<String> =
                entries.map(|(key, value)| format!("{key}:{value}")).collect();
            Ok(format!("{{{}}}", entries.join(", ")))
        }
        Value::String(text) => {
            meter.work(text.len())?;
            Ok(go_compat::strconv::quote(text))
        }
        Value::Bytes(_) => {
            show(meter, value).map(|text| format!("b{}", go_compat::strconv::quote(&text)))
        }
        Value::Timestamp(_) => show(meter, value)
            .map(|text| format!("timestamp({})", go_compat::strconv::quote(&text))),
        Value::Duration(_) => {
            show(meter, value).map(|text| format!("duration({})", go_compat::strconv::quote(&text)))
        }
        Value::Double(number) => Ok(match strconv::format_special(*number) {
            Some(special) => go_compat::strconv::quote(special),
            None => format!("{number:.PRECISION$}"),
        }),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Type(_) => {
            show(meter, value)
        }
        other => Err(EvalError::new(format!("no formatting function for {}", other.type_name()))),
    }
}
