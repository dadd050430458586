//! The JSON parser: Go's grammar, Go's repairs, and bounds that hold before anything is built.

use super::{Number, Object, Value};

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
    /// A byte that cannot stand at this offset.
    #[error("invalid character at offset {0}")]
    Unexpected(usize),
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

/// Reads one JSON value with nothing but blanks around it.
pub fn parse(text: &[u8], limits: Limits) -> Result<Value, JsonError> {
    let mut parser = Parser { text, at: 0, values: limits.values };
    let value = parser.value(limits.depth)?;
    parser.skip_blanks();
    if parser.at < text.len() {
        return Err(JsonError::Unexpected(parser.at));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    values: usize,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.values = self.values.checked_sub(1).ok_or(JsonError::TooManyValues)?;
        self.skip_blanks();
        match self.peek()? {
            b'{' => self.object(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            b'[' => self.array(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            b'"' => self.string().map(Value::String),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::Null),
            _ => Err(JsonError::Unexpected(self.at)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_blanks();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Value::Object(Object { members }));
        }
        loop {
            self.skip_blanks();
            if self.peek()? != b'"' {
                return Err(JsonError::Unexpected(self.at));
            }
            let name = self.string()?;
            self.skip_blanks();
            if self.peek()? != b':' {
                return Err(JsonError::Unexpected(self.at));
            }
            self.at += 1;
            members.push((name, self.value(depth)?));
            if self.closes(b'}')? {
                return Ok(Value::Object(Object { members }));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.closes(b']')? {
                return Ok(Value::Array(items));
            }
        }
    }

    /// Steps over the `,` between two elements (`false`) or over the closing bracket (`true`).
    fn closes(&mut self, bracket: u8) -> Result<bool, JsonError> {
        self.skip_blanks();
        let byte = self.peek()?;
        if byte != b',' && byte != bracket {
            return Err(JsonError::Unexpected(self.at));
        }
        self.at += 1;
        Ok(byte == bracket)
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, JsonError> {
        for &byte in word {
            if self.peek()? != byte {
                return Err(JsonError::Unexpected(self.at));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let literal = rest.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let number = literal.and_then(Number::from_literal);
        let number = number.ok_or(JsonError::Unexpected(self.at))?;
        self.at += length;
        Ok(Value::Number(number))
    }

    /// A string, from its opening quote to behind its closing one.
    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|&b| matches!(b, b'"' | b'\\' | 0..=0x1f));
            let plain = plain.ok_or(JsonError::UnexpectedEnd)?;
            push_repaired(&mut out, rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(JsonError::Unexpected(self.at)),
            }
        }
    }

    /// The character of an escape whose backslash has been read. A surrogate without its other half is U+FFFD.
    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek()?;
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(JsonError::Unexpected(self.at)),
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
            let digit = char::from(self.peek()?).to_digit(16);
            unit = unit * 16 + digit.ok_or(JsonError::Unexpected(self.at))?;
            self.at += 1;
        }
        Ok(unit)
    }

    fn skip_blanks(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
    }

    fn peek(&self) -> Result<u8, JsonError> {
        self.text.get(self.at).copied().ok_or(JsonError::UnexpectedEnd)
    }
}

/// Appends `bytes`, with one U+FFFD for each byte that is not part of a UTF-8 character, as Go has it.
fn push_repaired(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { depth: 3, values: 8 };

    fn string(text: &[u8]) -> Option<String> {
        match parse(text, LIMITS) {
            Ok(Value::String(string)) => Some(string),
            _ => None,
        }
    }

    #[test]
    fn strings_are_repaired_as_in_go() {
        for (text, want) in [
            (&br#""a\u00e9\n\/""#[..], Some("a\u{e9}\n/")),
            (b"\"\xff\xfe\"", Some("\u{fffd}\u{fffd}")), // one for each byte
            (b"\"\xe2\x82\"", Some("\u{fffd}\u{fffd}")), // a cut character too
            (br#""\ud83d\ude00""#, Some("\u{1f600}")),
            (br#""\ud83dx""#, Some("\u{fffd}x")),
            (br#""\ude00""#, Some("\u{fffd}")),
            (br#""\ud83d\u0041""#, Some("\u{fffd}A")), // the second escape is read again
            (br#""\ud83d\ud83d\ude00""#, Some("\u{fffd}\u{1f600}")),
            (b"\"\x7f\"", Some("\u{7f}")), // DEL is no control character for JSON
            (b"\"\n\"", None),
            (br#""\x""#, None),
            (br#""\u12g4""#, None),
            (br#""\u123"#, None),
            (b"\"abc", None),
        ] {
            assert_eq!(string(text).as_deref(), want, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn documents() {
        use JsonError::{TooDeep, TooManyValues, Unexpected, UnexpectedEnd};
        for (text, want) in [
            (&b" {\"a\" : [1, true,null] }\r\n"[..], Ok(())),
            (b"[]", Ok(())),
            (b"{}", Ok(())),
            (b"", Err(UnexpectedEnd)),
            (b"{", Err(UnexpectedEnd)),
            (b"[1,]", Err(Unexpected(3))),
            (b"{\"a\":1,}", Err(Unexpected(7))),
            (b"{a:1}", Err(Unexpected(1))),
            (b"{\"a\" 1}", Err(Unexpected(5))),
            (b"[1 2]", Err(Unexpected(3))),
            (b"nul", Err(UnexpectedEnd)),
            (b"nuLl", Err(Unexpected(2))),
            (b"01", Err(Unexpected(0))),
            (b"{} {}", Err(Unexpected(3))),
            (b"\xef\xbb\xbf{}", Err(Unexpected(0))), // Go knows no byte-order mark
            (b"[[[[1]]]]", Err(TooDeep)),
            (b"[1,2,3,4,5,6,7,8]", Err(TooManyValues)),
        ] {
            let got = parse(text, LIMITS).map(|_| ());
            assert_eq!(got, want, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn the_last_duplicate_counts_and_all_are_kept() {
        let Ok(Value::Object(object)) = parse(br#"{"a":1,"b":2,"a":null}"#, LIMITS) else {
            panic!("an object");
        };
        assert_eq!(object.get("a"), Some(&Value::Null));
        assert_eq!(object.get("A"), None);
        assert_eq!(object.members().count(), 3);
        assert!(object.has_duplicates());
    }
}
