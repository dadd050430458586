//! The JSON parser: Go's grammar, Go's repairs, and bounds that hold before anything is built.

use std::borrow::Cow;

use super::{Members, Node, Number, Value};
use crate::strconv;

/// Bounds on a document. They keep a hostile token from costing more than its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arrays and objects inside one another, the outermost counted.
    pub depth: usize,
    /// Values of any kind, nested ones included.
    pub values: usize,
}

/// Why bytes are not JSON, or not JSON that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Go: `unexpected end of JSON input`.
    #[error("unexpected end of JSON input")]
    UnexpectedEnd,
    /// A byte that cannot stand where it does. At the end of the input Go complains of a blank.
    #[error("invalid character {} {place}", quote(*.byte))]
    Unexpected {
        /// The first that does not fit.
        byte: u8,
        /// Where it stands, in Go's words.
        place: &'static str,
    },
    /// More nesting than [`Limits::depth`].
    #[error("nested too deeply")]
    TooDeep,
    /// More values than [`Limits::values`].
    #[error("too many values")]
    TooManyValues,
}

impl JsonError {
    /// Whether a bound was hit, as against bytes that are not JSON at all.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooDeep | Self::TooManyValues)
    }
}

/// Go's `quoteChar`.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let quoted = strconv::quote(&char::from(byte).to_string());
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}

/// Reads one JSON value with nothing but blanks around it.
pub fn parse(text: &[u8], limits: Limits) -> Result<Value, JsonError> {
    read(text, |text| Cow::Owned(text.to_owned()), limits)
}

/// The same of a value that is looked at while its text is there: strings that the text has as they are stay in it.
pub fn parse_in_place(text: &[u8], limits: Limits) -> Result<Node<'_>, JsonError> {
    read(text, Cow::Borrowed, limits)
}

/// `keep` has strings that need no repair.
fn read<'t, 'o>(
    text: &'t [u8],
    keep: fn(&'t str) -> Cow<'o, str>,
    limits: Limits,
) -> Result<Node<'o>, JsonError> {
    let valid = str::from_utf8(text).ok();
    let Limits { depth, values } = limits;
    let mut parser =
        Parser { text, valid, keep, at: 0, values, depth, inner_members: USUAL_INNER_MEMBERS };
    let value = parser.value(limits.depth)?;
    parser.skip_blanks();
    match text.get(parser.at) {
        None => Ok(value),
        Some(&byte) => Err(JsonError::Unexpected { byte, place: "after top-level value" }),
    }
}

/// The bytes behind the first of a literal, each with the place that Go names if another one stands there.
type Word = [(u8, &'static str)];

const TRUE: [(u8, &str); 3] = [
    (b'r', "in literal true (expecting 'r')"),
    (b'u', "in literal true (expecting 'u')"),
    (b'e', "in literal true (expecting 'e')"),
];
const FALSE: [(u8, &str); 4] = [
    (b'a', "in literal false (expecting 'a')"),
    (b'l', "in literal false (expecting 'l')"),
    (b's', "in literal false (expecting 's')"),
    (b'e', "in literal false (expecting 'e')"),
];
const NULL: [(u8, &str); 3] = [
    (b'u', "in literal null (expecting 'u')"),
    (b'l', "in literal null (expecting 'l')"),
    (b'l', "in literal null (expecting 'l')"),
];

/// As many members as most tokens have claims: room for so many is made in the outermost object. Of others there may be thousands, as in a
/// directory's answer, and they are small: each has the room that the last one needed.
const USUAL_MEMBERS: usize = 16;
/// Room in the first object within another value.
const USUAL_INNER_MEMBERS: usize = 4;

struct Parser<'t, 'o> {
    text: &'t [u8],
    /// The same, if nothing in it has to be repaired.
    valid: Option<&'t str>,
    keep: fn(&'t str) -> Cow<'o, str>,
    at: usize,
    values: usize,
    /// Of [`Limits`].
    depth: usize,
    /// Members of the last object within another value, or what is to be expected.
    inner_members: usize,
}

impl<'t, 'o> Parser<'t, 'o> {
    fn value(&mut self, depth: usize) -> Result<Node<'o>, JsonError> {
        self.values = self.values.checked_sub(1).ok_or(JsonError::TooManyValues)?;
        self.skip_blanks();
        match self.peek()? {
            b'{' => self.object(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            b'[' => self.array(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            b'"' => self.string().map(Node::String),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(&TRUE, Node::Bool(true)),
            b'f' => self.word(&FALSE, Node::Bool(false)),
            b'n' => self.word(&NULL, Node::Null),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node<'o>, JsonError> {
        self.at += 1;
        self.skip_blanks();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Node::Object(Members::default()));
        }
        let is_outermost = depth.checked_add(1) == Some(self.depth);
        let usual = if is_outermost { USUAL_MEMBERS } else { self.inner_members };
        let mut members = Vec::with_capacity(usual);
        loop {
            self.skip_blanks();
            if self.peek()? != b'"' {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let name = self.string()?;
            self.skip_blanks();
            if self.peek()? != b':' {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            members.push((name, self.value(depth)?));
            if self.closes(b'}', "after object key:value pair")? {
                self.inner_members = members.len().min(USUAL_MEMBERS);
                return Ok(Node::Object(Members { members }));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node<'o>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Node::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.closes(b']', "after array element")? {
                return Ok(Node::Array(items));
            }
        }
    }

    /// Steps over the `,` between two elements (`false`) or over the closing bracket (`true`).
    fn closes(&mut self, bracket: u8, place: &'static str) -> Result<bool, JsonError> {
        self.skip_blanks();
        let byte = self.peek()?;
        if byte != b',' && byte != bracket {
            return Err(self.unexpected(place));
        }
        self.at += 1;
        Ok(byte == bracket)
    }

    fn word(&mut self, word: &Word, value: Node<'o>) -> Result<Node<'o>, JsonError> {
        self.at += 1;
        for &(byte, place) in word {
            if self.text.get(self.at) != Some(&byte) {
                return Err(self.unexpected(place));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Node<'o>, JsonError> {
        let start = self.at;
        self.skip(b"-");
        if !self.skip(b"0") {
            self.digits("in numeric literal")?;
        }
        if self.skip(b".") {
            self.digits("after decimal point in numeric literal")?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits("in exponent of numeric literal")?;
        }
        let literal = self.text.get(start..self.at).unwrap_or_default();
        let number = std::str::from_utf8(literal).ok().and_then(Number::from_literal);
        number.map(Node::Number).ok_or(JsonError::UnexpectedEnd)
    }

    fn digits(&mut self, place: &'static str) -> Result<(), JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.unexpected(place));
        }
        self.at += count;
        Ok(())
    }

    /// Steps over the next byte if it is one of `bytes`.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let found = self.text.get(self.at).is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(found);
        found
    }

    /// A string, from its opening quote to behind its closing one.
    fn string(&mut self) -> Result<Cow<'o, str>, JsonError> {
        let start = self.at + 1;
        let rest = self.text.get(start..).unwrap_or_default();
        let end = start + plain_bytes(rest).ok_or(JsonError::UnexpectedEnd)?;
        if self.text.get(end) == Some(&b'"')
            && let Some(text) = self.valid.and_then(|text| text.get(start..end))
        {
            self.at = end + 1;
            return Ok((self.keep)(text));
        }
        self.at = start;
        self.repaired().map(Cow::Owned)
    }

    /// A string that is not as it is written, from behind its opening quote.
    #[cold]
    fn repaired(&mut self) -> Result<String, JsonError> {
        let mut out = String::new();
        loop {
            push_repaired(&mut out, self.plain()?);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    /// Steps over the bytes of a string up to its next quote, backslash or control character.
    fn plain(&mut self) -> Result<&'t [u8], JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = plain_bytes(rest).ok_or(JsonError::UnexpectedEnd)?;
        self.at += count;
        Ok(rest.get(..count).unwrap_or_default())
    }

    /// The character of an escape whose backslash has been read. A surrogate without its other half is U+FFFD.
    fn escape(&mut self) -> Result<char, JsonError> {
        let plain = match self.text.get(self.at) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let unit = self.hex4()?;
        if let Some(character) = char::from_u32(unit) {
            return Ok(character);
        }
        let before = self.at;
        if (0xd800..0xdc00).contains(&unit)
            && self.text.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"))
        {
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        // The second escape is no low surrogate: it is a character of its own and read again.
        self.at = before;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.text.get(self.at).and_then(|&byte| char::from(byte).to_digit(16));
            let place = "in \\u hexadecimal character escape";
            unit = unit * 16 + digit.ok_or_else(|| self.unexpected(place))?;
            self.at += 1;
        }
        Ok(unit)
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// An error about the next byte; behind the last one Go pretends that a blank follows.
    fn unexpected(&self, place: &'static str) -> JsonError {
        JsonError::Unexpected { byte: self.text.get(self.at).copied().unwrap_or(b' '), place }
    }

    fn peek(&self) -> Result<u8, JsonError> {
        self.text.get(self.at).copied().ok_or(JsonError::UnexpectedEnd)
    }
}

/// How many bytes there are before the first quote, backslash or control character.
fn plain_bytes(bytes: &[u8]) -> Option<usize> {
    /// A byte in each place of a word.
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    /// Has the highest bit of the first byte set that is less than this, if there is one, and of none before it.
    const fn less(word: u64, than: u8) -> u64 {
        word.wrapping_sub(all(than)) & !word & all(0x80)
    }
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = less(word, b' ') | less(word ^ all(b'"'), 1) | less(word ^ all(b'\\'), 1);
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
    Some(words.len() * 8 + found)
}

/// Appends `bytes`, with one U+FFFD for each byte that is not part of a UTF-8 character, as Go has it.
fn push_repaired(out: &mut String, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return out.push_str(text);
    }
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests;
